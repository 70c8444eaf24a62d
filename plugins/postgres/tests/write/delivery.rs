//! Rows and token become durable together, or not at all.

use std::sync::Arc;

use hub_plugin_api::{
    Config, ErrorKind, Guarantee, Rows,
    arrow::array::{ArrayRef, Int64Array, StringArray},
    types::{Column, LogicalType},
};

use super::server::{Server, Stream, token};

fn people() -> Stream {
    Stream::new(
        "people",
        &[Column::new("id", LogicalType::Int64).not_null().key(0), Column::new("name", LogicalType::Text)],
    )
}

fn some(stream: &Stream, ids: std::ops::Range<i64>) -> Rows {
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(ids.clone().map(|id| format!("name {id}"))));
    stream.rows(vec![Arc::new(Int64Array::from_iter_values(ids)), names])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rows_and_token_are_durable_together() {
    let server = Server::new().await;
    let stream = people();
    let mut writer = server.writer(Config::new()).await;
    assert_eq!(writer.start().last, None);
    assert_eq!(writer.start().guarantee, Guarantee::EffectivelyOnce);
    writer.schema(&stream.announce()).await.unwrap();
    for start in 0..10 {
        writer.write(some(&stream, start * 1000..start * 1000 + 1000)).await.unwrap();
    }
    assert_eq!(writer.flush().await.unwrap().rejected, []);
    assert_eq!(
        server.rows("select count(*) from people").await,
        ["0"],
        "nothing is visible before the commit"
    );
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(
        server.rows("select count(*), count(distinct id), min(id), max(name) from people").await,
        ["10000|10000|0|name 9999"]
    );
    assert_eq!(
        server.rows("select pipeline, lane, fence, generation, n, token->>'n' from __hub_commits").await,
        ["p|0|1|1|1|1"]
    );
    writer.write(some(&stream, 10_000..10_001)).await.unwrap();
    writer.commit(&token(2)).await.unwrap();
    drop(writer);
    let writer = server.writer(Config::new()).await;
    assert_eq!(writer.start().last, Some(token(2)));
    assert_eq!(server.rows("select count(*) from people").await, ["10001"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn dropped_between_write_and_commit_leaves_nothing() {
    let server = Server::new().await;
    let stream = people();
    let mut writer = server.writer(Config::new()).await;
    writer.schema(&stream.announce()).await.unwrap();
    writer.write(some(&stream, 0..100_000)).await.unwrap();
    writer.flush().await.unwrap();
    writer.write(some(&stream, 100_000..100_010)).await.unwrap();
    drop(writer);
    let writer = server.writer(Config::new()).await;
    assert_eq!(writer.start().last, None);
    assert_eq!(server.rows("select count(*) from people").await, ["0"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_second_writer_fences_the_first() {
    let server = Server::new().await;
    let stream = people();
    let mut first = server.writer(Config::new()).await;
    first.schema(&stream.announce()).await.unwrap();
    first.write(some(&stream, 0..10)).await.unwrap();
    let mut second = server.writer(Config::new()).await;
    let error = first.commit(&token(1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Fenced, "{error}");
    assert_eq!(first.write(some(&stream, 0..10)).await.unwrap_err().kind, ErrorKind::Poisoned);
    drop(first);
    second.schema(&stream.announce()).await.unwrap();
    second.write(some(&stream, 0..10)).await.unwrap();
    second.commit(&token(1)).await.unwrap();
    assert_eq!(server.rows("select count(*) from people").await, ["10"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_token_that_is_not_next_is_refused_and_nothing_is_stored() {
    let server = Server::new().await;
    let stream = people();
    for (n, generation) in [(2, 1), (0, 1), (2, 2)] {
        let mut writer = server.writer(Config::new()).await;
        writer.schema(&stream.announce()).await.unwrap();
        writer.write(some(&stream, 0..10)).await.unwrap();
        let mut wrong = token(n);
        wrong.generation = generation;
        assert_eq!(writer.commit(&wrong).await.unwrap_err().kind, ErrorKind::TokenConflict);
    }
    assert_eq!(server.rows("select count(*) from people").await, ["0"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn lanes_and_pipelines_do_not_fence_each_other() {
    let server = Server::new().await;
    let stream = people();
    let mut writers = Vec::new();
    for lane in 0..3 {
        let mut request = server.request(Config::new());
        request.lane = lane;
        let mut writer = server.connection.writer(&request).await.unwrap();
        writer.schema(&stream.announce()).await.unwrap();
        let first = i64::from(lane) * 100;
        writer.write(some(&stream, first..first + 100)).await.unwrap();
        writers.push(writer);
    }
    for (lane, writer) in writers.iter_mut().enumerate() {
        let mut token = token(1);
        token.lane = lane as u32;
        writer.commit(&token).await.unwrap();
    }
    assert_eq!(server.rows("select count(*) from people").await, ["300"]);
    assert_eq!(server.rows("select lane, n from __hub_commits order by lane").await, ["0|1", "1|1", "2|1"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rows_that_the_server_refuses_are_found_and_the_others_stay() {
    let server = Server::new().await;
    server
        .run("create table people (id bigint primary key, name varchar(8) check (name <> 'name 77'))")
        .await;
    let stream = people();
    let mut writer = server.writer(Config::new()).await;
    writer.schema(&stream.announce()).await.unwrap();
    writer.write(some(&stream, 0..60)).await.unwrap();
    // Row 77 breaks the check; 5 and 6 are there already; names from 1000 on are too long.
    writer.write(some(&stream, 60..998)).await.unwrap();
    writer.write(some(&stream, 5..7)).await.unwrap();
    writer.write(some(&stream, 998..1002)).await.unwrap();
    let report = writer.flush().await.unwrap();
    let found: Vec<_> = report.rejected.iter().map(|one| (one.row, one.kind)).collect();
    use ErrorKind::{ConstraintViolated as Constraint, InvalidData as Data};
    assert_eq!(found, [(77, Constraint), (998, Constraint), (999, Constraint), (1002, Data), (1003, Data)]);
    assert!(report.rejected[0].reason.contains("people_name_check"), "{}", report.rejected[0].reason);
    // Rows are counted from 0 again behind a flush.
    writer.write(some(&stream, 2000..2001)).await.unwrap();
    let report = writer.flush().await.unwrap();
    assert_eq!(report.rejected.iter().map(|one| one.row).collect::<Vec<_>>(), [0]);
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(server.rows("select count(*), max(id) from people").await, ["999|999"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_child_before_its_parent_finds_its_place() {
    let server = Server::new().await;
    server
        .run(
            "create table people (id bigint primary key, name text);
             create table pets (id bigint primary key references people, name text)",
        )
        .await;
    for mode in ["append", "upsert"] {
        let (people, mut pets) = (people(), people());
        pets.id.name = "pets".into();
        let mut writer = server.writer(Config::new().with("mode", mode)).await;
        let n = writer.start().last.map_or(0, |token| token.n);
        let first = n as i64 * 100;
        writer.schema(&pets.announce()).await.unwrap();
        writer.schema(&people.announce()).await.unwrap();
        writer.write(some(&pets, first..first + 12)).await.unwrap();
        writer.write(some(&people, first..first + 10)).await.unwrap();
        let report = writer.flush().await.unwrap();
        let found: Vec<_> = report.rejected.iter().map(|one| (one.stream.name.as_str(), one.row)).collect();
        assert_eq!(found, [("pets", 10), ("pets", 11)], "{mode}");
        writer.commit(&token(n + 1)).await.unwrap();
    }
    assert_eq!(server.rows("select count(*) from pets").await, ["20"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn streams_that_take_turns_keep_all_their_rows() {
    let server = Server::new().await;
    let streams: Vec<Stream> = (0..5)
        .map(|index| {
            let mut stream = people();
            stream.id.name = format!("t{index}");
            stream
        })
        .collect();
    let mut writer = server.writer(Config::new()).await;
    for stream in &streams {
        writer.schema(&stream.announce()).await.unwrap();
    }
    for round in 0..40 {
        for stream in &streams {
            writer.write(some(stream, round * 500..round * 500 + 500)).await.unwrap();
        }
    }
    writer.commit(&token(1)).await.unwrap();
    for stream in &streams {
        let count = format!("select count(*), count(distinct id) from {}", stream.id.name);
        assert_eq!(server.rows(&count).await, ["20000|20000"]);
    }
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_writer_that_waits_for_a_lock_can_be_cancelled() {
    let server = Server::new().await;
    server.run("create table people (id bigint primary key, name text)").await;
    server.run("begin; lock table people").await;
    let stream = people();
    let mut writer = server.writer(Config::new()).await;
    writer.schema(&stream.announce()).await.unwrap();
    let canceller = writer.canceller();
    let waiting = tokio::spawn(async move { writer.write(some(&people(), 0..10)).await });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    canceller.cancel();
    let error =
        tokio::time::timeout(std::time::Duration::from_secs(1), waiting).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::TimedOut | ErrorKind::Cancelled), "{error}");
    server.run("commit").await;
    assert_eq!(server.rows("select count(*) from people").await, ["0"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_refused_value_is_told_with_its_column() {
    let server = Server::new().await;
    server.run("create table people (id bigint primary key, name json)").await;
    let stream = people();
    let mut writer = server.writer(Config::new()).await;
    writer.schema(&stream.announce()).await.unwrap();
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let names: ArrayRef = Arc::new(StringArray::from(vec!["{}", "no document", "a\0b"]));
    writer.write(stream.rows(vec![ids, names])).await.unwrap();
    let reasons: Vec<_> = writer.flush().await.unwrap().rejected.into_iter().map(|one| one.reason).collect();
    assert!(reasons[0].contains("column `name`") && reasons[1].contains("column `name`"), "{reasons:?}");
    assert_eq!(reasons.len(), 2);
    drop(writer);
    server.done().await;
}
