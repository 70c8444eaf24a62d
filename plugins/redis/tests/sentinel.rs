//! A failover by a Sentinel while a stream is read and rows are written.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hub_plugin_api::{
    CommitToken, Config, Connection, Connector, Rows, StreamId, StreamSchema, WriterRequest,
    arrow::array::{Int64Array, RecordBatch},
    json,
    types::{Column, LogicalType, schema_of},
};
use redis::aio::MultiplexedConnection;

use crate::support::{Server, follow, open, plan_request, run, skip, token};

const PATIENCE: Duration = Duration::from_millis(700);
const STREAM: &str = "orders";

async fn add(client: &mut MultiplexedConnection, numbers: std::ops::RangeInclusive<u64>) {
    let mut pipeline = redis::pipe();
    for number in numbers {
        pipeline.cmd("XADD").arg(STREAM).arg(format!("{number}-0")).arg("n").arg(number).ignore();
    }
    // Until the replica has them: what it has not is lost with the master, whoever reads.
    pipeline.cmd("WAIT").arg(1).arg(20_000).ignore();
    pipeline.exec_async(client).await.unwrap();
}

/// Asks the Sentinel until it answers as wanted.
async fn wait_for(sentinel: &mut MultiplexedConnection, command: &[&str], is_so: impl Fn(&str) -> bool) {
    let started = Instant::now();
    loop {
        let answer: redis::Value = redis::cmd("SENTINEL").arg(command).query_async(sentinel).await.unwrap();
        let answer = format!("{answer:?}");
        if is_so(&answer) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{command:?}: {answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn writer_request() -> WriterRequest {
    WriterRequest {
        pipeline: "failover".into(),
        lane: 0,
        generation: 1,
        run: 1,
        strategy: "write".into(),
        options: Config::new().with("type", "list").with("key", "numbers"),
    }
}

/// Adds one number to a list and commits it; which commit it is.
async fn append(connection: &dyn Connection, number: i64) -> hub_plugin_api::Result<u64> {
    let mut writer = connection.writer(&writer_request()).await?;
    let n = CommitToken::next_n(writer.start().last.as_ref(), 1);
    let schema = schema_of(&[Column::new("n", LogicalType::Int64).not_null()]);
    let stream = StreamId::named("numbers");
    writer.schema(&StreamSchema::new(stream.clone(), 0, Arc::clone(&schema))).await?;
    let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![number]))]).unwrap();
    writer.write(Rows { stream, schema_id: 0, batch }).await?;
    assert!(writer.flush().await?.rejected.is_empty());
    writer.commit(&token("failover", n)).await?;
    Ok(n)
}

#[test]
fn after_a_failover_reading_and_writing_go_on_at_the_new_master() {
    run(async {
        let ports = std::env::var("HUB_TEST_REDIS_PAIR_PORTS").unwrap_or_default();
        let ports: Vec<u16> = ports.split(',').filter_map(|port| port.parse().ok()).collect();
        let (Ok(port), [first, second]) = (std::env::var("HUB_TEST_REDIS_SENTINEL_PORT"), ports.as_slice())
        else {
            return skip("no Sentinel with a master and a replica");
        };
        let server = Server::get();
        let sentinel = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        let mut sentinel = sentinel.get_multiplexed_async_connection().await.unwrap();
        wait_for(&mut sentinel, &["REPLICAS", "pair"], |replicas| {
            replicas.contains(&second.to_string()) && !replicas.contains("disconnected")
        })
        .await;
        let mut old_master = server.node(*first).await;
        add(&mut old_master, 1..=500).await;

        let mut config = server.config.clone();
        config.set("port", port.parse::<u16>().unwrap());
        config.set("deployment", "sentinel");
        config.set("sentinel_master", "pair");
        let connection = connector_redis::Redis.connect(&config, &server.context()).await.unwrap();
        let options = json!({ "streams": [STREAM], "group": "g" });
        let plan = connection.plan(&plan_request("streams", "failover", options)).await.unwrap();
        let mut reader = open(&*plan, None).await.unwrap();
        let mut read = follow(&mut *reader, PATIENCE).await.unwrap();
        assert_eq!(read.rows(), 500);
        assert_eq!(append(&*connection, 1).await.unwrap(), 1);
        redis::cmd("WAIT").arg(1).arg(20_000).exec_async(&mut old_master).await.unwrap();

        // The master dies as in a crash, before anything is acknowledged.
        let position = read.boundaries.last().unwrap().position.clone();
        let _: Result<(), _> =
            redis::cmd("SHUTDOWN").arg(&["NOSAVE", "NOW", "FORCE"]).exec_async(&mut old_master).await;
        let error = follow(&mut *reader, Duration::from_secs(30)).await.unwrap_err();
        assert!(error.kind.is_retryable(), "{error}");
        let error = append(&*connection, 2).await.unwrap_err();
        assert!(error.kind.is_retryable(), "{error}");
        wait_for(&mut sentinel, &["GET-MASTER-ADDR-BY-NAME", "pair"], |master| {
            master.contains(&second.to_string())
        })
        .await;

        // The host tries again with the same connection.
        let started = Instant::now();
        let mut reader = loop {
            match open(&*plan, position.clone()).await {
                Ok(reader) => break reader,
                Err(error) => {
                    assert!(error.kind.is_retryable(), "{error}");
                    assert!(started.elapsed() < Duration::from_secs(60), "{error}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        };
        let mut new_master = server.node(*second).await;
        let mut pipeline = redis::pipe();
        for number in 501..=700 {
            pipeline.cmd("XADD").arg(STREAM).arg(format!("{number}-0")).arg("n").arg(number).ignore();
        }
        pipeline.exec_async(&mut new_master).await.unwrap();
        let after = follow(&mut *reader, PATIENCE).await.unwrap();
        reader.acknowledge(after.boundaries.last().unwrap().number).await.unwrap();
        read.batches.extend(after.batches);
        let wanted: Vec<String> = (1..=700).map(|number| format!("{number}-0")).collect();
        assert_eq!(read.texts("entry_id"), wanted, "each entry once, and in order");
        let pending: redis::Value =
            redis::cmd("XPENDING").arg(STREAM).arg("g").query_async(&mut new_master).await.unwrap();
        assert_eq!(pending.as_sequence().unwrap()[0], redis::Value::Int(0), "none is left pending");
        // The token went over with the rows.
        assert_eq!(append(&*connection, 2).await.unwrap(), 2);
        let numbers: Vec<i64> =
            redis::cmd("LRANGE").arg("numbers").arg(0).arg(-1).query_async(&mut new_master).await.unwrap();
        assert_eq!(numbers, [1, 2]);
    });
}
