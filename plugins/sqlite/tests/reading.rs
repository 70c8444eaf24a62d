use hub_plugin_api::{
    ErrorKind, Guarantee, Snapshot, Statement, StreamId,
    arrow::{
        array::{AsArray, Int64Array, RecordBatch},
        datatypes::{Float64Type, Int64Type},
    },
    json,
    types::{Column, LogicalType, columns_of, schema_of},
};

use crate::harness::{File, batches, drain, open, options, plan_request, read_all};

async fn columns(script: &str, statement: &str) -> Vec<Column> {
    let file = File::new(script);
    let rows = read_all(&*file.plan(options(&[("statement", json!(statement))])).await).await.unwrap();
    columns_of(rows[0].schema_ref()).unwrap()
}

#[tokio::test]
async fn columns_keep_what_their_table_says_of_them() {
    let script = "create table t (id integer primary key, name varchar(20) not null, price decimal(12,2)); \
        insert into t values (1, 'a', 12.5)";
    let found = columns(script, "select price as cost, id, name from t").await;
    let expected = [
        Column::new("cost", LogicalType::Decimal { precision: 12, scale: 2 })
            .declared("sqlite", "decimal(12,2)"),
        Column::new("id", LogicalType::Int64).declared("sqlite", "INTEGER").not_null().key(0),
        Column::new("name", LogicalType::Text).declared("sqlite", "varchar(20)").not_null(),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn key_is_no_key_behind_a_join_and_null_may_come() {
    let script = "create table a (id integer primary key, n text not null); create table b (id integer primary key); \
        insert into b values (1)";
    let found = columns(script, "select b.id as b, a.n from b left join a on a.id = b.id").await;
    assert!(found.iter().all(|column| column.key.is_none() && column.nullable), "{found:?}");
}

#[tokio::test]
async fn expression_is_what_its_values_are() {
    let found = columns(
        "create table t (a)",
        "select 1 as i, 1.5 as r, 'a' as t, x'00' as b, null as n union all select 2, 2, 'b', x'', null",
    )
    .await;
    let types: Vec<_> = found.into_iter().map(|column| column.logical).collect();
    use LogicalType::*;
    assert_eq!(types, [Int64, Float64, Text, Binary, Text]);
}

/// SQLite spells the names of its five classes in capitals, whatever was declared.
fn spelled(declared: &str) -> String {
    let is_class = ["integer", "text", "blob", "real", "any", "int"].contains(&declared);
    if is_class { declared.to_uppercase() } else { declared.to_owned() }
}

#[tokio::test]
async fn value_of_another_class_is_an_error_that_names_it() {
    for (declared, value, found) in [
        ("integer", "'abc'", "a text"),
        ("integer", "1.5", "a float"),
        ("text", "x'00'", "a blob"),
        ("blob", "'a'", "a text"),
        ("real", "'a'", "a text"),
        ("boolean", "2", "an integer other than 0 and 1"),
        ("decimal(5,2)", "1.005", "a float that is no decimal(5,2)"),
        ("date", "'01.02.2003'", "a text that is no date"),
        ("datetime", "1700000000", "an integer"),
        ("datetime", "'2020-01-01 00:00:00+01:00'", "a text that is no timestamp"),
        ("text", "cast(x'ff' as text)", "a text that is not UTF-8"),
    ] {
        let file = File::new(&format!(
            "create table t (ok text, c {declared}); insert into t values ('', null), ('', {value})"
        ));
        let error = read_all(&*file.plan(options(&[("table", json!("t"))])).await).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidData, "{declared}: {error}");
        assert!(
            error.message.starts_with(&format!("Column `c` ({}) holds {found}", spelled(declared))),
            "{error}"
        );
        assert_eq!(error.context, [("row".into(), "2".into()), ("table".into(), "t".into())]);
        assert!(error.hint.is_some());
    }
}

#[tokio::test]
async fn values_of_foreign_tables_are_exact() {
    let file = File::new(
        "create table t (d decimal(20,2), n numeric, f real, dt datetime, day date, b boolean); \
         insert into t values (12.34, 9223372036854775807, 1e300, '2020-02-29T12:00:01.5', '1999-12-31', 1), \
         (7, 0.1, -0.5, '2020-02-29 12:00', null, 0)",
    );
    let rows = read_all(&*file.plan(options(&[("table", json!("t"))])).await).await.unwrap();
    let cells = |index: usize| {
        let array = hub_plugin_api::arrow::compute::cast(
            rows[0].column(index),
            &hub_plugin_api::arrow::datatypes::DataType::Utf8,
        )
        .unwrap();
        array.as_string::<i32>().iter().map(|cell| cell.unwrap_or("-").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(cells(0), ["12.34", "7.00"]);
    assert_eq!(cells(1), ["9223372036854775807", "0.1"]);
    assert_eq!(rows[0].column(2).as_primitive::<Float64Type>().values(), &[1e300, -0.5]);
    assert_eq!(cells(3), ["2020-02-29T12:00:01.500", "2020-02-29T12:00:00"]);
    assert_eq!(cells(4), ["1999-12-31", "-"]);
    assert_eq!(cells(5), ["true", "false"]);
}

#[tokio::test]
async fn ties_and_nulls_of_the_cursor_are_refused() {
    for (rows, place) in [("(1), (2), (2), (3)", "read"), ("(1), (null)", "plan")] {
        let file = File::new(&format!("create table t (a integer); insert into t values {rows}"));
        let request = plan_request(options(&[("table", json!("t")), ("cursor", json!(["a"]))]));
        let error = match file.connect().await.plan(&request).await {
            Ok(plan) => {
                assert_eq!(place, "read");
                // A boundary between the two would lose the second, so it is not handed over either.
                let mut reader = open(&*plan, &plan.description().splits[0], None, 2).await;
                drain(&mut *reader).await.unwrap_err()
            }
            Err(error) => error,
        };
        assert_eq!((error.kind, error.field.as_deref()), (ErrorKind::InvalidData, Some("cursor")), "{rows}");
        assert!(error.hint.unwrap().contains("reread"));
    }
}

#[tokio::test]
async fn letters_of_either_case_are_two_values_of_a_cursor() {
    let file = File::new(
        "create table t (a text collate nocase not null); insert into t values ('b'), ('A'), ('a'), ('B')",
    );
    let plan = file.plan(options(&[("table", json!("t")), ("cursor", json!(["a"]))])).await;
    let split = plan.description().splits[0].clone();
    let (all, positions) = batches(&drain(&mut *open(&*plan, &split, None, 1).await).await.unwrap());
    assert_eq!(all.len(), 4);
    let (rest, _) =
        batches(&drain(&mut *open(&*plan, &split, Some(positions[0].clone()), 9).await).await.unwrap());
    assert_eq!(rest[0].num_rows(), 3);
}

#[tokio::test]
async fn reread_brings_ties_and_nulls_again() {
    let file = File::new(
        "create table t (a integer, b text); insert into t values (1, 'x'), (2, 'y'), (2, 'z'), (null, 'n')",
    );
    let connection = file.connect().await;
    let mut request = plan_request(options(&[
        ("table", json!("t")),
        ("cursor", json!(["a"])),
        ("cursor_ties", json!("reread")),
    ]));
    let plan = connection.plan(&request).await.unwrap();
    assert!(plan.description().repeats_rows);
    assert_eq!(plan.description().guarantee, Guarantee::AtLeastOnce);
    let count = |rows: Vec<RecordBatch>| rows.iter().map(RecordBatch::num_rows).sum::<usize>();
    assert_eq!(count(read_all(&*plan).await.unwrap()), 4);
    (request.run, request.carry) = (2, plan.description().carry);
    let again = connection.plan(&request).await.unwrap();
    assert_eq!(count(read_all(&*again).await.unwrap()), 3, "both ties and the NULL");
}

#[tokio::test]
async fn ranges_hold_every_key_once() {
    let file = File::new(
        "create table t (a integer primary key); \
         insert into t with recursive n(i) as (select -50 union all select i + 3 from n where i < 1000) select i from n",
    );
    for splits in [1, 2, 7, 64] {
        let plan = file
            .plan(options(&[("table", json!("t")), ("cursor", json!(["a"])), ("splits", json!(splits))]))
            .await;
        assert_eq!(plan.description().splits.len(), splits as usize);
        let rows = read_all(&*plan).await.unwrap();
        let keys: Vec<_> = rows
            .iter()
            .flat_map(|rows| rows.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect();
        assert_eq!(keys, (-50..=1000).step_by(3).collect::<Vec<i64>>());
    }
}

#[tokio::test]
async fn without_a_cursor_all_is_one_snapshot_without_positions() {
    let file = File::new(
        "pragma journal_mode = wal; create table t (a integer); insert into t values (1), (2), (3), (4), (5), (6), (7), (8), (9)",
    );
    let plan = file.plan(options(&[("table", json!("t"))])).await;
    let description = plan.description();
    assert!(
        description.repeats_rows && description.snapshot == Snapshot::Same && description.carry.is_none()
    );
    let mut reader = open(&*plan, &description.splits[0], None, 1).await;
    let second = std::time::Duration::from_secs(1);
    reader.next(second).await.unwrap();
    reader.next(second).await.unwrap();
    file.sql().execute("delete from t where a > 2", []).unwrap();
    let (rest, positions) = batches(&drain(&mut *reader).await.unwrap());
    assert_eq!((rest.len(), positions.len()), (8, 0));
}

#[tokio::test]
async fn parameters_are_bound_and_never_text() {
    let file =
        File::new("create table t (a integer, b text); insert into t values (1, 'x'), (2, ''' or 1=1 --')");
    for (statement, parameters) in [
        ("select a from t where b = ?", json!(["' or 1=1 --"])),
        ("select a from t where b = :b and a = @a", json!({"b": "' or 1=1 --", "a": 2})),
    ] {
        let plan = file.plan(options(&[
            ("statement", json!(statement)),
            ("parameters", parameters),
            ("cursor", json!(["a"])),
        ]));
        let rows = read_all(&*plan.await).await.unwrap();
        assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().values(), &[2]);
    }
    let columns = [Column::new("p", LogicalType::Int64)];
    let row = RecordBatch::try_new(schema_of(&columns), vec![std::sync::Arc::new(Int64Array::from(vec![2]))])
        .unwrap();
    let statement = Statement::Text("select b from t where a = ?".into());
    let connection = file.connect().await;
    let mut reader = connection.query(&statement, Some(row)).await.unwrap();
    let (rows, _) = batches(&drain(&mut *reader).await.unwrap());
    assert_eq!(rows[0].column(0).as_string::<i32>().value(0), "' or 1=1 --");
    let error = connection.query(&statement, None).await.err().unwrap();
    assert_eq!(error.field.as_deref(), Some("parameters"));
}

#[tokio::test]
async fn tables_are_listed_in_pages_and_described() {
    let file = File::new(
        "create table b (x integer primary key); create table a (y text); create view \"c d\" as select 1 as one",
    );
    let connection = file.connect().await;
    let mut request = hub_plugin_api::DiscoverRequest { limit: 2, ..Default::default() };
    let first = connection.discover(&request).await.unwrap();
    assert_eq!(first.streams, ["a", "b"].map(StreamId::named));
    request.after = first.next;
    let second = connection.discover(&request).await.unwrap();
    assert_eq!((second.streams.clone(), second.next), (vec![StreamId::named("c d")], None));
    let described = connection.describe(&[StreamId::named("c d"), StreamId::named("b")]).await.unwrap();
    assert_eq!((described[0].kind.as_str(), described[1].kind.as_str()), ("view", "table"));
    assert_eq!(described[0].columns[0].logical, LogicalType::Int64);
    assert_eq!(described[1].columns[0].key, Some(0));
    let error = connection.describe(&[StreamId::named("none")]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn statement_cannot_write_or_reach_another_file() {
    let file = File::new("create table t (a)");
    let other = File::new("create table secret (a)");
    let connection = file.connect().await;
    let attach = format!("attach '{}' as o", other.path.display());
    for statement in
        ["insert into t values (1) returning a", attach.as_str(), "drop table t", "pragma user_version = 3"]
    {
        let result = connection.query(&Statement::Text(statement.into()), None).await;
        let error = match result {
            Ok(mut reader) => drain(&mut *reader).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(
            matches!(error.kind, ErrorKind::InvalidStatement | ErrorKind::PermissionDenied),
            "{statement}: {error}"
        );
    }
    assert_eq!(file.value::<i64>("select count(*) from t"), 0);
}
