use std::sync::{Arc, Mutex, PoisonError, Weak};

use hub_plugin_api::{
    Budgets, Canceller, CheckReporter, CheckRequest, Config, Connection, Connector, ConnectorSpec, Context,
    DiscoverRequest, Error, ErrorKind, Plan, PlanRequest, Reader, Result, Statement, StreamDescription,
    StreamId, StreamPage, Writer, WriterRequest, arrow::array::RecordBatch, async_trait,
};

use crate::{
    check,
    config::ConnectionConfig,
    database::{self, Interrupt},
    describe, manifest,
    read::{self, Parameters, QueryPlan, ReadRequest, SplitSpec, Ties},
    sql,
    write::SqliteWriter,
};

/// The most streams of a page when the request leaves it open.
const PAGE: u32 = 500;

/// The connector.
pub struct Sqlite;

#[async_trait]
impl Connector for Sqlite {
    fn spec(&self) -> ConnectorSpec {
        manifest::spec()
    }

    async fn connect(&self, config: &Config, context: &Context) -> Result<Box<dyn Connection>> {
        let config = ConnectionConfig::new(config, context)?;
        Ok(Box::new(SqliteConnection { config, running: Arc::default() }))
    }
}

/// A path; every reader and writer opens it for itself.
struct SqliteConnection {
    config: ConnectionConfig,
    /// What its calls that are under way are interrupted by.
    running: Arc<Mutex<Vec<Weak<Interrupt>>>>,
}

impl SqliteConnection {
    /// What interrupts one call.
    fn interrupt(&self) -> Arc<Interrupt> {
        let interrupt = Arc::new(Interrupt::default());
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|one| one.strong_count() > 0);
        running.push(Arc::downgrade(&interrupt));
        interrupt
    }

    /// Runs what blocks on a thread of its own.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ConnectionConfig, &Interrupt) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (config, interrupt) = (self.config.clone(), self.interrupt());
        join(tokio::task::spawn_blocking(move || work(&config, &interrupt))).await
    }
}

/// What a blocking task answered; its panic goes on here, where the boundary catches it.
pub async fn join<T>(task: tokio::task::JoinHandle<Result<T>>) -> Result<T> {
    match task.await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::new(ErrorKind::Cancelled, "The call was cancelled").with_source(&error)),
    }
}

#[async_trait]
impl Connection for SqliteConnection {
    /// The path without links. A SQLite file has no identity of its own: `application_id` is the application's and
    /// mostly 0, device and inode change with every copy and restore, the header's counters with every write. A
    /// source that is only read cannot be given one either.
    async fn identity(&self) -> Result<String> {
        Ok(format!("file:{}", self.config.canonical().display()))
    }

    async fn check(&self, request: &CheckRequest, reporter: &CheckReporter) -> Result<()> {
        let (request, reporter) = (request.clone(), reporter.clone());
        self.blocking(move |config, interrupt| {
            check::run(config, &request, &reporter, interrupt);
            Ok(())
        })
        .await
    }

    async fn discover(&self, request: &DiscoverRequest) -> Result<StreamPage> {
        let request = request.clone();
        self.blocking(move |config, interrupt| {
            let connection = database::open_read(config)?;
            interrupt.watch(&connection);
            let failed = |error| crate::error::map("The tables could not be listed", error);
            let limit = if request.limit == 0 { PAGE } else { request.limit };
            let mut statement = connection.prepare(sql::LIST_TABLES).map_err(failed)?;
            let mut names = statement
                .query_map((&request.filter, &request.after, i64::from(limit) + 1), |row| {
                    row.get::<_, String>(0)
                })
                .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
                .map_err(failed)?;
            let has_more = names.len() > limit as usize;
            names.truncate(limit as usize);
            let next = names.last().filter(|_| has_more).cloned();
            Ok(StreamPage { streams: names.into_iter().map(StreamId::named).collect(), next })
        })
        .await
    }

    async fn describe(&self, streams: &[StreamId]) -> Result<Vec<StreamDescription>> {
        let streams = streams.to_vec();
        self.blocking(move |config, interrupt| {
            let connection = database::open_read(config)?;
            interrupt.watch(&connection);
            streams.into_iter().map(|stream| describe_stream(&connection, stream)).collect()
        })
        .await
    }

    async fn query(&self, statement: &Statement, parameters: Option<RecordBatch>) -> Result<Box<dyn Reader>> {
        let Statement::Text(text) = statement else {
            return Err(Error::unsupported("A statement other than SQL text"));
        };
        let parameters = parameters.map_or(Ok(Parameters::None), |row| Parameters::of_row(&row))?;
        let text = text.clone();
        let (statement, values) = (text.clone(), parameters.clone());
        let changed = self.blocking(move |config, interrupt| {
            read::is_change(config, &statement)?
                .then(|| read::change(config, &statement, &values, interrupt))
                .transpose()
        });
        if let Some(changed) = changed.await? {
            return Ok(changed);
        }
        let spec = self
            .blocking(move |config, interrupt| {
                let connection = database::open_read(config)?;
                interrupt.watch(&connection);
                let resolved = read::resolve(&connection, &text, &parameters)?;
                Ok(SplitSpec {
                    statement: text,
                    parameters,
                    columns: resolved.columns,
                    table: resolved.table,
                    cursor: Vec::new(),
                    ties: Ties::Refuse,
                    after: None,
                    upto: None,
                    from: None,
                    below: None,
                    state: String::new(),
                })
            })
            .await?;
        let stream = StreamId::named(spec.table.as_deref().unwrap_or("query"));
        read::open(&self.config, ReadRequest { stream, spec, resume: None, budgets: Budgets::default() })
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Box<dyn Plan>> {
        manifest::expect(&request.strategy, manifest::QUERY)?;
        let request = request.clone();
        let plan =
            self.blocking(move |config, interrupt| QueryPlan::new(config, &request, interrupt)).await?;
        Ok(Box::new(plan))
    }

    async fn writer(&self, request: &WriterRequest) -> Result<Box<dyn Writer>> {
        manifest::expect(&request.strategy, manifest::WRITE)?;
        let request = request.clone();
        let writer = self.blocking(move |config, _| SqliteWriter::open(config, &request)).await?;
        Ok(Box::new(writer))
    }

    fn canceller(&self) -> Canceller {
        let running = Arc::clone(&self.running);
        Canceller::new(move || {
            let running = running.lock().unwrap_or_else(PoisonError::into_inner);
            running.iter().filter_map(Weak::upgrade).for_each(|interrupt| interrupt.cancel());
        })
    }
}

fn describe_stream(connection: &rusqlite::Connection, stream: StreamId) -> Result<StreamDescription> {
    let table = describe::table(connection, &stream.name)?.filter(|_| stream.namespace.is_empty());
    let Some(table) = table else {
        return Err(Error::new(ErrorKind::NotFound, format!("There is no table or view `{stream}`"))
            .with_hint("`discover` lists what there is"));
    };
    let resolved = match table.columns.iter().any(|column| column.logical.is_none()) {
        // Only the values tell what a column without a type holds.
        true => Some(read::resolve(connection, &sql::select_table(&stream.name), &Parameters::None)?),
        false => None,
    };
    let columns = match resolved {
        Some(resolved) => resolved.columns,
        None => table.columns.into_iter().map(|column| column.column).collect(),
    };
    Ok(StreamDescription {
        columns,
        kind: table.kind,
        estimated_rows: describe::estimated_rows(connection, &stream.name),
        estimated_bytes: None,
        stream,
    })
}
