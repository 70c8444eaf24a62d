//! Every call through the whole glue, without a library between.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arrow::array::{Int64Array, RecordBatch};

use super::loopback;
use crate::{
    prelude::*,
    types::schema_of,
    {HostContext, Level, LogRecord, Metric, Signal, Spill},
};

#[derive(Default)]
struct Host {
    lines: Mutex<Vec<String>>,
}

impl HostContext for Host {
    fn log(&self, record: LogRecord) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(record.message);
    }
    fn log_level(&self) -> Level {
        Level::Info
    }
    fn metric(&self, _metric: Metric) {}
    fn secret(&self, id: &str) -> Result<Option<Secret>> {
        Ok((id == "password").then(|| Secret::new("hunter2")))
    }
    fn state_get(&self, name: &str) -> Result<Option<String>> {
        Ok(Some(format!("blob of {name}")))
    }
    fn state_put(&self, _name: &str, _blob: Option<&str>) -> Result<()> {
        Err(Error::new(ErrorKind::ResourceExhausted, "The store is full"))
    }
    fn state_list(&self) -> Result<Vec<String>> {
        Ok(vec!["a".into(), "b".into()])
    }
    fn spill(&self) -> Result<Spill> {
        Ok(Spill { directory: "spill".into(), quota_bytes: 7 })
    }
    fn reserved_files(&self) -> Vec<std::path::PathBuf> {
        vec!["hub.db".into()]
    }
}

struct Demo;

#[async_trait]
impl Connector for Demo {
    fn spec(&self) -> ConnectorSpec {
        ConnectorSpec::new("demo", "Demo").strategy(Strategy::source("query", "By Query"))
    }

    async fn connect(&self, config: &Config, context: &Context) -> Result<Box<dyn Connection>> {
        assert_eq!(context.secret("password")?, Some(Secret::new("hunter2")));
        assert_eq!(context.secret("other")?, None);
        let host = context.host();
        assert_eq!(host.state_get("x")?.as_deref(), Some("blob of x"));
        assert_eq!(host.state_put("x", None).unwrap_err().kind, ErrorKind::ResourceExhausted);
        assert_eq!((host.state_list()?.len(), host.spill()?.quota_bytes), (2, 7));
        assert_eq!(host.reserved_files(), [std::path::PathBuf::from("hub.db")]);
        context.log(Level::Info, "demo", "Connected");
        context.log(Level::Debug, "demo", "Not kept");
        assert!(config.text("panic").is_none(), "asked to panic");
        Ok(Box::new(DemoConnection(config.text("reader").unwrap_or("good").to_owned())))
    }
}

struct DemoConnection(String);

#[async_trait]
impl Connection for DemoConnection {
    async fn identity(&self) -> Result<String> {
        Ok("demo-1".into())
    }

    async fn check(&self, request: &CheckRequest, reporter: &CheckReporter) -> Result<()> {
        reporter.report(CheckStep::passed("network", &request.strategy));
        reporter.report(CheckStep::warning("headroom", "Little").with_fix("ALTER"));
        Ok(())
    }

    async fn query(&self, statement: &Statement, parameters: Option<RecordBatch>) -> Result<Box<dyn Reader>> {
        assert_eq!(*statement, Statement::Text("select 1".into()));
        assert_eq!(parameters.map(|batch| batch.num_rows()), Some(1));
        Ok(Box::new(DemoReader { behaviour: self.0.clone(), step: 0 }))
    }
}

struct DemoReader {
    behaviour: String,
    step: u32,
}

impl Drop for DemoReader {
    fn drop(&mut self) {
        assert_ne!(self.behaviour, "panic-in-drop", "asked to panic");
    }
}

fn numbers(values: Vec<i64>) -> RecordBatch {
    let schema = schema_of(&[Column::new("n", LogicalType::Int64).not_null().key(0)]);
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(values))]).unwrap()
}

#[async_trait]
impl Reader for DemoReader {
    async fn next(&mut self, _max_wait: Duration) -> Result<Event> {
        self.step += 1;
        match self.behaviour.as_str() {
            "panic" => panic!("the reader is broken"),
            "hang" => std::future::pending().await,
            _ => {}
        }
        let stream = StreamId::new(["public"], "numbers");
        let batch = numbers(vec![1, 2, 3]);
        Ok(match self.step {
            1 => Event::Schema(StreamSchema::new(stream, 4, batch.schema())),
            2 => Event::Rows(Rows { stream, schema_id: 4, batch }),
            3 => Event::Boundary(crate::Boundary::at(1, Position::new(1, &json!({"after": 3}))?)),
            _ => Event::End,
        })
    }

