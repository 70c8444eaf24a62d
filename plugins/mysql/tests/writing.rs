//! Modes, tokens and refusals.

mod kept;

use std::{collections::BTreeMap, sync::Arc};

use hub_plugin_api::{
    CommitToken, Config, Connection, ErrorKind, Result, Rows, StreamId, StreamSchema, Value, Writer,
    WriterRequest,
    arrow::{
        array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray},
        datatypes::SchemaRef,
    },
    changes::{change_schema, row_schema},
    json,
    testing::TestContext,
    types::{Column, LogicalType, schema_of},
};

use crate::support::{ALL, Server, run};

fn request(options: Value) -> WriterRequest {
    let Value::Object(options) = options else { panic!("options are an object") };
    WriterRequest {
        pipeline: "writes".into(),
        lane: 0,
        generation: 1,
        run: 1,
        strategy: "write".into(),
        options: Config::from(options),
    }
}

fn token(n: u64) -> CommitToken {
    CommitToken {
        pipeline: "writes".into(),
        lane: 0,
        generation: 1,
        run: 1,
        n,
        splits: BTreeMap::new(),
        applied_seq: None,
    }
}

fn columns() -> Vec<Column> {
    vec![
        Column::new("id", LogicalType::Int64).not_null().key(0),
        Column::new("name", LogicalType::Text),
        Column::new("data", LogicalType::Binary),
    ]
}

fn batch(rows: &[(i64, Option<&str>)]) -> RecordBatch {
    let names: Vec<_> = rows.iter().map(|row| row.1).collect();
    let columns_of: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StringArray::from(names.clone())),
        Arc::new(BinaryArray::from_opt_vec(names.iter().map(|name| name.map(str::as_bytes)).collect())),
    ];
    RecordBatch::try_new(schema_of(&columns()), columns_of).unwrap()
}

fn stream() -> StreamId {
    StreamId::named("t")
}

async fn start(connection: &dyn Connection, options: Value, schema: SchemaRef) -> Result<Box<dyn Writer>> {
    let mut writer = connection.writer(&request(options)).await?;
    writer.schema(&StreamSchema::new(stream(), 0, schema)).await?;
    Ok(writer)
}

fn rows(batch: RecordBatch) -> Rows {
    Rows { stream: stream(), schema_id: 0, batch }
}

const HOSTILE: &str = "tab\t line\n back\\slash 'quote' \"double\" nul\0 \\N 𝄞 ";

#[test]
fn rows_arrive_as_they_are_by_load_and_by_insert() {
    for which in ALL {
        for load in ["auto", "insert"] {
            run(async {
                let server = Server::new(which, "append").await;
                let connection = server.connection().await;
                let options = json!({ "load": load });
                let mut writer = start(&*connection, options, schema_of(&columns())).await.unwrap();
                writer.write(rows(batch(&[(1, Some(HOSTILE)), (2, None), (3, Some(""))]))).await.unwrap();
                assert_eq!(server.rows("select count(*) from t").await, [["0"]], "nothing is visible before");
                writer.commit(&token(1)).await.unwrap();
                let found = server
                    .rows("select id, name, hex(data), name = cast(data as char) from t order by id")
                    .await;
                let hex: String = HOSTILE.bytes().map(|byte| format!("{byte:02X}")).collect();
                assert_eq!(found[0], ["1", HOSTILE, &hex, "1"], "{which:?} {load}");
                assert_eq!(found[1], ["2", "NULL", "NULL", "NULL"]);
                assert_eq!(found[2], ["3", "", "", "1"]);
                let key = server.rows("show index from t where Key_name = 'PRIMARY'").await;
                assert_eq!(key.len(), 1);
            });
        }
    }
}

