use abi_stable::{
    StableAbi, declare_root_module_statics,
    library::{CheckTypeLayout, LibHeader, LibraryError, RootModule, RootModuleResult},
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

impl PluginRootRef {
    /// Reads the root of an opened library after checking its layout.
    ///
    /// # Errors
    /// When the layout is not this revision's; the text says in what.
    pub fn from_header(header: &'static LibHeader) -> Result<Self, LibraryError> {
        header.init_root_module::<Self>()
    }
}
