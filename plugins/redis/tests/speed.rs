//! A rough look at speed against `redis-benchmark`, so that a disaster is noticed; the benchmarks say it exactly.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use hub_plugin_api::{
    StreamId, StreamSchema,
    arrow::array::{RecordBatch, StringArray},
    json,
    types::{Column, LogicalType, schema_of},
};

use crate::support::{Server, is_full, read_all, run, write};

/// A hundred commands at a time, from one of its clients after another.
fn benchmark(server: &Server, keys: u64, command: &[&str]) -> Option<Duration> {
    let folder = PathBuf::from(std::env::var_os("HUB_TEST_REDIS_BIN")?);
    let mut program = Command::new(folder.join("redis-benchmark"));
    if let Ok(libraries) = std::env::var("HUB_TEST_REDIS_LIBRARIES") {
        program.env("LD_LIBRARY_PATH", libraries);
    }
    let (keys, port) = (keys.to_string(), server.config.integer("port")?.to_string());
    program.args(["-p", &port, "--user", "hub", "-a", &server.password, "-n", &keys, "-r", &keys]);
    program.args(["-P", "100", "-d", "100", "-q", "--dbnum", "15"]).args(command);
    let start = Instant::now();
    let status = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success());
    Some(start.elapsed())
}

#[test]
fn reading_and_writing_strings_is_not_far_behind_the_servers_own_benchmark() {
    let keys: u64 = if is_full() { 500_000 } else { 100_000 };
    run(async {
        let server = Server::get().database(15);
        let mut client = server.client().await;
        redis::cmd("FLUSHDB").exec_async(&mut client).await.unwrap();
        let connection = server.connection().await;
        let columns = [
            Column::new("key", LogicalType::Text).not_null().key(0),
            Column::new("value", LogicalType::Text),
        ];
        let schema = schema_of(&columns);
        let value = "x".repeat(100);
        let batches: Vec<RecordBatch> = (0..keys / 10_000)
            .map(|part| {
                let range = part * 10_000..(part + 1) * 10_000;
                let names =
                    StringArray::from_iter_values(range.clone().map(|number| format!("key:{number:012}")));
                let values = StringArray::from_iter_values(range.map(|_| &value));
                RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(names), Arc::new(values)]).unwrap()
            })
            .collect();
        let shape = StreamSchema::new(StreamId::named("speed"), 0, schema);
        let start = Instant::now();
        let options = json!({ "type": "string", "key": "{{key}}" });
        write(&*connection, "speed", options, &shape, &batches).await.unwrap();
        let written = start.elapsed();
        let start = Instant::now();
        let options = json!({ "patterns": ["key:*"], "type": "string" });
        let read = read_all(&*connection, options).await.unwrap();
        let taken = start.elapsed();
        assert_eq!(read.rows() as u64, keys);
        let Some(get) = benchmark(&server, keys, &["GET", "key:__rand_int__"]) else { return };
        let Some(set) = benchmark(&server, keys, &["-t", "set"]) else { return };
        let ratio = |reference: Duration, ours: Duration| reference.as_secs_f64() / ours.as_secs_f64();
        let (reading, writing) = (ratio(get, taken), ratio(set, written));
        println!(
            "{keys} strings: read {taken:?} (ratio to GET {reading:.2}), written {written:?} (ratio to SET {writing:.2})"
        );
        assert!(reading > 0.1 && writing > 0.15, "{reading:.2} {writing:.2}");
        redis::cmd("FLUSHDB").exec_async(&mut client).await.unwrap();
    });
}
