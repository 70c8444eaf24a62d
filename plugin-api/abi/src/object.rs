#![expect(non_local_definitions, reason = "the attribute of abi_stable expands to impls inside a constant")]

use abi_stable::{
    sabi_trait,
    sabi_trait::TD_Opaque,
    std_types::{RBox, RResult, RStr, RString},
};

use crate::Message;

/// Anything that one side lends to the other: a plugin, a connection, a plan, a reader, a writer; a context, a reporter.
///
/// `call` blocks. Calls on one object come one after another, except on a connection, a plan and the host's
/// objects, which may be called from several threads. `cancel` may come from any thread at any time and makes a
/// blocked call return within a second. Neither unwinds: an implementation catches its own panics.
#[sabi_trait]
pub trait Object: Send + Sync {
    /// Runs a method named in [`crate::methods`]; the error is the JSON text of an error object.
    fn call(&self, method: RStr<'_>, message: Message) -> RResult<Message, RString>;

    /// Makes blocked calls on this object return with a cancelled error.
    #[sabi(last_prefix_field)]
    fn cancel(&self);
}

/// An owned [`Object`] of either side.
pub type ObjectRef = Object_TO<'static, RBox<()>>;

/// Makes an implementation callable from the other side.
pub fn make_object<T: Object + 'static>(object: T) -> ObjectRef {
    Object_TO::from_value(object, TD_Opaque)
}
