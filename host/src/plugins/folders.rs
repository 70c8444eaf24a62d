use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The environment variable with plugin folders, separated as in `PATH`.
pub const PLUGIN_PATH_VARIABLE: &str = "CONNECTOR_HUB_PLUGIN_PATH";

/// Who named a plugin folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FolderOrigin {
    /// `--plugin-dir`, or the embedder.
    Given,
    /// `CONNECTOR_HUB_PLUGIN_PATH`.
    Environment,
    /// `plugins/` beside the executable.
    BesideExecutable,
}

/// A folder in which plugins are looked for. Its sub-folders are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginFolder {
    /// Where it is; absolute.
    #[serde(serialize_with = "super::report::shown")]
    pub path: PathBuf,
    /// Who named it.
    pub origin: FolderOrigin,
    /// Why nothing was found in it: it does not exist, cannot be listed …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl PluginFolder {
    /// A folder that the user or the embedder named; relative to the current directory.
    pub fn given(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { path, origin: FolderOrigin::Given, problem: None }
    }
}

/// The folders in which plugins are looked for, in order: those given, those of `CONNECTOR_HUB_PLUGIN_PATH`, and
/// `plugins/` beside the executable. Never the current directory, and never the system's library folders.
pub fn plugin_folders(given: &[PathBuf]) -> Vec<PluginFolder> {
    let executable = env::current_exe().ok();
    search(given, env::var_os(PLUGIN_PATH_VARIABLE), executable.as_deref())
}

fn search(given: &[PathBuf], variable: Option<OsString>, executable: Option<&Path>) -> Vec<PluginFolder> {
    let mut folders: Vec<PluginFolder> = given.iter().map(PluginFolder::given).collect();
    for path in variable.iter().flat_map(env::split_paths).filter(|path| !path.as_os_str().is_empty()) {
        let problem = path
            .is_relative()
            .then(|| format!("Is not looked into: `{PLUGIN_PATH_VARIABLE}` takes absolute paths only"));
        folders.push(PluginFolder { path, origin: FolderOrigin::Environment, problem });
    }
    if let Some(parent) = executable.and_then(Path::parent) {
        let (path, origin) = (parent.join("plugins"), FolderOrigin::BesideExecutable);
        folders.push(PluginFolder { path, origin, problem: None });
    }
    let mut seen = Vec::new();
    folders.retain(|folder| {
        let place = folder.path.canonicalize().unwrap_or_else(|_| folder.path.clone());
        let new = !seen.contains(&place);
        seen.push(place);
        new
    });
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_in_order_and_once() {
        let given = [PathBuf::from("/nowhere/a"), PathBuf::from("/nowhere/b"), PathBuf::from("/nowhere/a")];
        let variable = env::join_paths(["/nowhere/c", "", "/nowhere/b"]).unwrap();
        let folders = search(&given, Some(variable), Some(Path::new("/nowhere/bin/hub")));
        let found: Vec<_> =
            folders.iter().map(|folder| (folder.path.to_str().unwrap(), folder.origin)).collect();
        assert_eq!(
            found,
            [
                ("/nowhere/a", FolderOrigin::Given),
                ("/nowhere/b", FolderOrigin::Given),
                ("/nowhere/c", FolderOrigin::Environment),
                ("/nowhere/bin/plugins", FolderOrigin::BesideExecutable),
            ]
        );
    }

    #[test]
    fn relative_path_of_the_environment_is_not_looked_into() {
        let folders = search(&[], Some("plugins:.".into()), None);
        assert_eq!(folders.len(), 2);
        for folder in folders {
            assert_eq!(
                folder.problem.unwrap(),
                "Is not looked into: `CONNECTOR_HUB_PLUGIN_PATH` takes absolute paths only"
            );
        }
    }

    #[test]
    fn given_relative_path_is_made_absolute() {
        let folder = PluginFolder::given("some/plugins");
        assert!(folder.path.is_absolute() && folder.path.ends_with("some/plugins"), "{folder:?}");
    }
}
