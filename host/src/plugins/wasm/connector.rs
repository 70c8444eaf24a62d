//! A component's connectors and connections.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use hub_plugin_api::{
    Canceller, CheckReporter, CheckRequest, Config, Connection, Connector, ConnectorSpec, Context,
    DiscoverRequest, Parameter, Plan, PlanRequest, Reader, Result, Statement, StreamDescription, StreamId,
    StreamPage, Writer, WriterRequest,
    arrow::array::RecordBatch,
    async_trait,
    ffi::wire::{
        ConnectRequest, IdentityAnswer, PlanAnswer, QueryRequest, ReleaseRequest, StreamsRequest,
        WriterAnswer,
    },
};

use super::{
    bindings::ConnectorPre,
    network::{self, Network},
    objects::{ComponentPlan, ComponentReader, ComponentWriter, Object, nothing, parse, text},
    session::{Handle, PREFIX, Session, Template},
    state::State,
};
use crate::functions::{Limits, Sandbox, ipc};

/// One connector of a component.
pub(super) struct ComponentConnector {
    /// As the component declares it.
    declared: ConnectorSpec,
    /// With what the host adds.
    spec: ConnectorSpec,
    sandbox: Sandbox,
    ready: ConnectorPre<State>,
}

impl ComponentConnector {
    pub(super) fn new(declared: ConnectorSpec, sandbox: Sandbox, ready: ConnectorPre<State>) -> Self {
        let mut spec = declared.clone();
        if !spec.network.is_empty() {
            spec.parameters.push(
                Parameter::list(network::PARAMETER, "Network")
                    .describe(format!(
                        "Hosts and ports, `host:port`, that the connector may reach besides those of its parameters; \
                         it asks for {}",
                        spec.network.join(", ")
                    ))
                    .advanced(),
            );
        }
        spec.parameters.extend(Limits::parameters(PREFIX, true));
        Self { declared, spec, sandbox, ready }
    }
}

#[async_trait]
impl Connector for ComponentConnector {
    fn spec(&self) -> ConnectorSpec {
        self.spec.clone()
    }

    async fn connect(&self, config: &Config, context: &Context) -> Result<Box<dyn Connection>> {
        let template = Template {
            sandbox: self.sandbox.clone(),
            ready: self.ready.clone(),
            limits: Limits::read(PREFIX, config)?,
            network: Network::granted(&self.declared, config),
            context: context.clone(),
        };
        let own = |id: &str| self.declared.parameters.iter().any(|parameter| parameter.id == id);
        let config = config.iter().filter(|(id, _)| own(id));
        let request = text(&ConnectRequest {
            connector: self.declared.id.clone(),
            config: config.map(|(id, value)| (id.clone(), value.clone())).collect(),
            log_level: context.host().log_level(),
            reserved_files: Vec::new(),
            queries_may_write: context.queries_may_write(),
            workers: 1,
        })?;
        let handle = Handle::default();
        let session = template.connect(&request, &handle, |_| {})?;
        Ok(Box::new(ComponentConnection { template, request, session, handle, making: Mutex::default() }))
    }
}

/// A connection: the instance that was connected first, and the request by which others are made of it.
struct ComponentConnection {
    template: Template,
    request: String,
    session: Arc<Session>,
    handle: Handle,
    /// Instances that a plan, a writer or a statement is being made in.
    making: Mutex<Vec<(Weak<Session>, Handle)>>,
}

impl ComponentConnection {
    /// An instance of its own, connected; a cancel of the connection reaches it while it is made something of.
    fn another(&self) -> Result<(Arc<Session>, Handle)> {
        let handle = Handle::default();
        let session = self.template.connect(&self.request, &handle, |session| {
            let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
            making.retain(|(session, _)| session.strong_count() > 0);
            making.push((Arc::downgrade(session), handle.clone()));
        })?;
        Ok((session, handle))
    }

    /// A call of the first instance that is JSON both ways.
    fn ask(&self, method: Method, request: &String, reporter: Option<CheckReporter>) -> Result<String> {
        let connection = self.session.connection()?;
        self.session.call_within(&self.handle, reporter, async |store, guest| {
            let guest = guest.connection();
            match method {
                Method::Identity => guest.call_identity(store, connection, request).await,
                Method::Check => guest.call_check(store, connection, request).await,
                Method::Discover => guest.call_discover(store, connection, request).await,
                Method::Describe => guest.call_describe(store, connection, request).await,
                Method::Release => guest.call_release(store, connection, request).await,
            }
        })
    }
}

#[derive(Clone, Copy)]
enum Method {
    Identity,
    Check,
    Discover,
    Describe,
    Release,
}

#[async_trait]
impl Connection for ComponentConnection {
    async fn identity(&self) -> Result<String> {
        let answer: IdentityAnswer = parse(&self.ask(Method::Identity, &nothing(), None)?)?;
        Ok(answer.identity)
    }

    async fn check(&self, request: &CheckRequest, reporter: &CheckReporter) -> Result<()> {
        self.ask(Method::Check, &text(request)?, Some(reporter.clone())).map(drop)
    }

    async fn discover(&self, request: &DiscoverRequest) -> Result<StreamPage> {
        parse(&self.ask(Method::Discover, &text(request)?, None)?)
    }

    async fn describe(&self, streams: &[StreamId]) -> Result<Vec<StreamDescription>> {
        parse(&self.ask(Method::Describe, &text(&StreamsRequest { streams: streams.to_vec() })?, None)?)
    }

    async fn query(&self, statement: &Statement, parameters: Option<RecordBatch>) -> Result<Box<dyn Reader>> {
        let request = text(&QueryRequest { statement: statement.clone() })?;
        let parameters = parameters.map(|row| ipc::export(&row)).transpose()?;
        let (session, handle) = self.another()?;
        let connection = session.connection()?;
        let reader = session.call(&handle, async |store, guest| {
            guest.connection().call_query(store, connection, &request, parameters.as_ref()).await
        })?;
        Ok(Box::new(ComponentReader::new(session, reader)))
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Box<dyn Plan>> {
        let request = text(request)?;
        let (session, handle) = self.another()?;
        let connection = session.connection()?;
        let made = session.call(&handle, async |store, guest| {
            guest.connection().call_plan(store, connection, &request).await
        })?;
        let object = Object::new(session, made.plan);
        let PlanAnswer { plan: description } = parse(&made.answer)?;
        Ok(Box::new(ComponentPlan { object, description }))
    }

    async fn writer(&self, request: &WriterRequest) -> Result<Box<dyn Writer>> {
        let request = text(request)?;
        let (session, handle) = self.another()?;
        let connection = session.connection()?;
        let made = session.call(&handle, async |store, guest| {
            guest.connection().call_writer(store, connection, &request).await
        })?;
        let object = Object::new(session, made.writer);
        let WriterAnswer { start } = parse(&made.answer)?;
        Ok(Box::new(ComponentWriter { object, start }))
    }

    async fn release(&self, pipeline: &str) -> Result<()> {
        self.ask(Method::Release, &text(&ReleaseRequest { pipeline: pipeline.into() })?, None).map(drop)
    }

    fn canceller(&self) -> Canceller {
        let first = self.session.canceller(&self.handle);
        let making = self.making.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Canceller::new(move || {
            first.cancel();
            making.iter().for_each(|(session, handle)| handle.cancel(session));
        })
    }
}
