//! The guests that were built for this run, and a hub that keeps their compiled code from run to run.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use hub_tests::Hub;

/// A guest's file; nothing where its toolchain is missing.
pub(crate) fn guest(name: &str) -> Option<PathBuf> {
    let folder = env::var_os("HUB_TEST_GUESTS").map(PathBuf::from)?;
    Some(folder.join(format!("{name}.wasm"))).filter(|file| file.is_file())
}

/// A hub of a test's own, except for compiled code.
pub(crate) fn hub() -> Hub {
    let hub = Hub::new();
    share_compiled(&hub.path("home"));
    hub
}

/// Lets a hub's home use the compiled code of all runs.
pub(crate) fn share_compiled(home: &Path) {
    if let Some(compiled) = env::var_os("HUB_TEST_COMPILED") {
        let cache = home.join("cache");
        fs::create_dir_all(&cache).unwrap();
        symlink(compiled, cache.join("wasm")).unwrap();
    }
}

/// Compiles a guest unless another test has: two engines of interpreted languages take a minute of two cores.
pub(crate) fn compile_once(name: &str) {
    type Once = Arc<OnceLock<()>>;
    static COMPILED: Mutex<BTreeMap<String, Once>> = Mutex::new(BTreeMap::new());
    let once =
        COMPILED.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone();
    once.get_or_init(|| {
        let module = guest(name).unwrap();
        hub().call(&["functions", "check", &module.to_string_lossy()]);
    });
}
