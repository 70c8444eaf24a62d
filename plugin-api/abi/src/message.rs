use abi_stable::{
    StableAbi,
    std_types::{ROption, RString},
};

use crate::{ObjectRef, Rows};

/// A request or an answer: JSON text, and whatever cannot be JSON.
#[repr(C)]
#[derive(StableAbi)]
pub struct Message {
    /// The control plane. Unknown fields are ignored by whoever reads it.
    pub json: RString,
    /// Rows, or a schema, or neither.
    pub rows: Rows,
    /// An object that the other side may call from now on.
    pub object: ROption<ObjectRef>,
}

impl Message {
    /// A message that is JSON text and nothing else.
    pub fn text(json: String) -> Self {
        Self { json: json.into(), rows: Rows::none(), object: ROption::RNone }
    }

    /// The same message with rows or a schema.
    #[must_use]
    pub fn with_rows(mut self, rows: Rows) -> Self {
        self.rows = rows;
        self
    }

    /// The same message with an object.
    #[must_use]
    pub fn with_object(mut self, object: ObjectRef) -> Self {
        self.object = ROption::RSome(object);
        self
    }
}
