use std::{env, path::PathBuf};

/// What `cargo xtask test` hands to the tests.
#[derive(Clone, Debug)]
pub struct Environment {
    /// `HUB_TEST_BINARY`: the program `connector-hub`.
    pub binary: PathBuf,
    /// `HUB_TEST_PLUGINS`: a folder with the connectors' libraries that were just built.
    pub plugins: PathBuf,
    /// `HUB_TEST_FIXTURES`: a folder with libraries that misbehave.
    pub fixtures: Option<PathBuf>,
    /// `HUB_TEST_DATA`: the generator of TPC-H data.
    pub data: PathBuf,
    /// `HUB_TEST_FULL`: full amounts of data.
    pub full: bool,
}

impl Environment {
    /// Reads it.
    ///
    /// # Panics
    /// When a variable is missing, because the test was started by something else.
    pub fn get() -> Self {
        Self {
            binary: path("HUB_TEST_BINARY"),
            plugins: path("HUB_TEST_PLUGINS"),
            fixtures: env::var_os("HUB_TEST_FIXTURES").map(PathBuf::from),
            data: path("HUB_TEST_DATA"),
            full: env::var_os("HUB_TEST_FULL").is_some(),
        }
    }

    /// The shared library of a fixture's crate, such as `hub_fixture_plugin`.
    ///
    /// # Panics
    /// When there is none.
    pub fn fixture(&self, library: &str) -> PathBuf {
        let folder = self.fixtures.clone().unwrap_or_else(|| path("HUB_TEST_FIXTURES"));
        let file = folder.join(format!("{}{library}{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX));
        assert!(file.is_file(), "There is no fixture `{}`", file.display());
        file
    }
}

fn path(variable: &str) -> PathBuf {
    match env::var_os(variable) {
        Some(path) => path.into(),
        None => panic!("`{variable}` is not set: run `cargo xtask test`"),
    }
}
