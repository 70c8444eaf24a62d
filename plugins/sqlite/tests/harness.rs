//! What the tests share: a file, a connection to it, and short ways to read and write.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use connector_sqlite::Sqlite;
use hub_plugin_api::{
    Budgets, CommitToken, Config, Connection, Connector, Event, OpenRequest, Plan, PlanRequest, Position,
    Reader, Result, Rows, Split, StreamId, StreamSchema, Value, Writer, WriterRequest,
    arrow::array::RecordBatch, testing::TestContext,
};

/// A directory with a database file in it.
pub struct File {
    _directory: tempfile::TempDir,
    pub path: PathBuf,
}

impl File {
    pub fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        if !script.is_empty() {
            rusqlite::Connection::open(&path).unwrap().execute_batch(script).unwrap();
        }
        Self { _directory: directory, path }
    }

    /// A connection of the tests' own, beside the connector's.
    pub fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(&self.path).unwrap()
    }

    /// One value of one row.
    pub fn value<T: rusqlite::types::FromSql>(&self, statement: &str) -> T {
        self.sql().query_row(statement, [], |row| row.get(0)).unwrap()
    }

    pub async fn connect(&self) -> Box<dyn Connection> {
        connect(&self.path, Vec::new()).await.unwrap()
    }

    pub async fn plan(&self, options: Config) -> Box<dyn Plan> {
        self.connect().await.plan(&plan_request(options)).await.unwrap()
    }

    pub async fn writer(&self, options: Config) -> Box<dyn Writer> {
        self.connect().await.writer(&writer_request(options)).await.unwrap()
    }
}

pub async fn connect(path: &Path, reserved: Vec<PathBuf>) -> Result<Box<dyn Connection>> {
    let config = Config::new().with("file", path.to_str().unwrap()).with("busy_timeout_ms", 300);
    let config = Sqlite.spec().validate(&config, None)?;
    let host = reserved.into_iter().fold(TestContext::new(), TestContext::with_reserved_file);
    Sqlite.connect(&config, &Arc::new(host).context()).await
}

pub fn plan_request(options: Config) -> PlanRequest {
    PlanRequest {
        pipeline: "p".into(),
        generation: 1,
        run: 1,
        strategy: "query".into(),
        options: Sqlite.spec().find_strategy("query").unwrap().validate(&options).unwrap(),
        parallel: 1,
        start_at: None,
        carry: None,
        interrupted: None,
        peek: false,
    }
}

pub fn writer_request(options: Config) -> WriterRequest {
    WriterRequest {
        pipeline: "p".into(),
        lane: 0,
        generation: 1,
        run: 1,
        strategy: "write".into(),
        options: Sqlite.spec().find_strategy("write").unwrap().validate(&options).unwrap(),
    }
}

pub fn token(n: u64) -> CommitToken {
    CommitToken {
        pipeline: "p".into(),
        lane: 0,
        generation: 1,
        run: 1,
        n,
        splits: [(String::from("s"), Default::default())].into(),
        applied_seq: None,
    }
}

pub fn budgets(rows: u64) -> Budgets {
    Budgets { max_batch_rows: rows, max_delay_ms: 60_000, ..Budgets::default() }
}

pub async fn open(plan: &dyn Plan, split: &Split, position: Option<Position>, rows: u64) -> Box<dyn Reader> {
    let request = OpenRequest { split: split.clone(), position, budgets: budgets(rows), peek: false };
    plan.open(&request).await.unwrap()
}

/// Everything up to the end, idles left out.
pub async fn drain(reader: &mut dyn Reader) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    loop {
        match reader.next(Duration::from_secs(1)).await? {
            Event::Idle => {}
            Event::End => return Ok(events),
            event => events.push(event),
        }
    }
}

/// The rows among events, and the positions behind them.
pub fn batches(events: &[Event]) -> (Vec<RecordBatch>, Vec<Position>) {
    let mut found = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Rows(rows) => found.0.push(rows.batch.clone()),
            Event::Boundary(boundary) => found.1.extend(boundary.position.clone()),
            _ => {}
        }
    }
    found
}

/// All rows of all splits of a plan.
pub async fn read_all(plan: &dyn Plan) -> Result<Vec<RecordBatch>> {
    let mut all = Vec::new();
    for split in &plan.description().splits {
        let mut reader = open(plan, split, None, 1000).await;
        all.extend(batches(&drain(&mut *reader).await?).0);
    }
    Ok(all)
}

/// Hands a batch over as stream `t`.
pub async fn write(writer: &mut dyn Writer, batch: &RecordBatch) -> Result<()> {
    let stream = StreamId::named("t");
    writer.schema(&StreamSchema::new(stream.clone(), 0, batch.schema())).await?;
    writer.write(Rows { stream, schema_id: 0, batch: batch.clone() }).await
}

pub fn options(pairs: &[(&str, Value)]) -> Config {
    pairs.iter().map(|(id, value)| (String::from(*id), value.clone())).collect()
}
