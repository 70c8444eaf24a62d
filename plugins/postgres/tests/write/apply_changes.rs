//! Changes have the effect that they had at the source, whichever way they are applied.

use std::sync::Arc;

use hub_plugin_api::{
    Config, ErrorKind, Rows, StreamId, StreamSchema,
    arrow::{
        array::{
            ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray,
            TimestampMicrosecondArray, UInt64Array,
        },
        buffer::NullBuffer,
        datatypes::{DataType, SchemaRef},
    },
    changes::change_schema,
    types::{Column, LogicalType},
};

use super::server::{Server, token};

/// A change of a table (id, v, w): what happened, the row, the old key, and the columns that were not sent.
#[derive(Clone)]
struct Change {
    op: &'static str,
    row: (i64, Option<&'static str>, Option<&'static str>),
    old: Option<i64>,
    unchanged: u8,
}

fn put(op: &'static str, id: i64, v: &'static str, w: &'static str) -> Change {
    Change { op, row: (id, Some(v), Some(w)), old: None, unchanged: 0 }
}

fn insert(id: i64, v: &'static str, w: &'static str) -> Change {
    put("insert", id, v, w)
}

fn update(id: i64, v: &'static str, w: &'static str) -> Change {
    put("update", id, v, w)
}

/// An update whose `w` was not sent.
fn update_v(id: i64, v: &'static str) -> Change {
    Change { op: "update", row: (id, Some(v), None), old: None, unchanged: 0b100 }
}

fn delete(id: i64) -> Change {
    Change { op: "delete", row: (id, None, None), old: None, unchanged: 0 }
}

fn rekey(old: i64, id: i64, v: &'static str) -> Change {
    Change { old: Some(old), ..update_v(id, v) }
}

fn columns() -> Vec<Column> {
    vec![
        Column::new("id", LogicalType::Int64).not_null().key(0),
        Column::new("v", LogicalType::Text),
        Column::new("w", LogicalType::Text).not_null(),
    ]
}

fn rows(name: &str, first_seq: u64, changes: &[Change]) -> Rows {
    let schema: SchemaRef = change_schema(&columns());
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(changes.iter().map(|one| one.row.0)));
    let v: ArrayRef = Arc::new(StringArray::from_iter(changes.iter().map(|one| one.row.1)));
    let w: ArrayRef = Arc::new(StringArray::from_iter(changes.iter().map(|one| one.row.2)));
    let DataType::Struct(fields) = schema.field_with_name("__before").unwrap().data_type().clone() else {
        panic!()
    };
    let old: ArrayRef = Arc::new(Int64Array::from_iter(changes.iter().map(|one| one.old)));
    let none: ArrayRef = Arc::new(StringArray::new_null(changes.len()));
    let valid: NullBuffer = changes.iter().map(|one| one.old.is_some()).collect();
    let before = StructArray::new(fields, vec![old, none.clone(), none], Some(valid));
    let seqs = (0..changes.len() as u64).map(|index| first_seq + index);
    let arrays: Vec<ArrayRef> = vec![
        ids,
        v,
        w,
        Arc::new(StringArray::from_iter_values(changes.iter().map(|one| one.op))),
        Arc::new(TimestampMicrosecondArray::from(vec![0; changes.len()]).with_timezone("UTC")),
        Arc::new(UInt64Array::from_iter_values(seqs)),
        Arc::new(before),
        Arc::new(BinaryArray::from_iter_values(changes.iter().map(|one| vec![one.unchanged]))),
    ];
    let batch = RecordBatch::try_new(schema, arrays).unwrap();
    Rows { stream: StreamId::named(name), schema_id: 0, batch }
}

fn announce(name: &str) -> StreamSchema {
    StreamSchema::new(StreamId::named(name), 0, change_schema(&columns()))
}

