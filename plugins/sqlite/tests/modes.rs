use std::sync::Arc;

use hub_plugin_api::{
    ErrorKind, Rows, StreamId, StreamSchema, Value, Writer,
    arrow::{
        array::{
            ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray,
            TimestampMicrosecondArray, UInt64Array,
        },
        buffer::NullBuffer,
        datatypes::{DataType, SchemaRef},
    },
    changes::change_schema,
    json,
    types::{Column, LogicalType, schema_of},
};

use crate::harness::{File, options, token, write, writer_request};

fn columns() -> [Column; 2] {
    [Column::new("id", LogicalType::Int64).not_null().key(0), Column::new("v", LogicalType::Text)]
}

fn rows(values: &[(i64, Option<&str>)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(values.iter().map(|row| Some(row.0)).collect::<Int64Array>());
    let texts: ArrayRef = Arc::new(values.iter().map(|row| row.1).collect::<StringArray>());
    RecordBatch::try_new(schema_of(&columns()), vec![ids, texts]).unwrap()
}

const TABLE: &str = "select coalesce(group_concat(id || coalesce(v, '-'), ' ' order by id), '') from t";

async fn refused(writer: &mut dyn Writer) -> Vec<(u64, ErrorKind)> {
    writer.flush().await.unwrap().rejected.iter().map(|row| (row.row, row.kind)).collect()
}

#[tokio::test]
async fn append_refuses_rows_at_fault_and_keeps_the_others() {
    let file = File::new("");
    let mut writer = file.writer(options(&[])).await;
    write(&mut *writer, &rows(&[(1, Some("a")), (2, None)])).await.unwrap();
    write(&mut *writer, &rows(&[(1, Some("x")), (3, Some("c"))])).await.unwrap();
    assert_eq!(refused(&mut *writer).await, [(2, ErrorKind::ConstraintViolated)]);
    write(&mut *writer, &rows(&[(3, Some("x"))])).await.unwrap();
    assert_eq!(refused(&mut *writer).await, [(0, ErrorKind::ConstraintViolated)]);
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(file.value::<String>(TABLE), "1a 2- 3c");
    assert_eq!(
        file.value::<i64>("select count(*) from pragma_table_info('t') where pk = 1 and \"notnull\" = 1"),
        1
    );
}

#[tokio::test]
async fn key_that_is_null_is_refused_and_no_number_is_made_up() {
    let file = File::new("create table t (id integer primary key, v text)");
    let columns = [Column::new("id", LogicalType::Int64), Column::new("v", LogicalType::Text)];
    let arrays: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![None, Some(1)])), Arc::new(StringArray::from(vec!["a", "b"]))];
    let batch = RecordBatch::try_new(schema_of(&columns), arrays).unwrap();
    let mut writer = file.writer(options(&[])).await;
    write(&mut *writer, &batch).await.unwrap();
    assert_eq!(refused(&mut *writer).await, [(0, ErrorKind::ConstraintViolated)]);
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(file.value::<String>(TABLE), "1b");
}

#[tokio::test]
async fn upsert_gives_the_row_with_the_key_its_values() {
    let file = File::new(
        "create table t (id integer, v text, own text default 'o', unique (id)); insert into t values (1, 'a', 'kept')",
    );
    let mut writer = file.writer(options(&[("mode", json!("upsert"))])).await;
    assert!(writer.start().idempotent);
    write(&mut *writer, &rows(&[(1, Some("b")), (2, Some("c")), (2, None)])).await.unwrap();
    assert_eq!(refused(&mut *writer).await, []);
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(file.value::<String>(TABLE), "1b 2-");
    assert_eq!(file.value::<String>("select group_concat(own) from t"), "kept,o");
}

#[tokio::test]
async fn upsert_without_an_index_over_its_key_is_refused_before_the_first_row() {
    let file = File::new("create table t (id integer, v text)");
    let mut writer = file.writer(options(&[("mode", json!("upsert"))])).await;
    let error = write(&mut *writer, &rows(&[])).await.unwrap_err();
    assert_eq!(error.field.as_deref(), Some("key"));
}

