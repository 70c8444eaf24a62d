use abi_stable::{
    StableAbi, declare_root_module_statics,
    library::{AbiHeaderRef, CheckTypeLayout, LibHeader, LibraryError, RootModule, RootModuleResult},
    prefix_type::PrefixTypeTrait,
    sabi_types::VersionStrings,
    std_types::{RResult, RString},
};

use crate::ObjectRef;

/// What a fallible entry point answers with; the error is the JSON text of an error object.
pub type Answer<T> = RResult<T, RString>;

/// The root of a plugin library.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRootRef)))]
#[sabi(missing_field(panic))]
pub struct PluginRoot {
    /// The plugin's [`crate::ABI_REVISION`].
    pub revision: u32,
    /// Makes the plugin's first object.
    #[sabi(last_prefix_field)]
    pub plugin: extern "C" fn() -> Answer<ObjectRef>,
}

impl RootModule for PluginRootRef {
    declare_root_module_statics! {PluginRootRef}
    const BASE_NAME: &'static str = "hub_plugin";
    const NAME: &'static str = "hub_plugin";
    // The revision, not this crate's version: a new patch of this crate must not refuse older plugins.
    const VERSION_STRINGS: VersionStrings = VersionStrings::new("1.0.0");
}

/// The root of a library whose first object is made by `plugin`.
pub fn root_module(plugin: extern "C" fn() -> Answer<ObjectRef>) -> PluginRootRef {
    PluginRoot { revision: crate::ABI_REVISION, plugin }.leak_into_prefix()
}

/// What the header's constructor returns: runs the export macro's `root` once, panics caught by `abi_stable`.
pub fn construct(root: fn() -> PluginRootRef) -> RootModuleResult {
    abi_stable::library::__call_root_module_loader(root)
}

/// The header that the export macro places under [`crate::ROOT_SYMBOL`].
pub const fn library_header(constructor: extern "C" fn() -> RootModuleResult) -> LibHeader {
    // SAFETY: the export macro's constructor returns what `root_module` made, which is a `PluginRootRef`.
    unsafe { LibHeader::from_constructor::<PluginRootRef>(constructor, CheckTypeLayout::Yes) }
}

/// What [`crate::ROOT_SYMBOL`] is read as: a reference to the header, not yet known to be one.
pub type RootSymbol = AbiHeaderRef;

/// Why the root of an opened library is not used.
pub enum RootError {
    /// The types of the interface do not have the layout of this side; the text says in what.
    Layout(String),
    /// The library's own code failed.
    Failed(String),
}

impl PluginRootRef {
    /// The root of an opened library, which must never be closed. Checks the layout of every type first, and never
    /// goes through `abi_stable`'s loader, which remembers one library a process.
    ///
    /// # Errors
    /// When the layout is not this revision's, or the library's own code fails.
    pub fn from_symbol(symbol: RootSymbol) -> Result<Self, RootError> {
        let layout = |error: LibraryError| RootError::Layout(error.to_string());
        symbol.upgrade().map_err(layout)?.init_root_module::<Self>().map_err(|error| match error {
            LibraryError::RootModule { err, .. } => RootError::Failed(err.to_string()),
            other => layout(other),
        })
    }
}
