use clap::Args;
use connector_hub::{
    api::json,
    plugins::{FileReport, FolderOrigin, PLUGIN_PATH_VARIABLE, PluginFolder},
};

use crate::cli::{
    exit::{Exit, Outcome},
    output::{Color, Output},
    setup::Setup,
    text::{count, plain},
};

/// Explain where plugins are looked for, and what became of each file
///
/// Each file is checked in the same order: file, container, note, lock, open, layout, manifest. The first check that
/// fails refuses it, and nothing of a plugin runs before `open`. Exit code 1 says that a file was refused.
#[derive(Args)]
pub struct Arguments {}

pub fn run(_: &Arguments, setup: &Setup, output: &Output) -> Outcome {
    let registry = setup.registry()?;
    let (folders, files) = (registry.folders(), registry.files());
    let refused = files.iter().filter(|file| !file.is_loaded() && file.candidate).count();
    let loaded = files.iter().filter(|file| file.is_loaded()).count();
    let exit = if refused > 0 { Exit::Failed } else { Exit::Done };
    if output.json {
        output.json_pretty(&json!({"folders": folders, "files": files}));
        return Ok(exit);
    }
    for folder in &folders {
        show_folder(output, folder);
        let of_folder: Vec<_> =
            files.iter().filter(|file| file.path.parent() == Some(&folder.path)).collect();
        if of_folder.is_empty() && folder.problem.is_none() {
            output.line("  empty");
        }
        of_folder.into_iter().for_each(|file| show_file(output, file));
    }
    output.line("");
    output.line(format!(
        "{} loaded, {} refused",
        count(loaded as u64, "plugin"),
        count(refused as u64, "file")
    ));
    if loaded == 0 {
        output.hint(format!("Put plugins into one of these folders, or name one with `--plugin-dir` or `{PLUGIN_PATH_VARIABLE}`"));
    }
    Ok(exit)
}

fn show_folder(output: &Output, folder: &PluginFolder) {
    let origin = match folder.origin {
        FolderOrigin::Given => "named by `--plugin-dir`".to_owned(),
        FolderOrigin::Environment => format!("named by `{PLUGIN_PATH_VARIABLE}`"),
        FolderOrigin::BesideExecutable => "beside the executable".to_owned(),
    };
    let path = plain(&folder.path.display().to_string());
    output.line(format!("{}  ({origin})", output.paint(Color::Bold, &path)));
    if folder.origin == FolderOrigin::BesideExecutable && !folder.path.exists() {
        output.line(format!("  {} does not exist, and need not", output.paint(Color::Dim, "-")));
    } else if let Some(problem) = &folder.problem {
        output.line(format!("  {} {}", output.paint(Color::Yellow, "!"), plain(problem)));
    }
}

fn show_file(output: &Output, file: &FileReport) {
    let name = file.path.file_name().unwrap_or(file.path.as_os_str()).to_string_lossy();
    let name = plain(&name);
    match file.refusal() {
        None => {
            let is = file.note.as_ref().map_or_else(String::new, |note| {
                format!("{} {}: {}", note.plugin, note.version, note.connectors.join(", "))
            });
            output.line(format!("  {} {name}  {is}", output.paint(Color::Green, "✓")));
        }
        Some(refusal) if file.candidate => {
            output.line(format!(
                "  {} {name}  refused at step `{}`: {}",
                output.paint(Color::Red, "✗"),
                refusal.step,
                plain(&refusal.reason)
            ));
            for hint in refusal.hint.iter().flat_map(|hint| hint.lines()) {
                output.line(format!("      {} {}", output.paint(Color::Cyan, "hint:"), plain(hint)));
            }
        }
        Some(refusal) => {
            output.line(format!(
                "  {} {name}  not a plugin: {}",
                output.paint(Color::Dim, "-"),
                plain(&refusal.reason)
            ));
        }
    }
    for step in &file.passed {
        output.line(
            output.paint(Color::Dim, &format!("      {:<10} {}", step.step.as_str(), plain(&step.found))),
        );
    }
}