fn options() -> Config {
    Config::new().with("mode", "apply-changes")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn folded_changes_have_the_effect_of_each() {
    let server = Server::new().await;
    let mut writer = server.writer(options()).await;
    writer.schema(&announce("t")).await.unwrap();
    let columns = "select column_name, is_nullable from information_schema.columns \
                   where table_schema = current_schema and table_name = 't' order by ordinal_position";
    assert_eq!(server.rows(columns).await, ["id|NO", "v|YES", "w|NO"], "change columns leave none");
    let changes = [
        put("snapshot", 1, "a", "x"),
        insert(2, "b", "y"),
        insert(3, "c", "z"),
        update(1, "a2", "x2"),
        update_v(2, "b2"),
        delete(3),
        insert(4, "d", "q"),
        delete(4),
        insert(4, "d2", "q2"),
        delete(99),
    ];
    writer.write(rows("t", 0, &changes)).await.unwrap();
    assert_eq!(writer.flush().await.unwrap().rejected, []);
    writer.commit(&token(1)).await.unwrap();
    let all = "select * from t order by id";
    assert_eq!(server.rows(all).await, ["1|a2|x2", "2|b2|y", "4|d2|q2"]);
    // Of rows that are there already: keep what was not sent, move to another key, move on.
    let changes =
        [update_v(1, "a3"), rekey(2, 20, "b3"), rekey(20, 21, "b4"), rekey(4, 5, "e"), insert(4, "new", "n")];
    writer.write(rows("t", 10, &changes)).await.unwrap();
    assert_eq!(writer.flush().await.unwrap().rejected, []);
    writer.commit(&token(2)).await.unwrap();
    assert_eq!(server.rows(all).await, ["1|a3|x2", "4|new|n", "5|e|q2", "21|b4|y"]);
    // A replay changes nothing more.
    writer.write(rows("t", 0, &[update(1, "a3", "x2"), delete(3), insert(4, "new", "n")])).await.unwrap();
    writer.commit(&token(3)).await.unwrap();
    assert_eq!(server.rows(all).await, ["1|a3|x2", "4|new|n", "5|e|q2", "21|b4|y"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn changes_that_a_trigger_leaves_out_are_told() {
    let server = Server::new().await;
    server
        .run(
            "create table t (id bigint primary key, v text, w text not null);
             create function skip() returns trigger language plpgsql as
                 $$begin if new.id = 2 then return null; end if; return new; end$$;
             create trigger skipping before insert on t for each row execute function skip()",
        )
        .await;
    for op in ["snapshot", "insert"] {
        let mut writer = server.writer(options()).await;
        writer.schema(&announce("t")).await.unwrap();
        let outcome = async {
            writer.write(rows("t", 0, &[put(op, 1, "a", "x"), put(op, 2, "b", "y")])).await?;
            writer.commit(&token(1)).await
        };
        let error = outcome.await.unwrap_err();
        assert!(error.message.contains("took 1 of 2 rows without an error"), "{op}: {error}");
    }
    assert_eq!(server.rows("select count(*) from t").await, ["0"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn truncate_keeps_its_place_among_the_rows() {
    let server = Server::new().await;
    let mut writer = server.writer(options()).await;
    writer.schema(&announce("t")).await.unwrap();
    writer.write(rows("t", 0, &[insert(1, "a", "x"), insert(2, "b", "y")])).await.unwrap();
    writer.truncate(&[StreamId::named("t")]).await.unwrap();
    writer.write(rows("t", 3, &[insert(2, "c", "z")])).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(server.rows("select * from t").await, ["2|c|z"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn unique_and_foreign_keys_are_met_in_the_order_of_the_source() {
    let server = Server::new().await;
    server
        .run(
            "create table t (id bigint primary key, v text unique, w text);
             create table child (id bigint primary key references t, v text, w text)",
        )
        .await;
    let mut writer = server.writer(options()).await;
    // The child is announced and written first, as streams may come in any order.
    writer.schema(&announce("child")).await.unwrap();
    writer.schema(&announce("t")).await.unwrap();
    writer.write(rows("child", 20, &[insert(1, "x", ""), insert(2, "y", ""), delete(1)])).await.unwrap();
    // Two rows change places under a unique key, which no single statement over both allows.
    let swap = [
        insert(1, "a", ""),
        insert(2, "b", ""),
        update(1, "tmp", ""),
        update(2, "a", ""),
        update(1, "b", ""),
    ];
    writer.write(rows("t", 0, &swap)).await.unwrap();
    writer.write(rows("t", 30, &[delete(1)])).await.unwrap();
    assert_eq!(writer.flush().await.unwrap().rejected, []);
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(server.rows("select id, v from t").await, ["2|a"]);
    assert_eq!(server.rows("select id, v from child").await, ["2|y"]);
    // Swapped again, with both rows there: only change by change.
    let swap = [insert(3, "c", ""), update(2, "tmp", ""), update(3, "a", ""), update(2, "c", "")];
    writer.write(rows("t", 40, &swap)).await.unwrap();
    assert_eq!(writer.flush().await.unwrap().rejected, []);
    writer.commit(&token(2)).await.unwrap();
    assert_eq!(server.rows("select id, v from t order by id").await, ["2|c", "3|a"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_change_that_cannot_be_applied_is_told_and_the_others_are() {
    let server = Server::new().await;
    server.run("create table t (id bigint primary key, v varchar(3), w text not null)").await;
    let mut writer = server.writer(options()).await;
    writer.schema(&announce("t")).await.unwrap();
    let changes = [
        insert(1, "a", "x"),
        insert(2, "long", "x"),
        update_v(7, "b"),
        insert(3, "c", "y"),
        rekey(8, 9, "d"),
        rekey(1, 3, "e"),
        update_v(3, "f"),
    ];
    writer.write(rows("t", 0, &changes)).await.unwrap();
    let report = writer.flush().await.unwrap();
    let found: Vec<_> = report.rejected.iter().map(|one| (one.row, one.kind)).collect();
    use ErrorKind::{ConstraintViolated as Constraint, InvalidData as Data};
    assert_eq!(found, [(1, Data), (2, Data), (4, Data), (5, Constraint)]);
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(server.rows("select * from t order by id").await, ["1|a|x", "3|f|y"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_key_of_the_options_is_the_one_that_counts() {
    let server = Server::new().await;
    server.run("create table t (id bigint, v text primary key, w text)").await;
    let mut writer = server.writer(options().with("key", hub_plugin_api::json!(["v"]))).await;
    writer.schema(&announce("t")).await.unwrap();
    writer
        .write(rows("t", 0, &[insert(1, "a", "x"), insert(2, "a", "y"), insert(3, "b", "z")]))
        .await
        .unwrap();
    assert_eq!(writer.flush().await.unwrap().rejected, []);
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(server.rows("select * from t order by v").await, ["2|a|y", "3|b|z"]);
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn appended_changes_are_a_log() {
    let server = Server::new().await;
    let mut writer = server.writer(Config::new()).await;
    writer.schema(&announce("t")).await.unwrap();
    writer.write(rows("t", 5, &[insert(1, "a", "x"), rekey(1, 2, "b"), delete(2)])).await.unwrap();
    assert_eq!(writer.flush().await.unwrap().rejected, []);
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(
        server.rows("select __seq, __op, id, v, w, __before->>'id', __unchanged from t order by __seq").await,
        ["5|insert|1|a|x|NULL|\\x00", "6|update|2|b|NULL|1|\\x04", "7|delete|2|NULL|NULL|NULL|\\x00"]
    );
    server.done().await;
    // Upserting deletes would bring rows back.
    let server = Server::new().await;
    let mut writer = server.writer(Config::new().with("mode", "upsert")).await;
    assert_eq!(writer.schema(&announce("t")).await.unwrap_err().field.as_deref(), Some("mode"));
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn statements_take_changes_with_the_row_as_it_was() {
    let server = Server::new().await;
    server.run("create table log (n serial, what text, id bigint, old bigint, v text)").await;
    let log = |what: &str, values: &str| {
        let statement =
            format!("insert into {}.log (what, id, old, v) values ('{what}', {values})", server.schema);
        hub_plugin_api::json!({ "on": what, "statement": statement })
    };
    let statements = hub_plugin_api::json!([
        log("insert", "{{id}}, null, {{w}}"),
        log("update", "{{id}}, {{__before.id}}, {{v}}"),
    ]);
    let mut writer = server.writer(Config::new().with("statements", statements.clone())).await;
    writer.schema(&announce("t")).await.unwrap();
    let changes = [put("snapshot", 1, "a", "x"), insert(2, "b", "y"), rekey(2, 3, "c"), update_v(1, "d")];
    writer.write(rows("t", 0, &changes)).await.unwrap();
    assert_eq!(writer.flush().await.unwrap().rejected, []);
    // What was not sent cannot be bound: null would be another value.
    let missing = Change { unchanged: 0b10, ..update(1, "", "z") };
    writer.write(rows("t", 4, &[missing])).await.unwrap();
    let report = writer.flush().await.unwrap();
    assert_eq!(report.rejected[0].kind, ErrorKind::InvalidData);
    assert!(report.rejected[0].reason.contains("did not send column `v`"), "{}", report.rejected[0].reason);
    // A kind of change without a statement is not left out in silence.
    let error = writer.write(rows("t", 5, &[delete(1)])).await.unwrap_err();
    assert_eq!(error.field.as_deref(), Some("statements"));
    drop(writer);
    let mut writer = server.writer(Config::new().with("statements", statements.clone())).await;
    writer.schema(&announce("t")).await.unwrap();
    writer.write(rows("t", 0, &changes)).await.unwrap();
    assert_eq!(writer.truncate(&[StreamId::named("t")]).await.unwrap_err().kind, ErrorKind::Unsupported);
    drop(writer);
    let mut writer = server.writer(Config::new().with("statements", statements)).await;
    writer.schema(&announce("t")).await.unwrap();
    writer.write(rows("t", 0, &changes)).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(
        server.rows("select what, id, old, v from log order by n").await,
        ["insert|1|NULL|x", "insert|2|NULL|y", "update|3|2|c", "update|1|NULL|d"]
    );
    server.done().await;
}
