//! Between the trait and the contract's calls.

use std::cell::RefCell;

use crate::{
    Event, Failure, Function, Result, bindings::exports::connector_hub::plugin::reader, function::read,
};

/// The one function of a module while it runs.
pub struct Running<F>(RefCell<Option<F>>);

impl<F: Function> Running<F> {
    /// Not open yet.
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }

    /// The contract's `open`.
    ///
    /// # Errors
    /// The function's own, and arguments or a position of another shape.
    pub fn open(&self, arguments: &str, position: Option<&str>) -> Result<()> {
        let position = position.map(|json| read("position", json)).transpose()?;
        *self.0.borrow_mut() = Some(F::open(read("arguments", arguments)?, position)?);
        Ok(())
    }

    /// The contract's `next`.
    ///
    /// # Errors
    /// The function's own.
    pub fn next(&self) -> Result<reader::Event> {
        let mut running = self.0.borrow_mut();
        let function =
            running.as_mut().ok_or_else(|| Failure::new("protocol", "The function is not open"))?;
        Ok(match function.next()? {
            Event::Rows(batch) => reader::Event::Rows(batch),
            Event::Boundary(None) => reader::Event::Boundary(None),
            Event::Boundary(Some(position)) => {
                reader::Event::Boundary(Some(serde_json::to_string(&position).map_err(|error| {
                    Failure::new("internal", format!("The position cannot be written: {error}"))
                })?))
            }
            Event::End => reader::Event::End,
        })
    }
}

impl<F: Function> Default for Running<F> {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes a type that is a [`Function`](crate::Function) the module's own. Once a module.
#[macro_export]
macro_rules! export_function {
    ($function:ty) => {
        const _: () = {
            use $crate::{bindings, internal::Running};

            thread_local! {
                static RUNNING: Running<$function> = const { Running::new() };
            }

            struct Exported;

            impl bindings::exports::connector_hub::plugin::reader::Guest for Exported {
                fn position_version() -> u32 {
                    <$function as $crate::Function>::POSITION_VERSION
                }

                fn open(arguments: String, position: Option<String>) -> $crate::Result<()> {
                    RUNNING.with(|running| running.open(&arguments, position.as_deref()))
                }

                fn next() -> $crate::Result<bindings::exports::connector_hub::plugin::reader::Event> {
                    RUNNING.with(|running| running.next())
                }
            }

    bindings::export!(Exported with_types_in bindings);
        };
    };
}
