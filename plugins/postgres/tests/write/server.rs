//! A schema of its own on the server, and a writer into it.

use std::{
    collections::BTreeMap,
    str::FromStr as _,
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering},
};

use connector_postgres::Postgres;
use hub_plugin_api::{
    CommitToken, Config, Connection, Connector as _, Error, Result, Rows, StreamId, StreamSchema, Writer,
    WriterRequest,
    arrow::{
        array::{ArrayRef, RecordBatch},
        datatypes::SchemaRef,
    },
    testing::TestContext,
    types::{Column, schema_of},
};
use tokio_postgres::{Client, NoTls, config::Host};

/// The server that the tests were given.
fn url() -> String {
    std::env::var("HUB_TEST_POSTGRES_URL")
        .unwrap_or_else(|_| panic!("`HUB_TEST_POSTGRES_URL` is not set: run `cargo xtask test`"))
}

/// A schema of its own, and sessions to look at it.
pub struct Server {
    pub client: Client,
    pub schema: String,
    pub connection: Box<dyn Connection>,
    pub context: Arc<TestContext>,
}

impl Server {
    /// Makes the schema.
    pub async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let driver = tokio_postgres::Config::from_str(&url()).unwrap();
        let (client, session) = driver.connect(NoTls).await.unwrap();
        tokio::spawn(session);
        let schema = format!("write_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        client.batch_execute(&format!("create schema {schema}; set search_path to {schema}")).await.unwrap();
        let host = match &driver.get_hosts()[0] {
            Host::Tcp(host) => host.clone(),
            Host::Unix(path) => path.display().to_string(),
        };
        let config = Config::new()
            .with("host", host)
            .with("port", driver.get_ports()[0])
            .with("username", driver.get_user().unwrap())
            .with("database", driver.get_dbname().unwrap());
        let password = String::from_utf8(driver.get_password().unwrap_or_default().to_vec()).unwrap();
        let context = Arc::new(TestContext::new().with_secret("password", password));
        let connection = Postgres.connect(&config, &context.context()).await.unwrap();
        Self { client, schema, connection, context }
    }

    /// A request for the only lane of pipeline `p`.
    pub fn request(&self, options: Config) -> WriterRequest {
        WriterRequest {
            pipeline: "p".into(),
            lane: 0,
            generation: 1,
            run: 1,
            strategy: "write".into(),
            options: options.with("schema", self.schema.as_str()),
        }
    }

    pub async fn writer(&self, options: Config) -> Box<dyn Writer> {
        self.try_writer(options).await.unwrap()
    }

    pub async fn try_writer(&self, options: Config) -> Result<Box<dyn Writer>> {
        self.connection.writer(&self.request(options)).await
    }

    pub async fn run(&self, statements: &str) {
        self.client.batch_execute(statements).await.unwrap();
    }

    /// The rows of a query as text, one a line, columns joined by `|`.
    pub async fn rows(&self, query: &str) -> Vec<String> {
        let mut rows = Vec::new();
        for message in self.client.simple_query(query).await.unwrap() {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                let cells: Vec<_> =
                    (0..row.len()).map(|index| row.get(index).unwrap_or("NULL").to_owned()).collect();
                rows.push(cells.join("|"));
            }
        }
        rows
    }

    /// Drops the schema. A test that fails leaves it to look at.
    pub async fn done(self) {
        self.run(&format!("drop schema {} cascade", self.schema)).await;
    }
}

/// Token `n` of generation 1.
pub fn token(n: u64) -> CommitToken {
    CommitToken {
        pipeline: "p".into(),
        lane: 0,
        generation: 1,
        run: 1,
        n,
        splits: BTreeMap::new(),
        applied_seq: None,
    }
}

/// A stream and its columns.
pub struct Stream {
    pub id: StreamId,
    pub schema: SchemaRef,
    pub shape: u32,
}

impl Stream {
    pub fn new(name: &str, columns: &[Column]) -> Self {
        Self { id: StreamId::new(["source"], name), schema: schema_of(columns), shape: 0 }
    }

    pub fn announce(&self) -> StreamSchema {
        StreamSchema::new(self.id.clone(), self.shape, self.schema.clone())
    }

    pub fn rows(&self, columns: Vec<ArrayRef>) -> Rows {
        let batch = RecordBatch::try_new(self.schema.clone(), columns).unwrap();
        Rows { stream: self.id.clone(), schema_id: self.shape, batch }
    }
}

/// An error as one line, with field and hint.
pub fn line(error: &Error) -> String {
    let field = error.field.as_deref().map(|field| format!(" <{field}>")).unwrap_or_default();
    let hint = error.hint.as_deref().map(|hint| format!(" [hint: {hint}]")).unwrap_or_default();
    format!("{}: {error}{field}{hint}", error.kind)
}