#[tokio::test]
async fn replace_shows_nothing_until_it_shows_everything() {
    let file = File::new(
        "create table t (id integer primary key, v text); create index i on t (v); insert into t values (9, 'old')",
    );
    let mode = options(&[("mode", json!("replace"))]);
    let mut writer = file.writer(mode.clone()).await;
    write(&mut *writer, &rows(&[(1, Some("a"))])).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(file.value::<String>(TABLE), "9old");
    drop(writer);
    // Another process goes on with the same run.
    let mut writer = file.writer(mode.clone()).await;
    write(&mut *writer, &rows(&[(2, Some("b"))])).await.unwrap();
    writer.commit(&token(2)).await.unwrap();
    drop(writer);
    // And a third has nothing left to do but the swap.
    let mut writer = file.writer(mode).await;
    writer.finish(&token(3)).await.unwrap();
    assert_eq!(file.value::<String>(TABLE), "1a 2b");
    assert_eq!(file.value::<String>("select group_concat(name) from sqlite_schema where name not like '\\_\\_hub%' escape '\\' and name not like 'sqlite%'"), "t,i");
    assert_eq!(file.writer(options(&[])).await.start().last, Some(token(3)));
}

#[tokio::test]
async fn replace_of_an_older_run_is_not_gone_on_with() {
    let file = File::new("");
    let mut request = writer_request(options(&[("mode", json!("replace"))]));
    let connection = file.connect().await;
    let mut writer = connection.writer(&request).await.unwrap();
    write(&mut *writer, &rows(&[(1, Some("stale"))])).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
    drop(writer);
    request.run = 2;
    let mut writer = connection.writer(&request).await.unwrap();
    write(&mut *writer, &rows(&[(2, Some("b"))])).await.unwrap();
    writer.commit(&token(2)).await.unwrap();
    writer.finish(&token(3)).await.unwrap();
    assert_eq!(file.value::<String>(TABLE), "2b");
    assert_eq!(file.value::<i64>("select count(*) from __hub_staging"), 0);
}

#[tokio::test]
async fn schema_growth_follows_its_policy() {
    for (policy, expected) in [("evolve", "id,v"), ("ignore", "id"), ("fail", "")] {
        let file = File::new("create table t (id integer primary key); insert into t values (7)");
        let mut writer = file.writer(options(&[("schema_growth", json!(policy))])).await;
        let result = write(&mut *writer, &rows(&[(1, Some("a"))])).await;
        if expected.is_empty() {
            assert_eq!(result.unwrap_err().field.as_deref(), Some("schema_growth"));
            continue;
        }
        result.unwrap();
        writer.commit(&token(1)).await.unwrap();
        assert_eq!(file.value::<String>("select group_concat(name) from pragma_table_info('t')"), expected);
    }
    let file = File::new("");
    let mut writer = file.writer(options(&[("create_table", json!(false))])).await;
    assert_eq!(write(&mut *writer, &rows(&[])).await.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn hostile_names_are_names() {
    for name in ["x\"); drop table t; --", "select", "ü 名", "a.b", "__hub"] {
        let columns =
            [Column::new(name, LogicalType::Int64).not_null().key(0), Column::new("'\"`", LogicalType::Text)];
        let arrays: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![1])), Arc::new(StringArray::from(vec!["a"]))];
        let batch = RecordBatch::try_new(schema_of(&columns), arrays).unwrap();
        for mode in ["append", "upsert", "replace"] {
            let file = File::new("");
            let mut writer = file.writer(options(&[("mode", json!(mode)), ("table", json!(name))])).await;
            write(&mut *writer, &batch).await.unwrap();
            writer.commit(&token(1)).await.unwrap();
            writer.finish(&token(2)).await.unwrap();
            drop(writer);
            let plan = file.plan(options(&[("table", json!(name)), ("cursor", json!([name]))])).await;
            assert_eq!(
                crate::harness::read_all(&*plan).await.unwrap(),
                std::slice::from_ref(&batch),
                "{mode} {name}"
            );
        }
    }
}

