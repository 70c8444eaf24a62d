use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use hub_plugin_api::{
    Canceller, Config, Connection, Connector, ConnectorSpec, Context, Error, ErrorKind, ParameterKind,
    Result, Role, Secret, Strategy,
};

use super::{
    EndpointSpec, SecretReference, Side, StopSignal,
    context::{EndpointContext, MetricSink},
    held::Held,
    masks::Masks,
};
use crate::{
    plugins::Supervisor,
    store::{Paths, Store, file_stem},
};

/// A connector that is ready to be used, wherever it came from.
#[derive(Clone)]
pub struct Resolved {
    /// The plugin's id.
    pub plugin: String,
    /// The plugin's version.
    pub plugin_version: String,
    /// What it declares.
    pub spec: ConnectorSpec,
    /// The connector itself.
    pub connector: Arc<dyn Connector>,
    /// Runs its calls.
    pub supervisor: Supervisor,
}

/// Where connectors are found.
pub trait Catalog: Send + Sync {
    /// The newest connector that fits `reference`: an id, perhaps with a version requirement.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] with what there is.
    fn find(&self, reference: &str) -> Result<Resolved>;
}

/// What every use of a connector has in common.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) store: Arc<Store>,
    pub(crate) paths: Paths,
}

/// What a connection is made for.
pub(crate) struct Purpose<'a> {
    pub(crate) pipeline: Option<&'a str>,
    pub(crate) side: Side,
    pub(crate) stop: &'a StopSignal,
    pub(crate) masks: Masks,
    pub(crate) metrics: MetricSink,
}

impl<'a> Purpose<'a> {
    /// A source outside any pipeline: nothing is stored for it and its measurements go nowhere.
    pub(crate) fn standalone(stop: &'a StopSignal) -> Self {
        Self { pipeline: None, side: Side::Source, stop, masks: Masks::default(), metrics: Arc::new(|_| {}) }
    }
}

/// One end of a pipeline, connected.
pub(crate) struct Endpoint {
    pub(crate) resolved: Resolved,
    /// There until this is dropped.
    connection: Option<Arc<dyn Connection>>,
    pub(crate) masks: Masks,
    pub(crate) stop: StopSignal,
    side: Side,
    context: Arc<EndpointContext>,
}

impl Host {
    /// Where plugins spill rows of a pipeline, or of a connection outside one.
    pub(crate) fn spill_dir(&self, pipeline: Option<&str>) -> PathBuf {
        let of_process = || format!("process.{}", std::process::id());
        self.paths.spill_dir().join(pipeline.map_or_else(of_process, file_stem))
    }

