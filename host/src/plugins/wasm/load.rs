//! From a component's bytes to its connectors.

use std::sync::Arc;

use hub_plugin_api::{
    Connector, ConnectorSpec, Context, Error, ErrorKind, HostContext, Level, LogRecord, Metric, Result,
    Secret, Spill,
};
use semver::Version;
use serde::Deserialize;

use super::{
    bindings::ConnectorPre,
    connector::ComponentConnector,
    network::Network,
    objects::parse,
    session::{Handle, Template},
    state,
};
use crate::functions::{Limits, Module, Sandbox};

/// How a binary file of WebAssembly begins.
const MAGIC: [u8; 4] = *b"\0asm";

/// Whether a file is WebAssembly.
pub(in crate::plugins) fn starts_like_a_component(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

/// What a component says of itself.
#[derive(Deserialize)]
struct Manifest {
    plugin: String,
    version: Version,
    requires_api: Version,
    connectors: Vec<ConnectorSpec>,
}

/// A component whose connectors can be used.
pub(in crate::plugins) struct OpenComponent {
    /// The plugin's id.
    pub(in crate::plugins) plugin: String,
    /// The plugin's version.
    pub(in crate::plugins) version: Version,
    /// The oldest version of the contract that it works with.
    pub(in crate::plugins) requires_api: Version,
    /// Its connectors, with what the host adds to what they declare.
    pub(in crate::plugins) connectors: Vec<(ConnectorSpec, Arc<dyn Connector>)>,
}

/// Compiles a component and asks for its manifest, in an instance that can reach nothing.
///
/// # Errors
/// When it is not valid, imports what no component gets, or does not answer.
pub(in crate::plugins) fn open(sandbox: &Sandbox, module: &Module) -> Result<OpenComponent> {
    let machine = sandbox.machine()?;
    let component = machine.compile(module)?;
    let link = || -> wasmtime::Result<_> {
        let mut linker = machine.linker()?;
        state::link(&mut linker)?;
        ConnectorPre::new(linker.instantiate_pre(&component)?)
    };
    let ready = link().map_err(|error| {
        Error::new(ErrorKind::Unsupported, "It imports what no component gets")
            .with_source(error.as_ref())
            .with_hint("A component imports the contract's interfaces and WASI 0.2, and nothing else")
    })?;
    let template = Template {
        sandbox: sandbox.clone(),
        ready: ready.clone(),
        limits: Limits::default(),
        network: Network::default(),
        context: Context::new(Arc::new(Nobody)),
    };
    let session = template.instance()?;
    let answer = session.call(&Handle::default(), async |store, guest| guest.call_spec(store).await)?;
    let Manifest { plugin, version, requires_api, connectors } = parse(&answer)?;
    let connector = |declared: ConnectorSpec| {
        let connector = ComponentConnector::new(declared, sandbox.clone(), ready.clone());
        (connector.spec(), Arc::new(connector) as Arc<dyn Connector>)
    };
    Ok(OpenComponent {
        plugin,
        version,
        requires_api,
        connectors: connectors.into_iter().map(connector).collect(),
    })
}

/// The host's side while a component says what it is: there is nothing to be had.
struct Nobody;

impl HostContext for Nobody {
    fn log(&self, record: LogRecord) {
        tracing::debug!("A component says while it is loaded: {}", record.message);
    }

    fn log_level(&self) -> Level {
        Level::Info
    }

    fn metric(&self, _: Metric) {}

    fn secret(&self, _: &str) -> Result<Option<Secret>> {
        Ok(None)
    }

    fn state_get(&self, _: &str) -> Result<Option<String>> {
        Err(Error::unsupported("Stored state before a connection is made"))
    }

    fn state_put(&self, _: &str, _: Option<&str>) -> Result<()> {
        Err(Error::unsupported("Stored state before a connection is made"))
    }

    fn state_list(&self) -> Result<Vec<String>> {
        Err(Error::unsupported("Stored state before a connection is made"))
    }

    fn spill(&self) -> Result<Spill> {
        Err(Error::unsupported("A directory before a connection is made"))
    }

    fn reserved_files(&self) -> Vec<std::path::PathBuf> {
        Vec::new()
    }
}