/// Of a file that is sent in parts, and of statements that are to fit into the server's packets.
#[test]
fn long_values_arrive_whole() {
    for which in ALL {
        for load in ["auto", "insert"] {
            run(async {
                let server = Server::new(which, "long").await;
                let connection = server.connection().await;
                let options = json!({ "load": load });
                let mut writer = start(&*connection, options, schema_of(&columns())).await.unwrap();
                let text = |row: i64| format!("{row} tab\t").repeat(25_000);
                for row in 1..=6 {
                    writer.write(rows(batch(&[(row, Some(&text(row)))]))).await.unwrap();
                }
                writer.commit(&token(1)).await.unwrap();
                for row in 1..=6 {
                    let ask = format!("select name = cast(data as char), name from t where id = {row}");
                    assert!(server.rows(&ask).await == [["1", &text(row)]], "{which:?} {load}: row {row}");
                }
            });
        }
    }
}

#[test]
fn rows_at_fault_are_named_and_the_others_taken() {
    for which in ALL {
        for load in ["auto", "insert"] {
            run(async {
                let server = Server::new(which, "refuse").await;
                server.run(&["CREATE TABLE t (id bigint PRIMARY KEY, name varchar(3), data blob)"]).await;
                let connection = server.connection().await;
                let mut writer =
                    start(&*connection, json!({ "load": load }), schema_of(&columns())).await.unwrap();
                let given =
                    [(1, Some("a")), (2, Some("long")), (1, Some("b")), (3, None), (4, Some("bbb  "))];
                writer.write(rows(batch(&given))).await.unwrap();
                let report = writer.flush().await.unwrap();
                let refused: Vec<_> = report.rejected.iter().map(|row| (row.row, row.kind)).collect();
                let expected = [
                    (1, ErrorKind::InvalidData),
                    (2, ErrorKind::ConstraintViolated),
                    (4, ErrorKind::InvalidData),
                ];
                assert_eq!(refused, expected, "{which:?} {load}: {:?}", report.rejected);
                writer.commit(&token(1)).await.unwrap();
                assert_eq!(
                    server.rows("select id, name from t order by id").await,
                    [["1", "a"], ["3", "NULL"]]
                );
            });
        }
    }
}

#[test]
fn a_key_takes_the_last_row_and_another_unique_index_stops_it() {
    for which in ALL {
        run(async {
            let server = Server::new(which, "upsert").await;
            let connection = server.connection().await;
            let options = json!({ "mode": "upsert" });
            let mut writer = start(&*connection, options.clone(), schema_of(&columns())).await.unwrap();
            writer.write(rows(batch(&[(1, Some("a")), (2, Some("b")), (1, Some("c"))]))).await.unwrap();
            writer.commit(&token(1)).await.unwrap();
            assert_eq!(server.rows("select id, name from t order by id").await, [["1", "c"], ["2", "b"]]);
            drop(writer);
            server.run(&["ALTER TABLE t MODIFY name varchar(20), ADD UNIQUE (name)"]).await;
            let mut writer = start(&*connection, options, schema_of(&columns())).await.unwrap();
            writer.write(rows(batch(&[(3, Some("b")), (2, Some("z")), (4, Some("d"))]))).await.unwrap();
            let report = writer.flush().await.unwrap();
            assert_eq!(report.rejected.iter().map(|row| row.row).collect::<Vec<_>>(), [0]);
            writer.commit(&token(2)).await.unwrap();
            let found = server.rows("select id, name from t order by id").await;
            assert_eq!(found, [["1", "c"], ["2", "z"], ["4", "d"]], "no row took the place of another key's");
        });
    }
}

