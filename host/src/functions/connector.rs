//! A connector with custom functions on top of its queries. Everything else is the connector's own.

use std::{path::PathBuf, sync::Arc};

use hub_plugin_api::{
    Canceller, CheckReporter, CheckRequest, CheckStep, Config, Connection, Connector, ConnectorSpec, Context,
    DiscoverRequest, Guarantee, HostContext, Level, LogRecord, Metric, OpenRequest, Plan, PlanDescription,
    PlanRequest, Reader, Result, Secret, Snapshot, Spill, Split, Statement, StreamDescription, StreamId,
    StreamPage, Value, Writer, WriterRequest, arrow::array::RecordBatch, async_trait,
};

use super::{
    function::{Function, Start},
    module::Module,
    options::{self, CUSTOM_FUNCTION, Options},
    sandbox::Sandbox,
};

/// The connector with the strategy `custom-function`, where its connections answer queries; else as it is.
pub(crate) fn with_functions(
    sandbox: &Sandbox,
    mut spec: ConnectorSpec,
    connector: Arc<dyn Connector>,
) -> (ConnectorSpec, Arc<dyn Connector>) {
    if !options::offer(&mut spec) {
        return (spec, connector);
    }
    let sandbox = sandbox.clone();
    let offering = FunctionConnector { spec: spec.clone(), inner: connector, sandbox };
    (spec, Arc::new(offering))
}

struct FunctionConnector {
    spec: ConnectorSpec,
    inner: Arc<dyn Connector>,
    sandbox: Sandbox,
}

#[async_trait]
impl Connector for FunctionConnector {
    fn spec(&self) -> ConnectorSpec {
        self.spec.clone()
    }

    async fn connect(&self, config: &Config, context: &Context) -> Result<Box<dyn Connection>> {
        let connection = Arc::from(self.inner.connect(config, context).await?);
        Ok(Box::new(FunctionConnection {
            connector: Arc::clone(&self.inner),
            connection,
            config: config.clone(),
            context: context.clone(),
            sandbox: self.sandbox.clone(),
        }))
    }
}

struct FunctionConnection {
    connector: Arc<dyn Connector>,
    connection: Arc<dyn Connection>,
    config: Config,
    context: Context,
    sandbox: Sandbox,
}

impl FunctionConnection {
    async fn plan_function(&self, request: &PlanRequest) -> Result<FunctionPlan> {
        let options = Options::read(&request.options)?;
        let module = Module::read(&options.module)?;
        let function = Function::new(&self.sandbox, &module)?;
        let identity = self.connection.identity().await?;
        let (connection, context) = if options.may_write {
            let context = Context::new(Arc::new(MayWrite(Arc::clone(self.context.host()))));
            (Arc::from(self.connector.connect(&self.config, &context).await?), context)
        } else {
            (Arc::clone(&self.connection), self.context.clone())
        };
        let split = Split {
            id: format!("function-{}", request.run),
            streams: vec![options.stream.clone()],
            bounded: true,
            after: Vec::new(),
            opaque: Value::Null,
            portable: false,
            estimated_rows: None,
        };
        let description = PlanDescription {
            splits: vec![split],
            // Where it goes on, and in which state of the database, is in the function's own position.
            snapshot: Snapshot::Same,
            guarantee: Guarantee::EffectivelyOnce,
            reason: "The function goes on where its own position says, and each run reads from the beginning"
                .into(),
            repeats_rows: true,
            carry: None,
        };
        Ok(FunctionPlan { function, options, identity, connection, context, description })
    }
}

#[async_trait]
impl Connection for FunctionConnection {
    async fn identity(&self) -> Result<String> {
        self.connection.identity().await
    }

    async fn check(&self, request: &CheckRequest, reporter: &CheckReporter) -> Result<()> {
        if request.strategy != CUSTOM_FUNCTION {
            return self.connection.check(request, reporter).await;
        }
        self.connection.check(&CheckRequest::default(), reporter).await?;
        check_function(&self.sandbox, &request.options, &self.context, reporter);
        Ok(())
    }

    async fn discover(&self, request: &DiscoverRequest) -> Result<StreamPage> {
        self.connection.discover(request).await
    }

    async fn describe(&self, streams: &[StreamId]) -> Result<Vec<StreamDescription>> {
        self.connection.describe(streams).await
    }

    async fn query(&self, statement: &Statement, parameters: Option<RecordBatch>) -> Result<Box<dyn Reader>> {
        self.connection.query(statement, parameters).await
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Box<dyn Plan>> {
        if request.strategy == CUSTOM_FUNCTION {
            return Ok(Box::new(self.plan_function(request).await?));
        }
        self.connection.plan(request).await
    }

    async fn writer(&self, request: &WriterRequest) -> Result<Box<dyn Writer>> {
        self.connection.writer(request).await
    }

    async fn release(&self, pipeline: &str) -> Result<()> {
        self.connection.release(pipeline).await
    }

    fn canceller(&self) -> Canceller {
        self.connection.canceller()
    }
}

/// The steps of a connection test that are the function's.
fn check_function(sandbox: &Sandbox, options: &Config, context: &Context, reporter: &CheckReporter) {
    let tried = || -> Result<String> {
        let options = Options::read(options)?;
        let module = Module::read(&options.module)?;
        let function = Function::new(sandbox, &module)?;
        let version = function.try_out(options.limits, context)?;
        let positions = version
            .map_or_else(|| "without positions".into(), |version| format!("positions of version {version}"));
        Ok(format!("`{}` is of world {}, {positions}", module.name, module.world.as_str()))
    };
    reporter.report(match tried() {
        Ok(found) => CheckStep::passed("function", found),
        Err(error) => CheckStep::failed("function", &error),
    });
}

struct FunctionPlan {
    function: Function,
    options: Options,
    identity: String,
    connection: Arc<dyn Connection>,
    context: Context,
    description: PlanDescription,
}

#[async_trait]
impl Plan for FunctionPlan {
    fn description(&self) -> PlanDescription {
        self.description.clone()
    }

    async fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        self.function.start(Start {
            connection: Arc::clone(&self.connection),
            context: self.context.clone(),
            limits: self.options.limits,
            stream: self.options.stream.clone(),
            arguments: self.options.arguments.clone(),
            columns: self.options.columns.clone(),
            identity: self.identity.clone(),
            position: request.position.clone(),
        })
    }

    fn canceller(&self) -> Canceller {
        self.connection.canceller()
    }
}

/// The host's side for a connection whose queries may change data.
struct MayWrite(Arc<dyn HostContext>);

impl HostContext for MayWrite {
    fn log(&self, record: LogRecord) {
        self.0.log(record);
    }

    fn log_level(&self) -> Level {
        self.0.log_level()
    }

    fn metric(&self, metric: Metric) {
        self.0.metric(metric);
    }

    fn secret(&self, id: &str) -> Result<Option<Secret>> {
        self.0.secret(id)
    }

    fn state_get(&self, name: &str) -> Result<Option<String>> {
        self.0.state_get(name)
    }

    fn state_put(&self, name: &str, blob: Option<&str>) -> Result<()> {
        self.0.state_put(name, blob)
    }

    fn state_list(&self) -> Result<Vec<String>> {
        self.0.state_list()
    }

    fn spill(&self) -> Result<Spill> {
        self.0.spill()
    }

    fn reserved_files(&self) -> Vec<PathBuf> {
        self.0.reserved_files()
    }

    fn queries_may_write(&self) -> bool {
        true
    }
}
