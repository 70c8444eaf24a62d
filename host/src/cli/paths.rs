use clap::Args;
use connector_hub::{
    api::json,
    plugins::{FolderOrigin, PLUGIN_PATH_VARIABLE, plugin_folders},
    store::HOME_VARIABLE,
};

use super::{
    exit::{Exit, Outcome},
    output::Output,
    setup::Setup,
    text::Table,
};

/// Print where the hub keeps its files, and what moves them
#[derive(Args)]
pub struct Arguments {}

pub fn run(_: &Arguments, setup: &Setup, output: &Output) -> Outcome {
    let paths = setup.paths()?;
    let folders = plugin_folders(setup.plugin_dirs());
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let because = if setup.home().is_some() {
        "--home".to_owned()
    } else if is_set(HOME_VARIABLE) {
        HOME_VARIABLE.to_owned()
    } else {
        "the system's usual place".to_owned()
    };
    let files = [
        ("store", paths.store_file(), "pipelines, positions, runs, refused rows; worth a backup"),
        ("cache", paths.cache.clone(), "copies of plugins, spilled rows; may be removed while nothing runs"),
        ("logs", paths.logs.clone(), "logs"),
    ];
    if output.json {
        output.json_pretty(&json!({
            "store": paths.store_file().to_string_lossy(), "data": paths.data.to_string_lossy(),
            "cache": paths.cache.to_string_lossy(), "logs": paths.logs.to_string_lossy(),
            "because": because, "plugins": folders,
        }));
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["what", "where", "holds"]);
    for (what, path, holds) in files {
        table.row([what.to_owned(), path.display().to_string(), holds.to_owned()]);
    }
    for folder in &folders {
        let origin = match folder.origin {
            FolderOrigin::Given => "named by --plugin-dir".to_owned(),
            FolderOrigin::Environment => format!("named by {PLUGIN_PATH_VARIABLE}"),
            FolderOrigin::BesideExecutable => "beside the executable".to_owned(),
        };
        let exists = if folder.path.is_dir() { "" } else { ", does not exist" };
        table.row([
            "plugins".to_owned(),
            folder.path.display().to_string(),
            format!("plugins; {origin}{exists}"),
        ]);
    }
    table.lines().into_iter().for_each(|line| output.line(line));
    output.line("");
    output.line(format!("Store, cache and logs are there because of {because}."));
    output.line(format!("`--home DIR` or `{HOME_VARIABLE}` moves all three below one folder."));
    output.line(format!("`--plugin-dir DIR` or `{PLUGIN_PATH_VARIABLE}` adds folders with plugins."));
    Ok(Exit::Done)
}