    /// Finds the connector, checks the config and connects. `strategy` decides which parameters are required.
    pub(crate) fn connect(
        &self,
        spec: &EndpointSpec,
        strategy: Option<&str>,
        purpose: &Purpose<'_>,
    ) -> Result<Endpoint> {
        let side = purpose.side;
        let resolved = self.catalog.find(&spec.connector).map_err(|error| at_side(error, side))?;
        let (config, secrets) = prepare(&resolved.spec, spec, strategy, &purpose.masks)
            .map_err(|error| purpose.masks.error(at_side(error, side)))?;
        resolved.supervisor.admit()?;
        let context = Arc::new(EndpointContext {
            store: Arc::clone(&self.store),
            paths: self.paths.clone(),
            spill_dir: self.spill_dir(purpose.pipeline),
            pipeline: purpose.pipeline.map(String::from),
            side,
            secrets,
            masks: purpose.masks.clone(),
            metrics: Arc::clone(&purpose.metrics),
            spills: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let (connector, for_plugin) =
            (Arc::clone(&resolved.connector), Context::new(Arc::clone(&context) as _));
        let connection =
            call(&resolved.supervisor, purpose.stop, "connect", Canceller::none(), move || async move {
                connector.connect(&config, &for_plugin).await
            });
        let connection =
            Arc::from(connection.map_err(|error| purpose.masks.error(at_connector(error, side, spec)))?);
        let (masks, stop) = (purpose.masks.clone(), purpose.stop.clone());
        Ok(Endpoint { resolved, connection: Some(connection), masks, stop, side, context })
    }
}

impl Endpoint {
    /// The connection itself.
    pub(crate) fn connection(&self) -> Result<Arc<dyn Connection>> {
        self.connection.clone().ok_or_else(|| Error::internal("The connection is closed"))
    }

    /// Calls the connection on a thread of the plugin's supervisor.
    pub(crate) fn call<T, F>(
        &self,
        what: &str,
        work: impl FnOnce(Arc<dyn Connection>) -> F + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>>,
    {
        let connection = self.connection()?;
        let canceller = connection.canceller();
        call(&self.resolved.supervisor, &self.stop, what, canceller, move || work(connection))
            .map_err(|error| self.describe(error))
    }

    /// An error as a person may see it: without secrets, and with the side that it is of.
    pub(crate) fn describe(&self, error: Error) -> Error {
        self.masks.error(at_side(error, self.side))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(Held::new(&self.resolved.supervisor, "close a connection", self.connection.take()));
        self.context.close();
    }
}

/// Runs one call of a plugin on a thread of its own, so that neither its blocking nor its hanging holds ours.
pub(crate) fn call<T, F>(
    supervisor: &Supervisor,
    stop: &StopSignal,
    what: &str,
    canceller: Canceller,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    stop.check()?;
    let task = supervisor.spawn(what, canceller, move || pollster::block_on(work()));
    let _registration = stop.register(task.canceller());
    task.wait(None)
}

fn at_side(error: Error, side: Side) -> Error {
    if error.context.iter().any(|(name, _)| name == "side") {
        return error;
    }
    error.with_context("side", side.as_str())
}

fn at_connector(error: Error, side: Side, spec: &EndpointSpec) -> Error {
    at_side(error.with_context("connector", &spec.connector), side)
}

/// The strategy of an endpoint, or the connector's default for the side, with its checked options.
pub(crate) fn strategy<'a>(
    spec: &'a ConnectorSpec,
    endpoint: &EndpointSpec,
    side: Side,
) -> Result<(&'a Strategy, Config)> {
    let role = match side {
        Side::Source => Role::Source,
        Side::Destination => Role::Destination,
    };
    let find = || {
        let strategy = match endpoint.strategy.as_str() {
            "" => spec.default_strategy(role)?,
            id => spec.find_strategy(id)?,
        };
        if strategy.role != role {
            let verb = if role == Role::Source { "read" } else { "write" };
            return Err(Error::config(
                "strategy",
                format!("Strategy `{}` of `{}` does not {verb}", strategy.id, spec.id),
            ));
        }
        Ok((strategy, strategy.validate(&endpoint.options)?))
    };
    find().map_err(|error| at_side(error, side))
}

/// The config that may cross the boundary, and the secrets that may not.
fn prepare(
    spec: &ConnectorSpec,
    endpoint: &EndpointSpec,
    strategy: Option<&str>,
    masks: &Masks,
) -> Result<(Config, BTreeMap<String, Secret>)> {
    let kind = |id: &str| {
        spec.parameters.iter().find(|parameter| parameter.id == id).map(|parameter| &parameter.kind)
    };
    let (mut given, mut secrets) = (Config::new(), BTreeMap::new());
    for (id, value) in endpoint.config.iter() {
        match (kind(id), value.as_str()) {
            (Some(ParameterKind::Password), Some(text)) => {
                secrets.insert(id.clone(), Secret::new(text));
            }
            _ => given.set(id, value.clone()),
        }
    }
    for (id, reference) in &endpoint.secrets {
        let secret = resolve_secret(id, reference)?;
        if matches!(kind(id), Some(ParameterKind::Password) | None) {
            secrets.insert(id.clone(), secret);
        } else {
            // `${env:}` in a path is not a secret.
            given.set(id, secret.expose());
        }
    }
    for (id, secret) in &secrets {
        masks.add(secret);
        given.set(id, "***");
    }
    let checked = spec.validate(&given, strategy)?;
    let config = checked.iter().filter(|(id, _)| kind(id) != Some(&ParameterKind::Password));
    Ok((config.map(|(id, value)| (id.clone(), value.clone())).collect(), secrets))
}

fn resolve_secret(id: &str, reference: &SecretReference) -> Result<Secret> {
    match reference {
        SecretReference::Literal(secret) => Ok(secret.clone()),
        SecretReference::Env(name) => std::env::var(name).map(Secret::new).map_err(|error| {
            Error::config(
                id,
                format!("`{id}` comes from the environment variable `{name}`, which cannot be read"),
            )
            .with_source(&error)
            .with_hint(format!("Set `{name}`"))
        }),
        SecretReference::File(path) => {
            let text = fs::read_to_string(path).map_err(|error| {
                Error::new(ErrorKind::InvalidConfig, format!("`{id}` comes from a file that cannot be read"))
                    .with_field(id)
                    .with_source(&error)
                    .with_context("file", path.display())
            })?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line)))
        }
    }
}
