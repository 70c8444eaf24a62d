use std::path::Path;

use hub_plugin_abi::{ABI_REVISION, ObjectRef, PluginRootRef, ROOT_SYMBOL, RootError, RootSymbol};
#[cfg(unix)]
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
#[cfg(windows)]
use libloading::os::windows::Library;

/// Why an opened library is not used.
pub(crate) enum OpenError {
    /// The system's loader refused it.
    Loader(String),
    /// It lacks the symbol that every plugin exports.
    NoRootSymbol,
    /// The types on the boundary do not have this host's layout.
    Layout(String),
    /// Its own code failed; the text is an error's JSON or a plain sentence.
    Root(String),
}

/// Opens a library and asks it for its first object. It stays open for as long as the process runs: its threads and
/// statics may be used until then.
pub(crate) fn open(path: &Path) -> Result<ObjectRef, OpenError> {
    // SAFETY: opening runs the library's initialisers, which is what loading a plugin means: its note says that it
    // was built for this revision of the interface, and its file is whole and a copy of the host's own.
    #[cfg(unix)]
    let opened = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    // SAFETY: as above.
    #[cfg(windows)]
    let opened = unsafe { Library::new(path) };
    let library = opened.map_err(|error| OpenError::Loader(chain(&error)))?;
    // Before anything else can fail: a half-started library must not be unloaded either.
    let library: &'static Library = Box::leak(Box::new(library));
    // SAFETY: the symbol is a `LibHeader`, which begins with an `AbiHeader`; a reference to one is as wide as the
    // symbol's address, and the library is never unloaded. Its magic bytes are looked at before anything else.
    let symbol: RootSymbol = match unsafe { library.get::<RootSymbol>(ROOT_SYMBOL.as_bytes()) } {
        Ok(symbol) => *symbol,
        Err(_) => return Err(OpenError::NoRootSymbol),
    };
    let root = PluginRootRef::from_symbol(symbol).map_err(|error| match error {
        RootError::Layout(text) => OpenError::Layout(one_line(&text)),
        RootError::Failed(text) => OpenError::Root(one_line(&text)),
    })?;
    if root.revision() != ABI_REVISION {
        return Err(OpenError::Layout(format!(
            "its code is of revision {}, and its note says {ABI_REVISION}",
            root.revision()
        )));
    }
    (root.plugin())().into_result().map_err(|text| OpenError::Root(text.into_string()))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// These errors are reports of many lines; a refusal is a sentence.
fn one_line(text: &str) -> String {
    const MOST_LETTERS: usize = 400;
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(MOST_LETTERS) {
        line.truncate(end);
        line.push('…');
    }
    line
}
