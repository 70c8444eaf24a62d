//! The binary interface between Connector Hub and its native plugins: the only crate that names `abi_stable` types.
//!
//! One shape serves every object that crosses the boundary: [`Object`], which takes a method name and a
//! [`Message`] and answers with a [`Message`]. The control plane is JSON text inside the message; rows cross as
//! Arrow C Data structs ([`Rows`]); an object (a reader, the host's context) crosses as an [`ObjectRef`].
//!
//! Nothing here changes inside one [`ABI_REVISION`]: a new revision is a new module beside the old one.

mod message;
pub mod methods;
mod note;
mod object;
mod root;
mod rows;

pub use message::Message;
pub use note::{NOTE_PREFIX, NOTE_SUFFIX, Note, note_bytes, note_length};
pub use object::{Object, ObjectRef, make_object};
pub use root::{
    Answer, PluginRoot, PluginRootRef, RootError, RootSymbol, construct, library_header, root_module,
};
pub use rows::Rows;

/// What the export macro expands to needs these; nobody else does.
#[doc(hidden)]
pub mod reexport {
    pub use abi_stable::library::{LibHeader, RootModuleResult};
    pub use abi_stable::std_types::{ROption, RResult, RStr, RString};
}

/// The revision of everything in this crate. A host and a plugin of different revisions refuse each other.
pub const ABI_REVISION: u32 = 1;

/// The exported symbol that `abi_stable` looks for; the export macro needs it as a literal.
pub const ROOT_SYMBOL: &str = "_1as_0lib_1header_0root_bmodule_bloader";

#[cfg(test)]
mod tests {
    #[test]
    fn root_symbol_is_the_one_that_abi_stable_looks_for() {
        assert_eq!(super::ROOT_SYMBOL, abi_stable::library::ROOT_MODULE_LOADER_NAME);
    }
}
