//! The server of the tests, and what stands in for the host.

use std::{sync::Arc, time::Duration};

use connector_redis::Redis;
use hub_plugin_api::{
    Boundary, Budgets, CommitToken, Config, Connection, Connector, Context, Event, OpenRequest, Plan,
    PlanRequest, Position, Reader, Rejected, Result, Rows, StreamSchema, Value, WriterRequest,
    arrow::{
        array::RecordBatch,
        util::display::{ArrayFormatter, FormatOptions},
    },
    testing::TestContext,
};
use redis::{Client, aio::MultiplexedConnection};
use tokio::runtime::Runtime;

/// A server that the launcher started.
pub struct Server {
    pub config: Config,
    pub password: String,
    pub url: String,
}

impl Server {
    pub fn get() -> Self {
        let Ok(url) = std::env::var("HUB_TEST_REDIS_URL") else { panic!("run `cargo xtask test`") };
        let rest = url.strip_prefix("redis://").expect("`HUB_TEST_REDIS_URL` is an address");
        let (login, place) = rest.split_once('@').expect("it names a user");
        let (user, password) = login.split_once(':').expect("it has a password");
        let (host, port) = place.split_once(':').expect("it has a port");
        let config = Config::new()
            .with("host", host)
            .with("port", port.parse::<u16>().unwrap())
            .with("username", user);
        Self { config, password: password.to_owned(), url: url.clone() }
    }

    /// The same server, another database of it.
    pub fn database(mut self, index: u8) -> Self {
        self.config.set("database_index", index);
        self.url = format!("{}/{index}", self.url);
        self
    }

    /// A session of the tests' own.
    pub async fn client(&self) -> MultiplexedConnection {
        let client = Client::open(self.url.as_str()).unwrap();
        client.get_multiplexed_async_connection_with_config(&patient()).await.unwrap()
    }

    pub fn context(&self) -> Context {
        context(&self.password)
    }

    pub async fn connection(&self) -> Box<dyn Connection> {
        Redis.connect(&self.config, &self.context()).await.unwrap()
    }
}

/// Waits for answers as long as a busy machine needs.
pub fn patient() -> redis::AsyncConnectionConfig {
    let limit = Some(Duration::from_secs(60));
    redis::AsyncConnectionConfig::new().set_response_timeout(limit).set_connection_timeout(limit)
}

pub fn context(password: &str) -> Context {
    Arc::new(TestContext::new().with_secret("password", password)).context()
}

/// Runs a test on a runtime as the glue has one.
pub fn run<F: Future>(test: F) -> F::Output {
    let runtime = Runtime::new().unwrap();
    let limit = Duration::from_secs(if is_full() { 900 } else { 120 });
    let done = runtime.block_on(async { tokio::time::timeout(limit, test).await });
    done.expect("the test ends in time")
}

/// The cluster that the launcher started: its nodes' ports.
pub fn cluster_ports() -> Vec<u16> {
    let ports = std::env::var("HUB_TEST_REDIS_CLUSTER_PORTS").unwrap_or_default();
    ports.split(',').filter_map(|port| port.parse().ok()).collect()
}

impl Server {
    /// The cluster, if there is one.
    pub fn cluster() -> Option<Self> {
        let mut server = Self::get();
        let port = *cluster_ports().first()?;
        server.config.set("port", port);
        server.config.set("deployment", "cluster");
        server.url = server.node_url(port);
        Some(server)
    }

    /// Another server with the same login.
    pub fn node_url(&self, port: u16) -> String {
        format!("redis://hub:{}@127.0.0.1:{port}", self.password)
    }

    /// A session on one node.
    pub async fn node(&self, port: u16) -> MultiplexedConnection {
        let client = Client::open(self.node_url(port)).unwrap();
        client.get_multiplexed_async_connection_with_config(&patient()).await.unwrap()
    }

    /// A session on all of the cluster.
    pub async fn cluster_client(&self) -> redis::cluster_async::ClusterConnection {
        let nodes: Vec<String> = cluster_ports().into_iter().map(|port| self.node_url(port)).collect();
        let builder =
            redis::cluster::ClusterClientBuilder::new(nodes).response_timeout(Duration::from_secs(60));
        builder.build().unwrap().get_async_connection().await.unwrap()
    }
}

/// Full amounts of data.
pub fn is_full() -> bool {
    std::env::var_os("HUB_TEST_FULL").is_some()
}

/// A request to plan.
pub fn plan_request(strategy: &str, pipeline: &str, options: Value) -> PlanRequest {
    let Value::Object(options) = options else { panic!("options are an object") };
    PlanRequest {
        pipeline: pipeline.into(),
        generation: 1,
        run: 1,
        strategy: strategy.into(),
        options: Config::from(options),
        parallel: 1,
        start_at: None,
        carry: None,
        interrupted: None,
        peek: false,
    }
}