    async fn signal(&mut self, signal: &Signal) -> Result<()> {
        match signal.kind.as_str() {
            Signal::SNAPSHOT => Err(Error::new(ErrorKind::NotFound, "There is no such table")),
            _ => Err(Error::new(ErrorKind::Network, "The server is gone")),
        }
    }
}

async fn connect(config: Config) -> (Result<Box<dyn Connection>>, Arc<Host>) {
    let host = Arc::new(Host::default());
    let connector = loopback(Arc::new(Demo)).unwrap();
    (connector.connect(&config, &Context::new(host.clone())).await, host)
}

/// The imported side never waits, so one poll is enough.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("an imported call must be done at its first poll"),
    }
}

fn reader(behaviour: &str) -> Box<dyn Reader> {
    block_on(async {
        let connection = connect(Config::new().with("reader", behaviour)).await.0.unwrap();
        connection.query(&Statement::Text("select 1".into()), Some(numbers(vec![1]))).await.unwrap()
    })
}

const WAIT: Duration = Duration::from_millis(10);

#[test]
fn reader_goes_on_after_a_wish_that_it_refuses_and_ends_after_one_that_fails() {
    let mut reader = reader("good");
    let refused = block_on(reader.signal(&Signal::snapshot(&["t".into()]))).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::NotFound);
    assert!(matches!(block_on(reader.next(WAIT)), Ok(Event::Schema(_))));
    let broken = Signal { kind: "other".into(), arguments: serde_json::Value::Null };
    assert_eq!(block_on(reader.signal(&broken)).unwrap_err().kind, ErrorKind::Network);
    assert_eq!(block_on(reader.next(WAIT)).unwrap_err().kind, ErrorKind::Poisoned);
}

#[test]
fn events_come_through_as_they_are() {
    let mut reader = reader("good");
    let mut events = Vec::new();
    while events.last() != Some(&Event::End) {
        events.push(block_on(reader.next(WAIT)).unwrap());
    }
    let Event::Schema(schema) = &events[0] else { panic!("{events:?}") };
    assert_eq!(
        (schema.keys(), schema.id, schema.stream.to_string().as_str()),
        (vec!["n"], 4, "public.numbers")
    );
    let Event::Rows(rows) = &events[1] else { panic!("{events:?}") };
    assert_eq!(rows.batch, numbers(vec![1, 2, 3]));
    let Event::Boundary(boundary) = &events[2] else { panic!("{events:?}") };
    assert_eq!(boundary.position.as_ref().and_then(Position::version), Some(1));
}

#[test]
fn context_and_reporter_come_through() {
    let (connection, host) = block_on(connect(Config::new()));
    let connection = connection.unwrap();
    assert_eq!(*host.lines.lock().unwrap(), ["Connected"]);
    assert_eq!(block_on(connection.identity()).unwrap(), "demo-1");
    let (reporter, steps) = CheckReporter::collecting();
    let request = CheckRequest { strategy: "query".into(), options: Config::new() };
    block_on(connection.check(&request, &reporter)).unwrap();
    let steps = steps.lock().unwrap();
    assert_eq!((steps[0].message.as_str(), steps[1].fix.as_deref()), ("query", Some("ALTER")));
}

#[test]
fn call_that_the_author_left_out_is_unsupported() {
    let connection = block_on(connect(Config::new())).0.unwrap();
    let error = block_on(connection.discover(&DiscoverRequest::default())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
}

#[test]
fn panic_is_an_error_and_poisons_that_object_only() {
    let error = block_on(connect(Config::new().with("panic", "yes"))).0.err().unwrap();
    assert_eq!(error.kind, ErrorKind::PluginPanicked);
    assert!(error.message.contains("asked to panic"), "{error}");
    let mut broken = reader("panic");
    assert_eq!(block_on(broken.next(WAIT)).unwrap_err().kind, ErrorKind::PluginPanicked);
    assert_eq!(block_on(broken.next(WAIT)).unwrap_err().kind, ErrorKind::Poisoned);
    drop(reader("panic-in-drop"));
    assert!(matches!(block_on(reader("good").next(WAIT)).unwrap(), Event::Schema(_)));
}

#[test]
fn cancelled_call_returns_within_a_second() {
    let mut reader = reader("hang");
    let canceller = reader.canceller();
    let started = Instant::now();
    let thread = std::thread::spawn(move || block_on(reader.next(WAIT)));
    std::thread::sleep(Duration::from_millis(100));
    canceller.cancel();
    assert_eq!(thread.join().unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    assert!(started.elapsed() < Duration::from_secs(1));
}
