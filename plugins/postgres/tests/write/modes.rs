//! Append and upsert, and what becomes of tables.

use std::sync::Arc;

use hub_plugin_api::{
    Config, ErrorKind, Rows,
    arrow::array::{Int16Array, Int32Array, Int64Array, StringArray},
    json,
    types::{Column, LogicalType},
};

use super::server::{Server, Stream, line, token};

fn stream() -> Stream {
    Stream::new(
        "t",
        &[Column::new("id", LogicalType::Int32).not_null().key(0), Column::new("v", LogicalType::Text)],
    )
}

fn rows(stream: &Stream, rows: &[(i32, &str)]) -> Rows {
    stream.rows(vec![
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn upsert_keeps_the_last_row_of_each_key() {
    let server = Server::new().await;
    let stream = stream();
    let mut writer = server.writer(Config::new().with("mode", "upsert")).await;
    assert!(writer.start().idempotent);
    writer.schema(&stream.announce()).await.unwrap();
    writer.write(rows(&stream, &[(1, "a"), (2, "b"), (1, "c")])).await.unwrap();
    writer.write(rows(&stream, &[(2, "d"), (3, "e")])).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
    writer.write(rows(&stream, &[(3, "f"), (3, "g"), (4, "h")])).await.unwrap();
    writer.commit(&token(2)).await.unwrap();
    assert_eq!(server.rows("select * from t order by id").await, ["1|c", "2|d", "3|g", "4|h"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rows_that_a_trigger_leaves_out_are_told_in_every_mode() {
    for mode in ["append", "upsert", "replace"] {
        let server = Server::new().await;
        server
            .run(
                "create table t (id int primary key, v text);
                 create function skip() returns trigger language plpgsql as
                     $$begin if new.id = 2 then return null; end if; return new; end$$;
                 create trigger skipping before insert or update on t for each row execute function skip()",
            )
            .await;
        let stream = stream();
        let mut writer = server.writer(Config::new().with("mode", mode)).await;
        writer.schema(&stream.announce()).await.unwrap();
        let outcome = async {
            writer.write(rows(&stream, &[(1, "a"), (2, "b"), (3, "c")])).await?;
            writer.commit(&token(1)).await?;
            writer.finish(&token(2)).await
        };
        let error = outcome.await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::ConstraintViolated, "{mode}: {error}");
        assert!(error.message.contains("took 2 of 3 rows"), "{mode}: {error}");
        drop(writer);
        assert_eq!(server.rows("select count(*) from t").await, ["0"], "{mode}");
        // A trigger that only changes them is no reason to stop, nor are rows of the same key.
        if mode != "replace" {
            server
                .run(
                    "create or replace function skip() returns trigger language plpgsql as
                         $$begin new.v := upper(new.v); return new; end$$",
                )
                .await;
            let again: &[_] = if mode == "upsert" { &[(1, "a"), (1, "d")] } else { &[(1, "d")] };
            let mut writer = server.writer(Config::new().with("mode", mode)).await;
            writer.schema(&stream.announce()).await.unwrap();
            writer.write(rows(&stream, again)).await.unwrap();
            writer.commit(&token(1)).await.unwrap();
            assert_eq!(server.rows("select * from t").await, ["1|D"], "{mode}");
        }
        server.done().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn upsert_without_a_unique_index_says_how_to_make_one() {
    let server = Server::new().await;
    server.run("create table t (id int, v text); create unique index on t (id, v); create unique index on t (id) where id > 5").await;
    let mut writer = server.writer(Config::new().with("mode", "upsert")).await;
    let error = writer.schema(&stream().announce()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::SchemaMismatch);
    let hint = error.hint.unwrap();
    drop(writer);
    server.run(hint.strip_prefix("Run: ").unwrap()).await;
    let mut writer = server.writer(Config::new().with("mode", "upsert")).await;
    writer.schema(&stream().announce()).await.unwrap();
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_does_not_fit_is_refused_before_the_first_row() {
    let server = Server::new().await;
    server
        .run(
            "create table wrong_type (id int, v bytea); create table needed (id int, v text, more int not null);
             create table lacking (id int); create view seen as select 1 as id, ''::text as v",
        )
        .await;
    let mut lines = Vec::new();
    for options in [
        Config::new().with("table", "wrong_type"),
        Config::new().with("table", "needed"),
        Config::new().with("table", "lacking").with("schema_growth", "fail"),
        Config::new().with("table", "seen"),
        Config::new().with("table", "missing").with("create_table", false),
        Config::new().with("mode", "upsert").with("key", json!(["nothing"])),
    ] {
        let mut writer = server.writer(options).await;
        lines
            .push(line(&writer.schema(&stream().announce()).await.unwrap_err()).replace(&server.schema, "S"));
    }
    let mut writer = server.writer(Config::new().with("mode", "upsert")).await;
    let keyless = Stream::new("keyless", &[Column::new("v", LogicalType::Text)]);
    lines.push(line(&writer.schema(&keyless.announce()).await.unwrap_err()));
    insta::assert_snapshot!(lines.join("\n"));
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn values_go_into_the_existing_columns_exactly_or_are_rejected() {
    let server = Server::new().await;
    server.run("create table t (id smallint, v varchar(3), extra text default 'kept')").await;
    let stream = stream();
    let mut writer = server.writer(Config::new()).await;
    writer.schema(&stream.announce()).await.unwrap();
    writer
        .write(rows(&stream, &[(1, "abc"), (32_767, "äöü"), (32_768, "x"), (-40_000, "y"), (2, "abc ")]))
        .await
        .unwrap();
    let report = writer.flush().await.unwrap();
    let reasons: Vec<_> = report.rejected.iter().map(|one| format!("{} {}", one.row, one.reason)).collect();
    insta::assert_snapshot!(reasons.join("\n"), @r"
    2 The value of column `id` is out of the range of the column (`smallint`)
    3 The value of column `id` is out of the range of the column (`smallint`)
    4 The value of column `v` is longer than the column allows (`character varying(3)`)
    ");
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(server.rows("select * from t order by id").await, ["1|abc|kept", "32767|äöü|kept"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_table_grows_with_its_stream() {
    let server = Server::new().await;
    let narrow = Stream::new("t", &[Column::new("id", LogicalType::Int16).not_null().key(0)]);
    let mut wide = Stream::new(
        "t",
        &[
            Column::new("id", LogicalType::Int64).not_null().key(0),
            Column::new("more \"x\"", LogicalType::Text).not_null(),
        ],
    );
    wide.shape = 1;
    let mut writer = server.writer(Config::new()).await;
    writer.schema(&narrow.announce()).await.unwrap();
    writer.write(narrow.rows(vec![Arc::new(Int16Array::from(vec![1]))])).await.unwrap();
    writer.schema(&wide.announce()).await.unwrap();
    let ids = Arc::new(Int64Array::from(vec![5_000_000_000]));
    writer.write(wide.rows(vec![ids, Arc::new(StringArray::from(vec!["m"]))])).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(server.rows("select * from t order by id").await, ["1|NULL", "5000000000|m"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn columns_that_the_table_lacks_are_left_out_on_request() {
    let server = Server::new().await;
    server.run("create table t (id int)").await;
    let stream = stream();
    let mut writer = server.writer(Config::new().with("schema_growth", "ignore")).await;
    writer.schema(&stream.announce()).await.unwrap();
    writer.write(rows(&stream, &[(1, "a")])).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(server.rows("select * from t").await, ["1"]);
    assert!(server.context.logs().iter().any(|log| log.message.contains("`v`")), "it is said");
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn hostile_names_and_values_stay_what_they_are() {
    let server = Server::new().await;
    let name = "t\"; drop table people; --";
    let column = "c'); \"select {{x}} $1 \\";
    let stream = Stream::new(
        name,
        &[Column::new("id", LogicalType::Int32).not_null().key(0), Column::new(column, LogicalType::Text)],
    );
    for (n, mode) in ["append", "upsert", "apply-changes"].into_iter().enumerate() {
        let mut writer = server.writer(Config::new().with("mode", mode)).await;
        writer.schema(&stream.announce()).await.unwrap();
        let value = "'; drop schema public cascade; -- \\N \t\n \u{1F600}";
        writer.write(rows(&stream, &[(n as i32, value)])).await.unwrap();
        assert_eq!(writer.flush().await.unwrap().rejected, []);
        writer.commit(&token(n as u64 + 1)).await.unwrap();
    }
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    assert_eq!(
        server
            .rows(&format!("select count(*), count(distinct t::text) from (select 1 from {quoted}) t"))
            .await,
        ["3|1"]
    );
    // A text with NUL is none of the server's: its row is refused, and only that.
    let mut writer = server.writer(Config::new()).await;
    writer.schema(&stream.announce()).await.unwrap();
    writer.write(rows(&stream, &[(10, "a\0b"), (11, "fine")])).await.unwrap();
    let report = writer.flush().await.unwrap();
    assert_eq!(
        report.rejected.iter().map(|one| (one.row, one.kind)).collect::<Vec<_>>(),
        [(0, ErrorKind::InvalidData)]
    );
    writer.commit(&token(4)).await.unwrap();
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_declared_type_cannot_smuggle_sql() {
    let server = Server::new().await;
    for declared in [
        "text); drop table x; --",
        "text default 'x'",
        "int primary key",
        "text -- ",
        "int /*",
        "text collate \"C\"",
    ] {
        let stream = Stream::new("t", &[Column::new("c", LogicalType::Text).declared("postgres", declared)]);
        let mut writer = server.writer(Config::new()).await;
        let error = writer.schema(&stream.announce()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnsupportedType, "{declared}: {error}");
    }
    assert_eq!(server.rows("select count(*) from pg_class where relname = 't' and relnamespace = current_schema::regnamespace").await, ["0"]);
    server.done().await;
}
