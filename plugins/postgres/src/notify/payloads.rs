//! Notifications themselves as rows.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hub_plugin_api::{
    Boundary, Budgets, Event, Rejected, Result, Rows, StreamId, StreamSchema,
    arrow::{
        array::{ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray},
        datatypes::SchemaRef,
    },
    types::{Column, LogicalType, Unit, schema_of},
};
use tokio::time;
use tokio_postgres::Notification;

use super::{
    link::{Link, Listener},
    options::Payload,
    reader::Events,
};
use crate::{error, sql::notify as sql, types::ENGINE};

/// How full the server's queue may be before it is worth a warning.
const QUEUE_WARNING: f64 = 0.5;
/// How often it is asked for.
const QUEUE_INTERVAL: Duration = Duration::from_secs(60);

/// The columns of notifications.
fn schema(payload: Payload) -> SchemaRef {
    let logical = match payload {
        Payload::Text => LogicalType::Text,
        Payload::Json => LogicalType::Json,
    };
    let declared = if payload == Payload::Json { "json" } else { "text" };
    schema_of(&[
        Column::new("channel", LogicalType::Text).not_null().declared(ENGINE, "text"),
        Column::new("payload", logical).not_null().declared(ENGINE, declared),
        Column::new("process_id", LogicalType::Int32).not_null().declared(ENGINE, "integer"),
        Column::new("received_at", LogicalType::Timestamp { unit: Unit::Microsecond, utc: true })
            .not_null()
            .declared(ENGINE, "timestamp with time zone"),
    ])
}

/// Notifications that wait to be a batch.
#[derive(Default)]
struct Batch {
    channels: Vec<String>,
    payloads: Vec<String>,
    processes: Vec<i32>,
    times: Vec<i64>,
    bytes: u64,
    rejected: Vec<Rejected>,
}

impl Batch {
    fn take(&mut self, notification: &Notification, payload: Payload, stream: &StreamId) {
        self.bytes += notification.payload().len() as u64 + notification.channel().len() as u64 + 16;
        if payload == Payload::Json {
            let json: Result<&serde_json::value::RawValue, _> = serde_json::from_str(notification.payload());
            if let Err(error) = json {
                let reason = format!("Channel `{}` sent what is no JSON: {error}", notification.channel());
                let payload = notification.payload().to_owned();
                self.rejected.push(Rejected { stream: stream.clone(), payload, reason });
                return;
            }
        }
        self.channels.push(notification.channel().to_owned());
        self.payloads.push(notification.payload().to_owned());
        self.processes.push(notification.process_id());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.times.push(i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
    }

    fn len(&self) -> u64 {
        (self.channels.len() + self.rejected.len()) as u64
    }

    fn rows(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        if self.channels.is_empty() {
            return Ok(None);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(std::mem::take(&mut self.channels))),
            Arc::new(StringArray::from(std::mem::take(&mut self.payloads))),
            Arc::new(Int32Array::from(std::mem::take(&mut self.processes))),
            Arc::new(TimestampMicrosecondArray::from(std::mem::take(&mut self.times)).with_timezone("UTC")),
        ];
        Ok(Some(RecordBatch::try_new(Arc::clone(schema), columns)?))
    }
}

/// Hands over every notification that comes while the session listens.
///
/// # Errors
/// When the session is lost and cannot be opened again.
pub async fn read(link: Link, mut listener: Listener, budgets: Budgets, events: Events) -> Result<()> {
    let (stream, payload) = (link.options.stream(), link.options.payload);
    let schema = schema(payload);
    events.send(Event::Schema(StreamSchema::new(stream.clone(), 0, Arc::clone(&schema)))).await;
    let mut number = 0;
    let mut asked = Instant::now();
    loop {
        let mut batch = Batch::default();
        let lost = fill(&mut batch, &mut listener, &link, &budgets, &stream).await.err();
        if batch.len() > 0 {
            if let Some(rows) = batch.rows(&schema)? {
                let rows = Rows { stream: stream.clone(), schema_id: 0, batch: rows };
                events.send(Event::Rows(rows)).await;
            }
            for rejected in batch.rejected {
                events.send(Event::Rejected(rejected)).await;
            }
            number += 1;
            events.send(Event::Boundary(Boundary::without_position(number))).await;
        }
        if let Some(lost) = lost {
            let mut retry = link.retry(&lost);
            listener = loop {
                retry.pause().await;
                match link.listen().await {
                    Ok(listener) => break listener,
                    Err(error) => retry.failed(error)?,
                }
            };
            let milliseconds = retry.elapsed().as_millis();
            link.warn(format!(
                "Nobody listened for {milliseconds} ms: what was notified in that time is not known, and an `outbox` would \
                 have kept it"
            ));
            link.context.metric("unheard_ms", milliseconds as f64);
        }
        if asked.elapsed() > QUEUE_INTERVAL {
            asked = Instant::now();
            report_queue(&link, &listener).await;
        }
    }
}

/// Collects notifications until the batch is full, or the first one has waited long enough.
async fn fill(
    batch: &mut Batch,
    listener: &mut Listener,
    link: &Link,
    budgets: &Budgets,
    stream: &StreamId,
) -> Result<()> {
    let Ok(first) = time::timeout(QUEUE_INTERVAL, listener.next()).await else { return Ok(()) };
    batch.take(&first?, link.options.payload, stream);
    let patience = Instant::now() + Duration::from_millis(budgets.max_delay_ms);
    while batch.len() < budgets.max_batch_rows && batch.bytes < budgets.max_batch_bytes {
        match time::timeout_at(patience.into(), listener.next()).await {
            Ok(notification) => batch.take(&notification?, link.options.payload, stream),
            Err(_) => break,
        }
    }
    Ok(())
}

/// A full queue makes every NOTIFY on the server fail, whoever does not listen fast enough.
async fn report_queue(link: &Link, listener: &Listener) {
    let session = listener.session();
    let asked = session.work(session.client().query_one(sql::QUEUE_USAGE, &[])).await;
    // A session that is lost is noticed by whoever reads it next.
    let usage = asked.and_then(|row| row.try_get::<_, f64>(0));
    let usage = usage.map_err(|error| error::from_driver("Could not ask how full the queue is", &error));
    if let Ok(usage) = usage {
        link.context.metric("notification_queue_usage", usage);
        if usage > QUEUE_WARNING {
            link.warn(format!(
                "The server's queue of notifications is {:.0} % full: some session listens too slowly, or in an open \
                 transaction",
                usage * 100.0
            ));
        }
    }
}