/// Opens the first split of a plan.
pub async fn open(plan: &dyn Plan, position: Option<Position>) -> Result<Box<dyn Reader>> {
    let split = plan.description().splits.remove(0);
    plan.open(&OpenRequest { split, position, budgets: Budgets::default(), peek: false }).await
}

/// What a reader handed over.
#[derive(Debug, Default)]
pub struct Read {
    pub batches: Vec<RecordBatch>,
    pub schemas: Vec<StreamSchema>,
    pub rejected: Vec<Rejected>,
    pub boundaries: Vec<Boundary>,
}

impl Read {
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// A column as texts, null as `-`.
    pub fn texts(&self, column: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for batch in &self.batches {
            let Some(array) = batch.column_by_name(column) else {
                texts.extend((0..batch.num_rows()).map(|_| "-".to_owned()));
                continue;
            };
            let options = FormatOptions::default().with_null("-");
            let shown = ArrayFormatter::try_new(array.as_ref(), &options).unwrap();
            texts.extend((0..array.len()).map(|row| shown.value(row).to_string()));
        }
        texts
    }

    /// Takes one event.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Schema(schema) => self.schemas.push(schema),
            Event::Rows(rows) => self.batches.push(rows.batch),
            Event::Rejected(rejected) => self.rejected.push(rejected),
            Event::Boundary(boundary) => self.boundaries.push(boundary),
            _ => {}
        }
    }
}

/// Reads to the end.
pub async fn drain(reader: &mut dyn Reader) -> Result<Read> {
    let mut read = Read::default();
    loop {
        match reader.next(Duration::from_secs(1)).await? {
            Event::End => return Ok(read),
            event => read.take(event),
        }
    }
}

/// Plans a bounded read, and reads every split.
pub async fn read_all(connection: &dyn Connection, options: Value) -> Result<Read> {
    let plan = connection.plan(&plan_request("keys", "test", options)).await?;
    let mut all = Read::default();
    for split in plan.description().splits {
        let request = OpenRequest { split, position: None, budgets: Budgets::default(), peek: false };
        let mut read = drain(&mut *plan.open(&request).await?).await?;
        all.batches.append(&mut read.batches);
        all.schemas.append(&mut read.schemas);
        all.rejected.append(&mut read.rejected);
        all.boundaries.append(&mut read.boundaries);
    }
    Ok(all)
}

/// Follows a stream until there is nothing for a while, and says which boundary was the last.
pub async fn follow(reader: &mut dyn Reader, patience: Duration) -> Result<Read> {
    let mut read = Read::default();
    let mut since = std::time::Instant::now();
    while since.elapsed() < patience {
        match reader.next(Duration::from_millis(100)).await? {
            Event::Idle => {}
            event => {
                since = std::time::Instant::now();
                read.take(event);
            }
        }
    }
    Ok(read)
}

/// Writes batches of one stream and commits them.
pub async fn write(
    connection: &dyn Connection,
    pipeline: &str,
    options: Value,
    schema: &StreamSchema,
    batches: &[RecordBatch],
) -> Result<()> {
    let Value::Object(options) = options else { panic!("options are an object") };
    let request = WriterRequest {
        pipeline: pipeline.into(),
        lane: 0,
        generation: 1,
        run: 1,
        strategy: "write".into(),
        options: Config::from(options),
    };
    let mut writer = connection.writer(&request).await?;
    let last = writer.start().last;
    writer.schema(schema).await?;
    for batch in batches {
        let rows = Rows { stream: schema.stream.clone(), schema_id: schema.id, batch: batch.clone() };
        writer.write(rows).await?;
    }
    let refused = writer.flush().await?.rejected;
    assert!(refused.is_empty(), "{refused:?}");
    writer.commit(&token(pipeline, CommitToken::next_n(last.as_ref(), 1))).await
}

pub fn token(pipeline: &str, n: u64) -> CommitToken {
    CommitToken {
        pipeline: pipeline.into(),
        lane: 0,
        generation: 1,
        run: 1,
        n,
        splits: Default::default(),
        applied_seq: None,
    }
}

/// Says that the running test has nothing to run against.
pub fn skip(reason: &str) {
    assert!(
        std::env::var("CI").map_or(true, |ci| ci != "true"),
        "Nothing may be skipped under CI=true: {reason}"
    );
    eprintln!("skipped: {reason}");
}

/// Held by tests that need the single server to send events of keys, or change whether it does.
pub static NOTIFICATIONS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
