use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use hub_plugin_api::{
    CheckReport, CheckReporter, CheckRequest, CheckStep, Config, DiscoverRequest, Result, Statement,
    StreamDescription, StreamId, StreamPage,
};

use crate::{
    pipeline::{Batches, Endpoint, EndpointSpec, Host, Purpose, Side, StopSignal, query, read, strategy},
    strategy::Strategy,
};

/// A connection outside a pipeline. Each query and each reader has a server session of its own.
pub struct ConnectionHandle {
    endpoint: Arc<Endpoint>,
    spec: EndpointSpec,
}

impl ConnectionHandle {
    pub(crate) fn open(host: &Host, spec: EndpointSpec) -> Result<Self> {
        let strategy = (!spec.strategy.is_empty()).then_some(spec.strategy.as_str());
        let stop = StopSignal::new();
        let purpose = Purpose::standalone(&stop);
        Ok(Self { endpoint: Arc::new(host.connect(&spec, strategy, &purpose)?), spec })
    }

    /// Makes whatever this connection is doing return with an error, from any thread. It takes no calls after that.
    pub fn cancel(&self) {
        self.endpoint.stop.cancel();
    }

    /// The server, as stored positions are bound to it.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn identity(&self) -> Result<String> {
        self.endpoint.call("identify", |connection| async move { connection.identity().await })
    }

    /// Tests the connection for a strategy. Each step is reported as it happens.
    ///
    /// # Errors
    /// When the test cannot be run at all; a step that fails is in the report.
    pub fn check(
        &self,
        strategy: Strategy,
        on_step: impl Fn(&CheckStep) + Send + Sync + 'static,
    ) -> Result<CheckReport> {
        let spec = strategy.apply(&self.spec);
        let declared = &self.endpoint.resolved.spec;
        let request = match spec.strategy.as_str() {
            "" => CheckRequest::default(),
            id => {
                let strategy = declared.find_strategy(id)?;
                CheckRequest { strategy: strategy.id.clone(), options: strategy.validate(&spec.options)? }
            }
        };
        self.check_request(request, on_step)
    }

    fn check_request(
        &self,
        request: CheckRequest,
        on_step: impl Fn(&CheckStep) + Send + Sync + 'static,
    ) -> Result<CheckReport> {
        let steps = Arc::new(Mutex::new(Vec::new()));
        let (sink, masks) = (Arc::clone(&steps), self.endpoint.masks.clone());
        let reporter = CheckReporter::new(move |step| {
            let step = masks.step(step);
            on_step(&step);
            sink.lock().unwrap_or_else(PoisonError::into_inner).push(step);
        });
        self.endpoint
            .call("check", move |connection| async move { connection.check(&request, &reporter).await })?;
        let steps = std::mem::take(&mut *steps.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(CheckReport { steps })
    }

    /// Lists streams, a page at a time.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn discover(&self, request: &DiscoverRequest) -> Result<StreamPage> {
        let request = request.clone();
        self.endpoint.call("discover", move |connection| async move { connection.discover(&request).await })
    }

    /// Columns, keys and estimates of named streams, in the order asked for.
    ///
    /// # Errors
    /// [`NotFound`](hub_plugin_api::ErrorKind::NotFound) when one does not exist.
    pub fn describe(&self, streams: &[StreamId]) -> Result<Vec<StreamDescription>> {
        let streams = streams.to_vec();
        self.endpoint.call("describe", move |connection| async move { connection.describe(&streams).await })
    }

    /// A statement's rows. `parameters` is one row, a column a parameter.
    ///
    /// # Errors
    /// When the statement is not of this connector's language, or the server refuses it.
    pub fn query(&self, statement: &Statement, parameters: Option<RecordBatch>) -> Result<Batches> {
        query(&self.endpoint, statement.clone(), parameters)
    }

    /// Reads from beginning to end with a strategy, batch by batch.
    ///
    /// # Errors
    /// When the options do not fit the strategy, or the source refuses. Later failures come from the iterator.
    pub fn read(&self, strategy: Strategy) -> Result<Batches> {
        let spec = strategy.apply(&self.spec);
        read(&self.endpoint, &spec)
    }
}

/// Tests a connection for the strategy and options of an endpoint: the same options that a run would have.
pub(crate) fn check(
    host: &Host,
    endpoint: &EndpointSpec,
    on_step: impl Fn(&CheckStep) + Send + Sync + 'static,
) -> Result<CheckReport> {
    let handle = ConnectionHandle::open(host, endpoint.clone())?;
    if endpoint.strategy.is_empty() && endpoint.options == Config::new() {
        return handle.check_request(CheckRequest::default(), on_step);
    }
    let declared = &handle.endpoint.resolved.spec;
    let side = match declared.find_strategy(&endpoint.strategy)?.role {
        hub_plugin_api::Role::Source => Side::Source,
        hub_plugin_api::Role::Destination => Side::Destination,
    };
    let (found, options) = strategy(declared, endpoint, side)?;
    let request = CheckRequest { strategy: found.id.clone(), options };
    handle.check_request(request, on_step)
}
