//! Following the logs of real servers.

mod again;
mod charsets;
mod checking;
mod declarations;
mod faults;
mod images;
mod resuming;
mod same_values;
mod xa;

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use hub_plugin_api::{
    Config, Event, PlanRequest, Position, Reader, Result, StartAt, StreamId, Value,
    arrow::{
        array::{Array, AsArray, RecordBatch},
        datatypes::{SchemaRef, UInt64Type},
        util::display::{ArrayFormatter, FormatOptions},
    },
    changes::{self, Changes},
    json,
};

use crate::support::{Server, open_request};

/// How long changes may take to arrive.
const LIMIT: Duration = Duration::from_secs(40);

/// Each test follows under a number of its own: servers end the stream of an earlier one that has the same.
static SERVER_ID: AtomicU32 = AtomicU32::new(5000);

/// Held by whoever changes what a server logs of all tables: tests share the servers.
static METADATA: Mutex<()> = Mutex::new(());

pub fn alone() -> MutexGuard<'static, ()> {
    METADATA.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn own_server_id(server: &mut Server) {
    let id = SERVER_ID.fetch_add(1, Ordering::Relaxed) + std::process::id() % 1000 * 100;
    server.config.set("server_id", id);
}

pub fn log_request(server: &Server, options: Value, start_at: Option<StartAt>) -> PlanRequest {
    let Value::Object(options) = options else { panic!("options are an object") };
    PlanRequest {
        pipeline: format!("test_{}", server.database),
        generation: 1,
        run: 1,
        strategy: "binlog".into(),
        options: Config::from(options),
        parallel: 1,
        start_at,
        carry: None,
        interrupted: None,
        peek: false,
    }
}

/// What a reader handed over.
#[derive(Default)]
pub struct Followed {
    pub schemas: HashMap<(StreamId, u32), SchemaRef>,
    pub batches: Vec<(StreamId, RecordBatch)>,
    pub truncated: Vec<StreamId>,
    pub position: Option<Position>,
    pub number: u64,
}

impl Followed {
    /// Reads until a boundary behind `rows` rows.
    pub async fn more(&mut self, reader: &mut dyn Reader, rows: usize) -> Result<()> {
        let since = Instant::now();
        loop {
            match reader.next(Duration::from_millis(200)).await? {
                Event::Schema(schema) => {
                    self.schemas.insert((schema.stream.clone(), schema.id), schema.arrow);
                }
                Event::Rows(rows) => {
                    let schema = &self.schemas[&(rows.stream.clone(), rows.schema_id)];
                    assert_eq!(rows.batch.schema_ref(), schema);
                    self.batches.push((rows.stream, rows.batch));
                }
                Event::Truncate(streams) => self.truncated.extend(streams),
                Event::Boundary(boundary) => {
                    assert!(boundary.number > self.number);
                    self.number = boundary.number;
                    self.position = boundary.position;
                    if self.rows() >= rows {
                        return Ok(());
                    }
                }
                Event::Idle => {}
                other => panic!("{other:?}"),
            }
            assert!(since.elapsed() < LIMIT, "{} of {rows} changes came", self.rows());
        }
    }

    pub fn rows(&self) -> usize {
        self.batches.iter().map(|(_, batch)| batch.num_rows()).sum()
    }

    /// `__seq` of every change, in the order in which they came.
    pub fn numbers(&self) -> Vec<u64> {
        let of = |batch: &RecordBatch| {
            let column = batch.column_by_name(changes::SEQ).unwrap();
            column.as_primitive::<UInt64Type>().values().to_vec()
        };
        self.batches.iter().flat_map(|(_, batch)| of(batch)).collect()
    }

    /// Every change as a line: operation, table, values, and what it keeps or had before.
    pub fn lines(&self) -> Vec<String> {
        self.batches.iter().flat_map(|(stream, batch)| lines(stream, batch)).collect()
    }
}

fn lines(stream: &StreamId, batch: &RecordBatch) -> Vec<String> {
    let view = Changes::of(batch).unwrap();
    let options = FormatOptions::new().with_null("null");
    let text = |array: &dyn Array, row| match array.is_null(row) {
        // Also of a column whose zone the formatter knows by its offset only.
        true => "null".to_owned(),
        false => ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string(),
    };
    let line = |row| {
        let values = view.rows().columns().iter().enumerate().map(|(column, array)| {
            match view.is_unchanged(row, column) {
                true => "kept".to_owned(),
                false => text(array, row),
            }
        });
        let values: Vec<_> = values.collect();
        let mut line = format!("{} {} {}", view.op(row).unwrap(), stream.name, values.join(" | "));
        if let Some(before) = view.before().filter(|before| before.is_valid(row)) {
            let before: Vec<_> = before.columns().iter().map(|array| text(array, row)).collect();
            line.push_str(&format!(" <- {}", before.join(" | ")));
        }
        line
    };
    (0..batch.num_rows()).map(line).collect()
}

/// Starts following what happens from now on.
pub async fn follow(server: &Server, options: Value) -> Box<dyn Reader> {
    follow_from(server, options, None).await
}

/// Starts following, or goes on from a position.
pub async fn follow_from(server: &Server, options: Value, position: Option<Position>) -> Box<dyn Reader> {
    let mut options = options;
    options["snapshot"] = json!("never");
    let connection = server.connection().await;
    let plan = connection.plan(&log_request(server, options, None)).await.unwrap();
    let split = plan.description().splits.pop().unwrap();
    plan.open(&open_request(&split, position)).await.unwrap()
}