#[test]
fn changes_are_applied_as_they_happened() {
    use hub_plugin_api::arrow::array::{StructArray, TimestampMicrosecondArray, UInt64Array, new_null_array};
    for which in ALL {
        run(async {
            let server = Server::new(which, "changes").await;
            let connection = server.connection().await;
            let schema = change_schema(&columns());
            let table = row_schema(&schema);
            // Insert 1 and 2, update 1, delete 2, move 1 to 9.
            let now = batch(&[(1, Some("a")), (2, Some("b")), (1, Some("c")), (2, None), (9, Some("d"))]);
            let before = batch(&[(0, None), (0, None), (0, None), (0, None), (1, None)]);
            let before = StructArray::new(
                table.fields().clone(),
                before.columns().to_vec(),
                Some(vec![false, false, false, false, true].into()),
            );
            let mut arrays = now.columns().to_vec();
            arrays.push(Arc::new(StringArray::from(vec!["insert", "insert", "update", "delete", "update"])));
            arrays.push(Arc::new(TimestampMicrosecondArray::from(vec![0; 5]).with_timezone("UTC")));
            arrays.push(Arc::new(UInt64Array::from_iter_values(1..=5)));
            arrays.push(Arc::new(before));
            arrays.push(new_null_array(schema.field(schema.fields().len() - 1).data_type(), 5));
            let changes = RecordBatch::try_new(schema.clone(), arrays).unwrap();
            let mut writer = start(&*connection, json!({ "mode": "apply-changes" }), schema).await.unwrap();
            writer.write(rows(changes)).await.unwrap();
            assert!(writer.flush().await.unwrap().rejected.is_empty());
            writer.commit(&token(1)).await.unwrap();
            assert_eq!(server.rows("select id, name from t").await, [["9", "d"]]);
            writer.truncate(&[stream()]).await.unwrap();
            writer.commit(&token(2)).await.unwrap();
            assert_eq!(server.rows("select count(*) from t").await, [["0"]]);
        });
    }
}

#[test]
fn a_table_is_replaced_in_one_step() {
    for which in ALL {
        run(async {
            let server = Server::new(which, "replace").await;
            let connection = server.connection().await;
            for run in 1..=2 {
                let mut again = request(json!({ "mode": "replace" }));
                again.run = run;
                let mut writer = connection.writer(&again).await.unwrap();
                writer.schema(&StreamSchema::new(stream(), 0, schema_of(&columns()))).await.unwrap();
                let id = run as i64;
                writer.write(rows(batch(&[(id, Some("a")), (id + 10, None)]))).await.unwrap();
                writer.commit(&CommitToken { run, ..token(2 * run - 1) }).await.unwrap();
                if run == 2 {
                    assert_eq!(server.rows("select id from t order by id").await, [["1"], ["11"]]);
                }
                writer.finish(&CommitToken { run, ..token(2 * run) }).await.unwrap();
                let expected = [[id.to_string()], [(id + 10).to_string()]];
                assert_eq!(server.rows("select id from t order by id").await, expected);
                let left = server.rows("show tables like '\\_\\_hub\\_stage%'").await;
                assert!(left.is_empty(), "{left:?}");
            }
        });
    }
}

#[test]
fn a_second_writer_raises_the_fence() {
    for which in ALL {
        run(async {
            let server = Server::new(which, "fence").await;
            let connection = server.connection().await;
            let mut first = start(&*connection, json!({}), schema_of(&columns())).await.unwrap();
            first.write(rows(batch(&[(1, Some("a"))]))).await.unwrap();
            first.commit(&token(1)).await.unwrap();
            let mut second = start(&*connection, json!({}), schema_of(&columns())).await.unwrap();
            assert_eq!(second.start().last, Some(token(1)));
            first.write(rows(batch(&[(2, Some("b"))]))).await.unwrap();
            assert_eq!(first.commit(&token(2)).await.unwrap_err().kind, ErrorKind::Fenced);
            drop(first);
            assert_eq!(second.commit(&token(3)).await.unwrap_err().kind, ErrorKind::TokenConflict);
            drop(second);
            let mut third = start(&*connection, json!({}), schema_of(&columns())).await.unwrap();
            third.write(rows(batch(&[(3, Some("c"))]))).await.unwrap();
            third.commit(&token(2)).await.unwrap();
            assert_eq!(server.rows("select id from t order by id").await, [["1"], ["3"]]);
        });
    }
}

