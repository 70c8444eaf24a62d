//! The server of the tests, and what stands in for the host.

use std::{sync::Arc, time::Duration};

use connector_postgres::Postgres;
use hub_plugin_api::{
    Boundary, Budgets, Config, Connection, Connector, Context, Event, OpenRequest, PlanRequest, Position,
    Reader, Result, Split, StreamSchema, Value,
    arrow::{array::RecordBatch, compute::concat_batches, datatypes::SchemaRef},
    json,
    testing::TestContext,
};
use tokio::runtime::Runtime;

/// Where the tests' server is: a role that may create databases, roles and tables.
pub struct Server {
    pub config: Config,
    pub password: Option<String>,
    pub driver: tokio_postgres::Config,
}

impl Server {
    pub fn get() -> Self {
        let Ok(url) = std::env::var("HUB_TEST_POSTGRES_URL") else { panic!("run `cargo xtask test`") };
        let driver: tokio_postgres::Config = url.parse().expect("`HUB_TEST_POSTGRES_URL` is an address");
        let host = match &driver.get_hosts()[0] {
            tokio_postgres::config::Host::Tcp(host) => host.clone(),
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        };
        let password = driver.get_password().map(|password| String::from_utf8(password.to_vec()).unwrap());
        let config = Config::new()
            .with("host", host)
            .with("port", driver.get_ports().first().copied().unwrap_or(5432))
            .with("username", driver.get_user().unwrap_or("postgres"))
            .with("database", driver.get_dbname().unwrap_or("postgres"));
        Self { config, password, driver }
    }

    /// Runs statements, in a session of the tests' own.
    pub async fn run(&self, statements: &str) {
        let (client, connection) = self.driver.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(statements).await.unwrap();
    }

    /// One text.
    pub async fn text(&self, query: &str) -> Option<String> {
        let (client, connection) = self.driver.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.query_one(query, &[]).await.unwrap().get(0)
    }

    pub fn context(&self) -> Context {
        context(self.password.clone())
    }

    pub async fn connection(&self) -> Box<dyn Connection> {
        Postgres.connect(&self.config, &self.context()).await.unwrap()
    }

    /// A connection whose user lets queries change data.
    pub async fn writing_connection(&self) -> Box<dyn Connection> {
        let host = host(self.password.clone()).granting_writes();
        Postgres.connect(&self.config, &Arc::new(host).context()).await.unwrap()
    }
}

/// Runs a test on a runtime as the glue has one.
pub fn run<F: Future>(test: F) -> F::Output {
    let runtime = Runtime::new().unwrap();
    let done = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await });
    done.expect("the test ends within a minute")
}

pub fn context(password: Option<String>) -> Context {
    Arc::new(host(password)).context()
}

fn host(password: Option<String>) -> TestContext {
    password.into_iter().fold(TestContext::new(), |host, secret| host.with_secret("password", secret))
}

/// A request to plan a query.
pub fn plan_request(options: Value) -> PlanRequest {
    let Value::Object(options) = options else { panic!("options are an object") };
    PlanRequest {
        pipeline: "test".into(),
        generation: 1,
        run: 1,
        strategy: "query".into(),
        options: Config::from(options),
        parallel: 1,
        start_at: None,
        carry: None,
        interrupted: None,
        peek: false,
    }
}

pub fn open_request(split: &Split, position: Option<Position>) -> OpenRequest {
    OpenRequest { split: split.clone(), position, budgets: Budgets::default(), peek: false }
}

/// Everything that a reader hands over.
#[derive(Debug)]
pub struct Read {
    pub schema: StreamSchema,
    pub batches: Vec<RecordBatch>,
    pub boundaries: Vec<Boundary>,
}

impl Read {
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    pub fn one(&self) -> RecordBatch {
        concat_batches(&self.schema.arrow, &self.batches).unwrap()
    }

    pub fn arrow(&self) -> SchemaRef {
        Arc::clone(&self.schema.arrow)
    }
}

/// Reads to the end, and checks the order of events on the way.
pub async fn drain(reader: &mut dyn Reader) -> Result<Read> {
    let (mut schema, mut batches, mut boundaries) = (None, Vec::new(), Vec::<Boundary>::new());
    let mut last_was_boundary = false;
    loop {
        match reader.next(Duration::from_secs(1)).await? {
            Event::Schema(first) => assert!(schema.replace(first).is_none()),
            Event::Rows(rows) => {
                assert!(schema.is_some() && rows.batch.num_rows() > 0);
                batches.push(rows.batch);
                last_was_boundary = false;
            }
            Event::Boundary(boundary) => {
                assert!(boundaries.last().is_none_or(|last| last.number < boundary.number));
                boundaries.push(boundary);
                last_was_boundary = true;
            }
            Event::Idle => {}
            Event::End => {
                assert!(last_was_boundary);
                return Ok(Read { schema: schema.unwrap(), batches, boundaries });
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Plans and reads all splits of a query.
pub async fn read(connection: &dyn Connection, options: Value) -> Result<Vec<Read>> {
    let plan = connection.plan(&plan_request(options)).await?;
    let mut reads = Vec::new();
    for split in plan.description().splits {
        reads.push(drain(&mut *plan.open(&open_request(&split, None)).await?).await?);
    }
    Ok(reads)
}

/// The only split of a statement.
pub async fn read_statement(connection: &dyn Connection, statement: &str) -> Result<Read> {
    Ok(read(connection, json!({ "statement": statement })).await?.remove(0))
}

/// A schema of a test's own.
pub struct Schema {
    pub server: Server,
    pub name: String,
}

impl Schema {
    pub async fn new(purpose: &str) -> Self {
        let (server, name) = (Server::get(), format!("read_{purpose}_{}", std::process::id()));
        server.run(&format!("drop schema if exists {name} cascade; create schema {name}")).await;
        Self { server, name }
    }

    /// Runs statements with the schema in the search path.
    pub async fn run(&self, statements: &str) {
        self.server.run(&format!("set search_path to {}; {statements}", self.name)).await;
    }
}

/// Plans, reads every split, and hands back what the next run continues from.
pub async fn read_run(
    connection: &dyn Connection,
    request: &PlanRequest,
) -> Result<(Vec<Read>, Option<Value>)> {
    let plan = connection.plan(request).await?;
    let (description, mut reads) = (plan.description(), Vec::new());
    for split in &description.splits {
        reads.push(drain(&mut *plan.open(&open_request(split, None)).await?).await?);
    }
    Ok((reads, description.carry))
}

/// A column of whole numbers over reads.
pub fn numbers(reads: &[Read], column: &str) -> Vec<i64> {
    use hub_plugin_api::arrow::{
        array::AsArray,
        compute::cast,
        datatypes::{DataType, Int64Type},
    };
    let batches = reads.iter().flat_map(|read| &read.batches);
    batches
        .flat_map(|batch| {
            let array = cast(batch.column_by_name(column).unwrap(), &DataType::Int64).unwrap();
            array.as_primitive::<Int64Type>().values().to_vec()
        })
        .collect()
}
