use std::collections::BTreeSet;

use clap::Args;
use connector_hub::{
    api::Error,
    plugins::{FileReport, PluginNote},
};

use crate::cli::{
    exit::{Exit, Outcome},
    output::{Color, Output},
    setup::Setup,
    text::plain,
};

/// Show one plugin: its connectors, its file and how it was checked
#[derive(Args)]
pub struct Arguments {
    /// The plugin's id, as `plugins list` shows it
    #[arg(value_name = "PLUGIN")]
    plugin: String,
}

pub fn run(arguments: &Arguments, setup: &Setup, output: &Output) -> Outcome {
    let registry = setup.registry()?;
    let files = registry.files();
    let found: Vec<(&FileReport, &PluginNote)> = files
        .iter()
        .filter_map(|file| Some((file, file.note.as_ref()?)))
        .filter(|(_, note)| note.plugin == arguments.plugin)
        .collect();
    if found.is_empty() {
        let known: BTreeSet<_> =
            files.iter().filter_map(|file| Some(file.note.as_ref()?.plugin.as_str())).collect();
        let hint = if known.is_empty() {
            "`connector-hub plugins doctor` says where plugins are looked for".to_owned()
        } else {
            format!("There are: {}", Vec::from_iter(known).join(", "))
        };
        return Err(Error::config("plugin", format!("There is no plugin `{}`", arguments.plugin))
            .with_hint(hint)
            .into());
    }
    if output.json {
        output.json_pretty(&found.iter().map(|(file, _)| file).collect::<Vec<_>>());
        return Ok(Exit::Done);
    }
    let connectors = registry.connectors();
    for (file, note) in found {
        output.line(format!("{} {}", output.paint(Color::Bold, &note.plugin), note.version));
        output.line(format!("  file          {}", plain(&file.path.display().to_string())));
        output.line(format!("  sha256        {}", file.sha256.as_deref().unwrap_or("-")));
        output.line(format!("  plugin api    {} (needs at least {})", note.api, note.requires_api));
        output.line(format!("  abi revision  {}", note.abi_revision));
        let label = |id: &String| {
            let spec = connectors.iter().find(|one| one.path == file.path && one.spec.id == *id);
            spec.map_or_else(|| id.clone(), |one| format!("{id} ({})", one.spec.label))
        };
        output.line(format!(
            "  connectors    {}",
            note.connectors.iter().map(label).collect::<Vec<_>>().join(", ")
        ));
        match file.refusal() {
            None => output.line("  loaded"),
            Some(refusal) => output.line(format!("  {} {refusal}", output.paint(Color::Red, "refused:"))),
        }
    }
    Ok(Exit::Done)
}