#[test]
fn statements_of_the_users_own_run_for_each_row() {
    for which in ALL {
        run(async {
            let server = Server::new(which, "template").await;
            server.run(&["CREATE TABLE sums (k varchar(10) PRIMARY KEY, n bigint)"]).await;
            let connection = server.connection().await;
            let statement =
                "INSERT INTO sums VALUES ({{name}}, {{id}}) ON DUPLICATE KEY UPDATE n = n + {{id}}";
            let options = json!({ "statements": [{ "on": "insert", "statement": statement }] });
            let mut writer = start(&*connection, options, schema_of(&columns())).await.unwrap();
            writer.write(rows(batch(&[(1, Some("a'\\")), (5, Some("b")), (2, Some("a'\\"))]))).await.unwrap();
            writer.commit(&token(1)).await.unwrap();
            assert_eq!(server.rows("select * from sums order by n").await, [["a'\\", "3"], ["b", "5"]]);
            let wrong = json!({ "statements": [{ "on": "insert", "statement": "insert into nothing values ({{id}})" }] });
            let error = start(&*connection, wrong, schema_of(&columns())).await.err().unwrap();
            assert_eq!((error.kind, error.field.as_deref()), (ErrorKind::NotFound, Some("statements")));
        });
    }
}

/// Both ends of a `float`, and one that a `double` holds with more digits.
/// An index over the beginnings of a key's values would put rows in each other's place.
#[test]
fn an_index_over_beginnings_is_no_key() {
    for which in ALL {
        run(async {
            let server = Server::new(which, "beginnings").await;
            server.run(&["CREATE TABLE t (id bigint, name varchar(40), data blob, UNIQUE (name(3)))"]).await;
            let connection = server.connection().await;
            let options = json!({ "mode": "upsert", "key": ["name"] });
            let error = start(&*connection, options.clone(), schema_of(&columns())).await.err().unwrap();
            assert_eq!(error.kind, ErrorKind::SchemaMismatch, "{error}");
            server.run(&["ALTER TABLE t ADD UNIQUE (name)"]).await;
            let mut writer = start(&*connection, options, schema_of(&columns())).await.unwrap();
            writer
                .write(rows(batch(&[(1, Some("abc1")), (2, Some("abd")), (3, Some("abc2"))])))
                .await
                .unwrap();
            let refused: Vec<_> = writer.flush().await.unwrap().rejected.iter().map(|row| row.row).collect();
            assert_eq!(refused, [2]);
        });
    }
}

#[test]
fn a_row_waits_for_its_parent_and_only_rows_without_one_are_refused() {
    for which in ALL {
        run(async {
            let server = Server::new(which, "tree").await;
            server
                .run(&[
                    "CREATE TABLE t (id bigint PRIMARY KEY, parent bigint, FOREIGN KEY (parent) REFERENCES t (id))",
                    "CREATE TABLE p (id bigint PRIMARY KEY, parent bigint) \
                     PARTITION BY RANGE (id) (PARTITION low VALUES LESS THAN (4))",
                ])
                .await;
            let connection = server.connection().await;
            let columns = [
                Column::new("id", LogicalType::Int64).not_null().key(0),
                Column::new("parent", LogicalType::Int64),
            ];
            let ids = Int64Array::from(vec![1, 2, 3, 4, 5]);
            let parents = Int64Array::from(vec![Some(2), Some(3), None, Some(9), Some(4)]);
            let schema = schema_of(&columns);
            let tree = RecordBatch::try_new(schema.clone(), vec![Arc::new(ids), Arc::new(parents)]).unwrap();
            let mut writer = start(&*connection, json!({}), schema.clone()).await.unwrap();
            writer.write(rows(tree.clone())).await.unwrap();
            let refused: Vec<_> = writer.flush().await.unwrap().rejected.iter().map(|row| row.row).collect();
            assert_eq!(refused, [3, 4], "{which:?}");
            drop(writer);
            let mut writer = start(&*connection, json!({ "table": "p" }), schema).await.unwrap();
            writer.write(rows(tree)).await.unwrap();
            let refused: Vec<_> = writer.flush().await.unwrap().rejected.iter().map(|row| row.row).collect();
            assert_eq!(refused, [3, 4], "{which:?}: rows that no partition takes");
        });
    }
}

