//! Reads and writes through a loaded plugin, as the runner does: blocking calls on threads of the supervisor's.

use std::{sync::Arc, time::Duration};

use connector_hub::{
    api::{
        Canceller, CommitToken, Config, Connection, Event, OpenRequest, PlanRequest, Reader, Result, Rows,
        StreamId, StreamSchema, WriterRequest,
        arrow::{
            array::{Int64Array, RecordBatch},
            datatypes::{DataType, Field, Schema},
        },
        testing::TestContext,
    },
    plugins::LoadedConnector,
};

/// Runs a future of a loaded plugin's, which blocks and is done at its first poll.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// How long a call may take in these tests.
const TIMEOUT: Option<Duration> = Some(Duration::from_secs(20));

/// Connects with a behaviour of the fixture's.
pub fn connect(connector: &LoadedConnector, behaviour: &str) -> Result<Box<dyn Connection>> {
    connector.supervisor.admit()?;
    let config = connector.spec.validate(&Config::new().with("behaviour", behaviour), None)?;
    let inner = Arc::clone(&connector.connector);
    connector.supervisor.call("connect", Canceller::none(), TIMEOUT, move || {
        block_on(inner.connect(&config, &Arc::new(TestContext::new()).context()))
    })
}

/// A reader of `rows` rows in batches of 100.
pub fn open(connector: &LoadedConnector, behaviour: &str, rows: i64) -> Result<Box<dyn Reader>> {
    let connection = connect(connector, behaviour)?;
    connector.supervisor.call("open a reader", connection.canceller(), TIMEOUT, move || {
        block_on(async {
            let request = PlanRequest {
                pipeline: "matrix".into(),
                generation: 1,
                run: 1,
                strategy: "query".into(),
                options: Config::new().with("rows", rows).with("batch", 100),
                parallel: 1,
                start_at: None,
                carry: None,
                interrupted: None,
                peek: false,
            };
            let plan = connection.plan(&request).await?;
            let split = plan.description().splits.remove(0);
            plan.open(&OpenRequest { split, position: None, budgets: Default::default(), peek: false }).await
        })
    })
}

/// How many rows a reader still has, which must be 0, 1, 2 … from `first` on.
pub fn count(reader: &mut dyn Reader, first: i64) -> Result<i64> {
    let mut next = first;
    loop {
        match block_on(reader.next(Duration::from_millis(100)))? {
            Event::Rows(rows) => {
                let ids = rows.batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
                for id in ids.values() {
                    assert_eq!(*id, next, "rows come in order, each once");
                    next += 1;
                }
            }
            Event::End => return Ok(next - first),
            _ => {}
        }
    }
}

/// Reads `rows` rows of the fixture's and counts them.
pub fn read(connector: &LoadedConnector, behaviour: &str, rows: i64) -> Result<i64> {
    let mut reader = open(connector, behaviour, rows)?;
    let canceller = reader.canceller();
    connector.supervisor.call("read", canceller, TIMEOUT, move || {
        let count = count(&mut *reader, 0)?;
        drop(reader);
        Ok(count)
    })
}

/// Writes three rows and commits them.
pub fn write(connector: &LoadedConnector, behaviour: &str) -> Result<()> {
    let connection = connect(connector, behaviour)?;
    let pipeline = format!("matrix of {behaviour}");
    connector.supervisor.call("write", connection.canceller(), TIMEOUT, move || {
        block_on(async {
            let request = WriterRequest {
                pipeline: pipeline.clone(),
                lane: 0,
                generation: 1,
                run: 1,
                strategy: "write".into(),
                options: Config::new(),
            };
            let mut writer = connection.writer(&request).await?;
            let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
            let stream = StreamId::named("numbers");
            writer.schema(&StreamSchema::new(stream.clone(), 0, schema.clone())).await?;
            let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1, 2, 3]))])?;
            writer.write(Rows { stream, schema_id: 0, batch }).await?;
            let n = CommitToken::next_n(writer.start().last.as_ref(), 1);
            let token = CommitToken {
                pipeline,
                lane: 0,
                generation: 1,
                run: 1,
                n,
                splits: Default::default(),
                applied_seq: None,
            };
            writer.commit(&token).await
        })
    })
}
