//! A function that is ready to be started, and how it is started.

use std::sync::Arc;

use hub_plugin_api::{
    Connection, Context, Error, ErrorKind, Position, Reader, Result, StreamId, types::Column,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmtime::component::HasSelf;
use wasmtime_wasi::p2::bindings::CommandPre;

use super::{
    bindings::{
        CustomFunctionPre,
        connector_hub::plugin::{connection, log, types},
    },
    command, deny,
    guest::Guest,
    interrupt::Interrupt,
    limits::Limits,
    module::{Module, World},
    reader,
    sandbox::{Machine, Sandbox},
    shell::Shell,
};

/// The version of a function's position, as the hub wraps it.
const POSITION_VERSION: u32 = 1;

/// A function that is ready to be started any number of times.
#[derive(Clone)]
pub struct Function {
    pub(super) sandbox: Sandbox,
    pub(super) sha256: String,
    ready: Ready,
}

#[derive(Clone)]
enum Ready {
    Function(CustomFunctionPre<Guest>),
    Command(CommandPre<Guest>),
}

/// What a function is started with.
pub struct Start {
    /// The database that it may query.
    pub connection: Arc<dyn Connection>,
    /// The host.
    pub context: Context,
    /// What it may use.
    pub limits: Limits,
    /// The stream that its rows are of.
    pub stream: StreamId,
    /// The user's arguments, a JSON object.
    pub arguments: Value,
    /// The columns of a command's rows; empty: they are inferred from the first batch.
    pub columns: Vec<Column>,
    /// What positions are bound to.
    pub identity: String,
    /// Where to resume.
    pub position: Option<Position>,
}

/// What is stored of a function's position.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// SHA-256 of the module that gave it.
    module: String,
    /// The version that the module said its positions have.
    position_version: u32,
    /// The identity of the connection.
    identity: String,
    /// The function's own JSON.
    position: Value,
}

impl Function {
    /// Compiles a module, or takes its compiled code from disk.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] when it is not valid WebAssembly, no function, or asks for what no function gets.
    pub fn new(sandbox: &Sandbox, module: &Module) -> Result<Self> {
        let machine = sandbox.machine()?;
        deny::check_imports(module)?;
        let component = machine.compile(module)?;
        let refused = |error: wasmtime::Error| {
            Error::config("module", format!("The module `{}` cannot be linked", module.name))
                .with_source(error.as_ref())
                .with_hint(
                    "Build it against the contract's text of this hub's version, without other imports",
                )
        };
        let link = || -> wasmtime::Result<_> {
            let mut linker = machine.linker::<Guest>()?;
            deny::shadow(&mut linker)?;
            types::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
            connection::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
            log::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
            linker.instantiate_pre(&component)
        };
        let linked = link().map_err(refused)?;
        let ready = match module.world {
            World::CustomFunction => Ready::Function(CustomFunctionPre::new(linked).map_err(refused)?),
            World::Command => Ready::Command(CommandPre::new(linked).map_err(refused)?),
            World::Connector => {
                let message = format!("The module `{}` is a connector, not a function", module.name);
                return Err(Error::config("module", message).with_hint("Put it into a plugin folder instead"));
            }
        };
        Ok(Self { sandbox: sandbox.clone(), sha256: module.sha256.clone(), ready })
    }

    /// Starts the function and opens it.
    ///
    /// # Errors
    /// The function's own; [`ErrorKind::ResourceExhausted`] when it reaches a limit; [`ErrorKind::InvalidData`] when
    /// it breaks the contract; [`ErrorKind::PositionLost`] for a position of another database, or of a module whose
    /// positions are different.
    pub fn start(&self, start: Start) -> Result<Box<dyn Reader>> {
        match &self.ready {
            Ready::Function(ready) => reader::start(self, ready, start),
            Ready::Command(ready) => command::start(self, ready, start),
        }
    }

    /// Makes an instance and asks it for the version of its positions, without opening it: nothing is queried.
    ///
    /// # Errors
    /// As [`Function::start`].
    pub fn try_out(&self, limits: Limits, context: &Context) -> Result<Option<u32>> {
        match &self.ready {
            Ready::Function(ready) => reader::position_version(self, ready, limits, context).map(Some),
            Ready::Command(_) => Ok(None),
        }
    }

    pub(super) fn machine(&self) -> Result<&Machine> {
        self.sandbox.machine()
    }
}

/// The guest of a function, with what it is cancelled by.
pub(super) fn guest(
    start: (Arc<dyn Connection>, Context),
    limits: Limits,
    furnish: impl FnOnce(&mut wasmtime_wasi::WasiCtxBuilder),
) -> (Guest, Interrupt) {
    let (connection, context) = start;
    let shell = Shell::new(limits, &context, |wasi, denied| {
        deny::network(wasi, denied);
        furnish(wasi);
    });
    let interrupt = shell.interrupt.clone();
    (Guest { shell, connection, context }, interrupt)
}

/// A function's position with what it is bound to.
pub(super) fn wrap(position: &str, sha256: &str, position_version: u32, identity: &str) -> Result<Position> {
    let value = serde_json::from_str::<Value>(position).ok().filter(Value::is_object);
    let Some(position) = value else {
        return Err(Error::new(ErrorKind::InvalidData, "The function's position is not a JSON object"));
    };
    let stored = Stored { module: sha256.into(), position_version, identity: identity.into(), position };
    Position::new(POSITION_VERSION, &stored)
}

/// The position that the function itself gave, unless it is not for this one.
pub(super) fn unwrap(
    position: &Position,
    sha256: &str,
    position_version: u32,
    identity: &str,
) -> Result<String> {
    let stored: Stored = position.read(POSITION_VERSION)?;
    let lost = |message: &str| {
        Error::new(ErrorKind::PositionLost, message)
            .with_hint("Start again with `--from-scratch`, or put back what the pipeline was run with")
    };
    if stored.identity != identity {
        return Err(lost("The stored position is of another database")
            .with_context("stored", stored.identity)
            .with_context("now", identity));
    }
    if stored.position_version != position_version {
        let message = if stored.module == sha256 {
            "The module says another version of its positions than it did when it gave this one"
        } else {
            "The stored position is of another build of the module, whose positions are different"
        };
        return Err(lost(message)
            .with_context("stored", stored.position_version)
            .with_context("now", position_version));
    }
    if stored.module != sha256 {
        tracing::info!(
            stored = stored.module,
            now = sha256,
            "A position is taken over from another build of a module"
        );
    }
    Ok(stored.position.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_goes_on_in_a_rebuilt_module_only_while_its_version_is_the_same() {
        let position = wrap(r#"{"page":3}"#, "aa", 2, "db").unwrap();
        assert_eq!(unwrap(&position, "aa", 2, "db").unwrap(), r#"{"page":3}"#);
        assert_eq!(unwrap(&position, "bb", 2, "db").unwrap(), r#"{"page":3}"#);
        for (sha256, version, identity, text) in [
            (
                "bb",
                3,
                "db",
                "The stored position is of another build of the module, whose positions are different",
            ),
            ("aa", 2, "other", "The stored position is of another database"),
        ] {
            let error = unwrap(&position, sha256, version, identity).unwrap_err();
            assert_eq!((error.kind, error.message.as_str()), (ErrorKind::PositionLost, text));
        }
        assert!(wrap("[1]", "aa", 1, "db").is_err());
    }
}
