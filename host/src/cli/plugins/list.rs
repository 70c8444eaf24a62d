use clap::Args;

use crate::cli::{
    exit::{Exit, Outcome},
    output::Output,
    setup::Setup,
    text::{Table, count},
};

/// List the plugins that are loaded
#[derive(Args)]
pub struct Arguments {}

pub fn run(_: &Arguments, setup: &Setup, output: &Output) -> Outcome {
    let registry = setup.registry()?;
    let files = registry.files();
    let loaded: Vec<_> = files.iter().filter(|file| file.is_loaded()).collect();
    if output.json {
        output.json_pretty(&loaded);
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["plugin", "version", "connectors", "file"]);
    for file in &loaded {
        let Some(note) = &file.note else { continue };
        let path = file.path.display().to_string();
        table.row([note.plugin.clone(), note.version.to_string(), note.connectors.join(", "), path]);
    }
    if table.is_empty() {
        output.note("No plugin is loaded");
    } else {
        table.lines().into_iter().for_each(|line| output.line(line));
    }
    let refused = files.iter().filter(|file| !file.is_loaded() && file.candidate).count();
    if refused > 0 {
        output.note(format!("{} refused", count(refused as u64, "file")));
    }
    if refused > 0 || table.is_empty() {
        output.hint("`connector-hub plugins doctor` says why");
    }
    Ok(Exit::Done)
}