/// A change: operation, row, old key, and the bits of the values that were not sent.
type Change<'a> = (&'a str, i64, Option<&'a str>, Option<i64>, u8);

fn changes(list: &[Change<'_>]) -> RecordBatch {
    let schema: SchemaRef = change_schema(&columns());
    let DataType::Struct(before) = schema.field_with_name("__before").unwrap().data_type().clone() else {
        panic!()
    };
    let old: ArrayRef = Arc::new(list.iter().map(|change| change.3).collect::<Int64Array>());
    let nulls = NullBuffer::from_iter(list.iter().map(|change| change.3.is_some()));
    let none: ArrayRef = Arc::new(StringArray::new_null(list.len()));
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(list.iter().map(|change| Some(change.1)).collect::<Int64Array>()),
        Arc::new(list.iter().map(|change| change.2).collect::<StringArray>()),
        Arc::new(list.iter().map(|change| Some(change.0)).collect::<StringArray>()),
        Arc::new(TimestampMicrosecondArray::new_null(list.len()).with_timezone("UTC")),
        Arc::new((0..list.len() as u64).collect::<UInt64Array>()),
        Arc::new(StructArray::new(before, vec![old, none], Some(nulls))),
        Arc::new(list.iter().map(|change| Some([change.4])).collect::<BinaryArray>()),
    ];
    RecordBatch::try_new(schema, arrays).unwrap()
}

#[tokio::test]
async fn changes_are_applied_as_they_happened() {
    let file = File::new("");
    let mut writer = file.writer(options(&[("mode", json!("apply-changes"))])).await;
    let list = [
        ("snapshot", 1, Some("a"), None, 0),
        ("insert", 2, Some("b"), None, 0),
        ("insert", 3, Some("c"), None, 0),
        ("update", 2, Some("B"), None, 0),
        // The value was not sent, so it stays.
        ("update", 3, None, None, 0b10),
        ("delete", 1, None, None, 0),
        // A row moves to another key and keeps what was not sent.
        ("update", 30, None, Some(3), 0b10),
        ("update", 20, Some("moved"), Some(2), 0),
        // What went is put again.
        ("insert", 1, Some("again"), None, 0),
        ("delete", 99, None, None, 0),
    ];
    write(&mut *writer, &changes(&list)).await.unwrap();
    assert_eq!(refused(&mut *writer).await, []);
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(file.value::<String>(TABLE), "1again 20moved 30c");

    // A part of a row that is not there, and a move onto a row that is.
    let list = [
        ("update", 5, None, None, 0b10),
        ("update", 1, Some("x"), Some(20), 0),
        ("insert", 6, Some("f"), None, 0),
    ];
    write(&mut *writer, &changes(&list)).await.unwrap();
    let kind = ErrorKind::ConstraintViolated;
    assert_eq!(refused(&mut *writer).await, [(0, kind), (1, kind)]);
    writer.truncate(&[StreamId::named("t"), StreamId::named("never_came")]).await.unwrap();
    write(&mut *writer, &changes(&[("insert", 8, Some("h"), None, 0)])).await.unwrap();
    writer.commit(&token(2)).await.unwrap();
    assert_eq!(file.value::<String>(TABLE), "8h");
}

#[tokio::test]
async fn changes_need_the_mode_that_applies_them_or_become_a_history() {
    let batch = changes(&[("insert", 1, Some("a"), None, 0), ("delete", 1, None, None, 0)]);
    for mode in ["upsert", "replace"] {
        let file = File::new("");
        let mut writer = file.writer(options(&[("mode", json!(mode))])).await;
        assert_eq!(write(&mut *writer, &batch).await.unwrap_err().field.as_deref(), Some("mode"));
    }
    let file = File::new("");
    let mut writer = file.writer(options(&[])).await;
    write(&mut *writer, &batch).await.unwrap();
    assert_eq!(refused(&mut *writer).await, []);
    writer.commit(&token(1)).await.unwrap();
    // A history outlives the table that it is of.
    writer.truncate(&[StreamId::named("t")]).await.unwrap();
    writer.commit(&token(2)).await.unwrap();
    assert_eq!(file.value::<String>("select group_concat(id || __op, ' ') from t"), "1insert 1delete");
}

