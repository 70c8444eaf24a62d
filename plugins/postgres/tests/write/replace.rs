//! Mode replace: the table changes in one step.

use std::sync::Arc;

use hub_plugin_api::{
    Config, Rows,
    arrow::array::{Int32Array, StringArray},
    types::{Column, LogicalType},
};

use super::server::{Server, Stream, token};

fn stream() -> Stream {
    Stream::new(
        "t",
        &[Column::new("id", LogicalType::Int32).not_null().key(0), Column::new("v", LogicalType::Text)],
    )
}

fn rows(stream: &Stream, ids: std::ops::Range<i32>) -> Rows {
    stream.rows(vec![
        Arc::new(Int32Array::from_iter_values(ids.clone())),
        Arc::new(StringArray::from_iter_values(ids.map(|id| format!("v{id}")))),
    ])
}

const LEFT: &str = "select count(*) from pg_class where relkind = 'r' and relname like '\\_\\_hub\\_replace%' \
                    and relnamespace = current_schema::regnamespace";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_existing_table_is_filled_anew_and_keeps_what_belongs_to_it() {
    let server = Server::new().await;
    server
        .run(
            "create table t (id int primary key, v text, at timestamptz default '2020-01-01 00:00Z');
             create index t_v on t (v); insert into t select i, 'old' from generate_series(1, 50) i;
             create view seen as select * from t",
        )
        .await;
    let stream = stream();
    let mut writer = server.writer(Config::new().with("mode", "replace")).await;
    writer.schema(&stream.announce()).await.unwrap();
    writer.write(rows(&stream, 100..200)).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
    writer.write(rows(&stream, 200..300)).await.unwrap();
    writer.commit(&token(2)).await.unwrap();
    assert_eq!(
        server.rows("select count(*), max(v) from seen").await,
        ["50|old"],
        "nothing changes before the end"
    );
    writer.finish(&token(3)).await.unwrap();
    assert_eq!(server.rows("select count(*), min(v), count(at) from seen").await, ["200|v100|200"]);
    assert_eq!(server.rows("select indexname from pg_indexes where schemaname = current_schema and tablename = 't' order by 1").await, ["t_pkey", "t_v"]);
    assert_eq!(server.rows(LEFT).await, ["0"]);
    assert_eq!(server.rows("select n from __hub_commits").await, ["3"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_table_that_is_referenced_is_replaced_when_its_keys_stay() {
    let server = Server::new().await;
    server
        .run(
            "create table t (id int primary key, v text); insert into t values (1, 'old'), (2, 'old');
             create table child (id int references t deferrable initially deferred); insert into child values (1)",
        )
        .await;
    let stream = stream();
    let mut writer = server.writer(Config::new().with("mode", "replace")).await;
    writer.schema(&stream.announce()).await.unwrap();
    writer.write(rows(&stream, 1..5)).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
    writer.finish(&token(2)).await.unwrap();
    assert_eq!(server.rows("select count(*), min(v) from t").await, ["4|v1"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_missing_table_gets_its_name_at_the_end() {
    let server = Server::new().await;
    let stream = stream();
    let mut writer = server.writer(Config::new().with("mode", "replace")).await;
    writer.schema(&stream.announce()).await.unwrap();
    writer.write(rows(&stream, 0..10)).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(server.rows("select to_regclass('t')").await, ["NULL"]);
    writer.finish(&token(2)).await.unwrap();
    assert_eq!(server.rows("select count(*) from t").await, ["10"]);
    assert_eq!(
        server.rows("select conname from pg_constraint where conrelid = 't'::regclass").await,
        ["t_pkey"]
    );
    assert_eq!(server.rows(LEFT).await, ["0"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_same_run_goes_on_and_another_begins_anew() {
    let server = Server::new().await;
    let stream = stream();
    let options = || Config::new().with("mode", "replace");
    let mut writer = server.writer(options()).await;
    writer.schema(&stream.announce()).await.unwrap();
    writer.write(rows(&stream, 0..10)).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
    drop(writer);
    // After a crash the same run goes on behind its last token.
    let mut writer = server.writer(options()).await;
    writer.schema(&stream.announce()).await.unwrap();
    writer.write(rows(&stream, 10..20)).await.unwrap();
    writer.commit(&token(2)).await.unwrap();
    drop(writer);
    assert_eq!(server.rows(LEFT).await, ["1"]);
    let mut request = server.request(options());
    request.run = 2;
    let mut writer = server.connection.writer(&request).await.unwrap();
    writer.schema(&stream.announce()).await.unwrap();
    writer.write(rows(&stream, 50..53)).await.unwrap();
    writer.commit(&token(3)).await.unwrap();
    assert_eq!(server.rows(LEFT).await, ["1"], "the older run's table is gone");
    writer.finish(&token(4)).await.unwrap();
    assert_eq!(server.rows("select id from t order by id").await, ["50", "51", "52"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rows_that_the_table_would_refuse_are_found_before_the_end() {
    let server = Server::new().await;
    server
        .run(
            "create table t (n int generated always as identity, id int primary key, v text check (v <> 'v3'), \
                             twice int generated always as (id * 2) stored);
             insert into t (id, v) values (1, 'old'), (2, 'old')",
        )
        .await;
    let stream = stream();
    let mut writer = server.writer(Config::new().with("mode", "replace")).await;
    writer.schema(&stream.announce()).await.unwrap();
    writer.write(rows(&stream, 1..6)).await.unwrap();
    writer.write(rows(&stream, 5..7)).await.unwrap();
    let report = writer.flush().await.unwrap();
    assert_eq!(report.rejected.iter().map(|one| one.row).collect::<Vec<_>>(), [2, 5]);
    writer.commit(&token(1)).await.unwrap();
    writer.finish(&token(2)).await.unwrap();
    assert_eq!(
        server.rows("select id, twice from t order by id").await,
        ["1|2", "2|4", "4|8", "5|10", "6|12"]
    );
    // Columns that the stream does not bring go on where the table's own sequence was.
    assert_eq!(server.rows("select min(n), count(distinct n) from t").await, ["3|5"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_run_that_stopped_right_before_its_end_is_ended_without_its_streams() {
    let server = Server::new().await;
    server.run("create table \"a'b\" (id int, v text); insert into \"a'b\" values (-1, 'old')").await;
    let options = || Config::new().with("mode", "replace");
    let streams = [stream(), Stream { id: hub_plugin_api::StreamId::named("a'b"), ..stream() }];
    let mut writer = server.writer(options()).await;
    for stream in &streams {
        writer.schema(&stream.announce()).await.unwrap();
        writer.write(rows(stream, 0..10)).await.unwrap();
    }
    writer.commit(&token(1)).await.unwrap();
    drop(writer);
    // Another run's writer leaves it alone; this run's next one has nothing to read, and ends it.
    let mut request = server.request(options());
    (request.run, request.lane) = (7, 3);
    let mut other = token(1);
    (other.run, other.lane) = (7, 3);
    server.connection.writer(&request).await.unwrap().finish(&other).await.unwrap();
    assert_eq!(server.rows("select v from \"a'b\"").await, ["old"]);
    let mut writer = server.writer(options()).await;
    writer.finish(&token(2)).await.unwrap();
    assert_eq!(
        server.rows("select count(*) from t union all select count(*) from \"a'b\"").await,
        ["10", "10"]
    );
    assert_eq!(server.rows("select obj_description('t'::regclass)").await, ["NULL"]);
    assert_eq!(server.rows(LEFT).await, ["0"]);
    server.done().await;
}
