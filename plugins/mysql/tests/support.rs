//! The servers of the tests, and what stands in for the host.

use std::{sync::Arc, time::Duration};

use connector_mysql::{MariaDb, MySql};
use hub_plugin_api::{
    Boundary, Budgets, Config, Connection, Connector, Context, Event, OpenRequest, PlanRequest, Position,
    Reader, Result, Split, StreamSchema, Value,
    arrow::{array::RecordBatch, compute::concat_batches, datatypes::SchemaRef},
    json,
    testing::TestContext,
};
use mysql_async::prelude::Queryable;
use tokio::runtime::Runtime;

/// Which of the tests' servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    MySql,
    /// The long-term version.
    MariaDb,
    /// One with vectors.
    NewMariaDb,
}

pub const ALL: [Which; 3] = [Which::MySql, Which::MariaDb, Which::NewMariaDb];

impl Which {
    fn variable(self) -> &'static str {
        match self {
            Self::MySql => "HUB_TEST_MYSQL",
            Self::MariaDb => "HUB_TEST_MARIADB",
            Self::NewMariaDb => "HUB_TEST_MARIADB_NEW",
        }
    }

    pub fn connector(self) -> Arc<dyn Connector> {
        if self == Self::MySql { Arc::new(MySql) } else { Arc::new(MariaDb) }
    }
}

/// Where a server is: an account that may do everything, and a database of the test's own.
pub struct Server {
    pub which: Which,
    pub config: Config,
    pub password: String,
    pub database: String,
    opts: mysql_async::Opts,
}

impl Server {
    /// With an empty database for this purpose.
    pub async fn new(which: Which, purpose: &str) -> Self {
        let database = format!("hub_{purpose}_{}", std::process::id());
        let server = Self::at(which, &database);
        server
            .run(&[&format!("DROP DATABASE IF EXISTS {database}"), &format!("CREATE DATABASE {database}")])
            .await;
        server
    }

    /// With a database as it is.
    pub fn at(which: Which, database: &str) -> Self {
        let variable = format!("{}_URL", which.variable());
        let Ok(url) = std::env::var(&variable) else {
            panic!("`{variable}` is not set: run `cargo xtask test`")
        };
        let opts = mysql_async::Opts::from_url(&url).expect("the variable holds an address");
        let database = database.to_owned();
        let config = Config::new()
            .with("host", opts.ip_or_hostname())
            .with("port", opts.tcp_port())
            .with("username", opts.user().unwrap_or("root"))
            .with("database", database.clone());
        let password = opts.pass().unwrap_or_default().to_owned();
        Self { which, config, password, database, opts }
    }

    /// The authority behind the server's certificate.
    pub fn authority(&self) -> String {
        std::env::var(format!("{}_CA", self.which.variable())).expect("the launcher names the authority")
    }

    /// A session of the test's own, in the test's database where it is there.
    pub async fn session(&self) -> mysql_async::Conn {
        let mut conn = mysql_async::Conn::new(self.opts.clone()).await.unwrap();
        drop(conn.query_drop(format!("USE {}", self.database)).await);
        conn.query_drop("SET sql_mode = '', time_zone = '+00:00', NAMES utf8mb4").await.ok();
        conn.query_drop("SET NAMES utf8mb4").await.unwrap();
        conn.query_drop("SET sql_mode = '', time_zone = '+00:00'").await.unwrap();
        conn
    }

    /// Runs statements in one session that stores whatever it is told.
    pub async fn run(&self, statements: &[&str]) {
        let mut conn = self.session().await;
        for statement in statements {
            if let Err(error) = conn.query_drop(*statement).await {
                panic!("{error}: {statement}");
            }
        }
        conn.disconnect().await.unwrap();
    }

    /// All rows of a query, every value as text.
    pub async fn rows(&self, query: &str) -> Vec<Vec<String>> {
        let mut conn = self.session().await;
        let rows: Vec<mysql_async::Row> = conn.query(query).await.unwrap();
        conn.disconnect().await.unwrap();
        let text = |value| match value {
            mysql_async::Value::NULL => "NULL".to_owned(),
            mysql_async::Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => other.as_sql(true),
        };
        rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect()
    }

    pub fn context(&self) -> Context {
        context(&self.password)
    }

    pub async fn connection(&self) -> Box<dyn Connection> {
        self.which.connector().connect(&self.config, &self.context()).await.unwrap()
    }
}

/// Runs a test on a runtime as the glue has one.
pub fn run<F: Future>(test: F) -> F::Output {
    let runtime = Runtime::new().unwrap();
    let done = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), test).await });
    done.expect("the test ends within two minutes")
}

pub fn context(password: &str) -> Context {
    Arc::new(TestContext::new().with_secret("password", password)).context()
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

/// The only split of a statement.
pub async fn read_statement(connection: &dyn Connection, statement: &str) -> Result<Read> {
    let (mut reads, _) = read_run(connection, &plan_request(json!({ "statement": statement }))).await?;
    Ok(reads.remove(0))
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

/// As [`context`], with the grant.
pub fn writing_context(password: &str) -> Context {
    Arc::new(TestContext::new().with_secret("password", password).granting_writes()).context()
}