fn statements(list: Value) -> hub_plugin_api::Config {
    options(&[("mode", json!("apply-changes")), ("statements", list)])
}

#[tokio::test]
async fn statements_of_the_users_run_for_each_row_in_their_order() {
    let file = File::new("create table t (id integer primary key, v text); create table log (line text)");
    let list = json!([
        {"on": "insert", "statement": "insert into t values ({{id}}, upper({{v}})) returning id"},
        {"on": "insert", "statement": "insert into log values ('+' || {{id}})"},
        {"on": "delete", "statement": "delete from t where id = {{ id }}"},
    ]);
    let mut writer = file.writer(statements(list)).await;
    let batch = changes(&[
        ("insert", 1, Some("a'); drop table t; --"), None, 0),
        ("insert", 1, Some("twice"), None, 0),
        ("insert", 2, Some("b"), None, 0),
        ("delete", 2, None, None, 0),
        ("update", 1, Some("c"), None, 0),
    ]);
    write(&mut *writer, &batch).await.unwrap();
    let kind = ErrorKind::ConstraintViolated;
    assert_eq!(refused(&mut *writer).await, [(1, kind), (4, kind)]);
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(file.value::<String>(TABLE), "1A'); DROP TABLE T; --");
    assert_eq!(file.value::<String>("select group_concat(line) from log"), "+1,+2");
}

#[tokio::test]
async fn row_is_written_by_all_of_its_statements_or_by_none() {
    let file =
        File::new("create table t (id integer primary key, v text); create table log (line text unique)");
    let list = json!([
        {"on": "insert", "statement": "insert into t values ({{id}}, {{v}})"},
        {"on": "insert", "statement": "insert into log values ({{v}})"},
    ]);
    let mut writer = file.writer(statements(list)).await;
    write(&mut *writer, &rows(&[(1, Some("a")), (2, Some("a"))])).await.unwrap();
    assert_eq!(refused(&mut *writer).await, [(1, ErrorKind::ConstraintViolated)]);
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(file.value::<String>(TABLE), "1a");
}

#[tokio::test]
async fn statement_that_is_none_of_these_is_refused_before_the_first_row() {
    for statement in [
        "select {{id}}",
        "commit",
        "insert into {{v}} values (1, 'a')",
        "insert into t values ({{id}}, {{none}})",
        "insert into t values ({{id}}, :v)",
        "insert into t values ({{id}}, 'a'); delete from t",
    ] {
        let file = File::new("create table t (id integer primary key, v text)");
        let mut writer = file.writer(statements(json!([{"on": "insert", "statement": statement}]))).await;
        let stream = StreamId::named("t");
        let batch = rows(&[]);
        let result = writer.schema(&StreamSchema::new(stream.clone(), 0, batch.schema())).await;
        assert_eq!(result.unwrap_err().field.as_deref(), Some("statements"), "{statement}");
        assert!(writer.write(Rows { stream, schema_id: 0, batch }).await.is_err());
    }
}

#[tokio::test]
async fn file_alone_holds_what_was_committed_once_its_writer_is_gone() {
    let file = File::new("");
    let mut writer = file.writer(options(&[])).await;
    write(&mut *writer, &rows(&[(1, Some("a")), (2, None)])).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
    drop(writer);
    let copy = file.path.with_extension("copy");
    std::fs::copy(&file.path, &copy).unwrap();
    let found = rusqlite::Connection::open(copy).unwrap().query_row(TABLE, [], |row| row.get::<_, String>(0));
    assert_eq!(found.as_deref(), Ok("1a 2-"));
    let mut log = file.path.clone().into_os_string();
    log.push("-wal");
    assert!(!std::path::Path::new(&log).exists());
}