#[test]
fn keys_that_are_equal_to_the_table_alone_are_warned_of() {
    for which in ALL {
        run(async {
            let server = Server::new(which, "equal").await;
            let context = Arc::new(TestContext::new().with_secret("password", &server.password));
            let connection = which.connector().connect(&server.config, &context.context()).await.unwrap();
            let warned = || context.logs().iter().any(|line| line.message.contains("the same row"));
            for (collation, warns) in [("utf8mb4_bin", false), ("utf8mb4_general_ci", true)] {
                let create = format!(
                    "CREATE TABLE t (id int, name varchar(9) COLLATE {collation} PRIMARY KEY, data blob)"
                );
                server.run(&["DROP TABLE IF EXISTS t", &create]).await;
                let options = json!({ "mode": "upsert", "key": ["name"] });
                drop(start(&*connection, options, schema_of(&columns())).await.unwrap());
                assert_eq!(warned(), warns, "{which:?} {collation}");
            }
        });
    }
}

/// Texts of one byte a character at the source have up to four here.
#[test]
fn tables_of_wide_rows_are_made() {
    for which in ALL {
        run(async {
            let server = Server::new(which, "wide").await;
            let column = |n: usize| format!("c{n} varchar(600) CHARACTER SET latin1");
            let many = (1..=100).map(column).collect::<Vec<_>>().join(", ");
            server
                .run(&[
                    &format!("CREATE TABLE s (id int PRIMARY KEY, {many})"),
                    "INSERT INTO s (id, c1, c100) VALUES (1, repeat('é', 600), 'z')",
                    "CREATE TABLE l (id int PRIMARY KEY, v varchar(20000) CHARACTER SET latin1, t tinytext CHARACTER SET latin1)",
                    "INSERT INTO l VALUES (1, repeat('é', 20000), repeat('ü', 200))",
                ])
                .await;
            let connection = server.connection().await;
            for table in ["s", "l"] {
                let read =
                    crate::support::read_statement(&*connection, &format!("select * from {table}")).await;
                let read = read.unwrap();
                let options = json!({ "table": format!("{table}_copy") });
                let mut writer = start(&*connection, options, read.arrow()).await.unwrap();
                writer.write(rows(read.one())).await.unwrap();
                writer.commit(&token(1)).await.unwrap();
                server.run(&["DROP TABLE __hub_commits"]).await;
            }
            let same = "select (select a.c1 = b.c1 and a.c100 = b.c100 from s a join s_copy b using (id)),
                (select a.v = b.v and a.t = b.t from l a join l_copy b using (id))";
            assert_eq!(server.rows(same).await, [["1", "1"]]);
        });
    }
}

#[test]
fn what_does_not_fit_is_refused_before_the_first_row() {
    for which in ALL {
        run(async {
            let server = Server::new(which, "misfit").await;
            server
                .run(&[
                    "CREATE TABLE t (id bigint PRIMARY KEY, name date, data blob)",
                    "CREATE TABLE old (id bigint PRIMARY KEY, name text, data blob) ENGINE = MyISAM",
                    "CREATE TABLE keyless (id bigint, name text, data blob)",
                ])
                .await;
            let connection = server.connection().await;
            for (options, kind) in [
                (json!({}), ErrorKind::SchemaMismatch),
                (json!({ "table": "old" }), ErrorKind::SchemaMismatch),
                (json!({ "table": "keyless", "mode": "upsert" }), ErrorKind::SchemaMismatch),
                (json!({ "table": "none", "create_table": false }), ErrorKind::NotFound),
                (json!({ "table": "new", "key": ["nothing"] }), ErrorKind::InvalidConfig),
            ] {
                let error = start(&*connection, options.clone(), schema_of(&columns())).await.err().unwrap();
                assert_eq!(error.kind, kind, "{options}: {error}");
            }
        });
    }
}
