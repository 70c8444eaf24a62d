//! Values are stored as they come, or refused.

use std::sync::Arc;

use hub_plugin_api::{
    ErrorKind,
    arrow::array::{Array, ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray},
    json,
    types::{Column, LogicalType, schema_of},
};

use super::{batch, columns, rows, start, token};
use crate::support::{ALL, Server, run};

#[test]
fn single_numbers_are_written_to_the_last_bit() {
    let values = [f32::MAX, f32::MIN, 1e-45, f32::MIN_POSITIVE, 0.1];
    for which in ALL {
        run(async {
            let server = Server::new(which, "single").await;
            server.run(&["CREATE TABLE t (id bigint PRIMARY KEY, f float, d double)"]).await;
            let connection = server.connection().await;
            let columns = [
                Column::new("id", LogicalType::Int64).not_null().key(0),
                Column::new("f", LogicalType::Float32),
                Column::new("d", LogicalType::Float32),
            ];
            let floats: ArrayRef = Arc::new(Float32Array::from(values.to_vec()));
            let ids = Arc::new(Int64Array::from_iter_values(0..values.len() as i64));
            let schema = schema_of(&columns);
            let batch = RecordBatch::try_new(schema.clone(), vec![ids, floats.clone(), floats]).unwrap();
            let mut writer = start(&*connection, json!({}), schema).await.unwrap();
            writer.write(rows(batch)).await.unwrap();
            writer.commit(&token(1)).await.unwrap();
            let found = server.rows("select f * 1e0, d from t order by id").await;
            for (value, row) in values.iter().zip(found) {
                let expected = f64::from(*value);
                assert_eq!(
                    row.iter().map(|text| text.parse::<f64>().unwrap()).collect::<Vec<_>>(),
                    [expected; 2]
                );
            }
        });
    }
}

/// In spite of their strict mode the servers store another value, with a note or without a word.
#[test]
fn values_that_a_column_would_change_refuse_their_row() {
    let texts = |values: &[&str]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let blanks = " ".repeat(300);
    let cases: [(&str, LogicalType, ArrayRef); 6] = [
        ("tinytext", LogicalType::Text, texts(&["kept ", &blanks])),
        ("enum('abc','')", LogicalType::Text, texts(&["abc", "1", "", "ABC"])),
        ("set('a','b')", LogicalType::Text, texts(&["b,a", "1", "", "B"])),
        ("year", LogicalType::Int64, Arc::new(Int64Array::from(vec![2024, 24, 0, 1]))),
        ("double(10,3)", LogicalType::Float64, Arc::new(Float64Array::from(vec![1.125, 1.0625]))),
        ("float(7,4)", LogicalType::Float32, Arc::new(Float32Array::from(vec![2.0625, 2.062_512_3]))),
    ];
    for which in ALL {
        run(async {
            let server = Server::new(which, "kept").await;
            let connection = server.connection().await;
            for (declared, logical, values) in &cases {
                for load in ["auto", "insert"] {
                    let create = format!("CREATE TABLE t (id bigint PRIMARY KEY, v {declared})");
                    server.run(&["DROP TABLE IF EXISTS t, __hub_commits", &create]).await;
                    let columns = [
                        Column::new("id", LogicalType::Int64).not_null().key(0),
                        Column::new("v", logical.clone()),
                    ];
                    let schema = schema_of(&columns);
                    let ids = Int64Array::from_iter_values(0..values.len() as i64);
                    let batch =
                        RecordBatch::try_new(schema.clone(), vec![Arc::new(ids), values.clone()]).unwrap();
                    let mut writer = start(&*connection, json!({ "load": load }), schema).await.unwrap();
                    writer.write(rows(batch)).await.unwrap();
                    let refused: Vec<_> =
                        writer.flush().await.unwrap().rejected.iter().map(|row| row.row).collect();
                    let odd: Vec<_> = (1..values.len() as u64).step_by(2).collect();
                    assert_eq!(refused, odd, "{which:?} {declared} {load}");
                    if *declared == "year" {
                        writer.commit(&token(1)).await.unwrap();
                        assert_eq!(server.rows("select v from t order by id").await, [["2024"], ["0000"]]);
                    }
                }
            }
        });
    }
}

#[test]
fn a_column_that_needs_a_value_and_gets_none_stops_the_run() {
    for which in ALL {
        run(async {
            let server = Server::new(which, "needs").await;
            server
                .run(&["CREATE TABLE t (id bigint PRIMARY KEY, name text, data blob, n int NOT NULL)"])
                .await;
            let connection = server.connection().await;
            for load in ["auto", "insert"] {
                let mut writer =
                    start(&*connection, json!({ "load": load }), schema_of(&columns())).await.unwrap();
                writer.write(rows(batch(&[(1, Some("a")), (2, Some("b"))]))).await.unwrap();
                let error = writer.flush().await.unwrap_err();
                assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::SchemaMismatch, Some("1364")));
            }
            server.run(&["CREATE TRIGGER fill BEFORE INSERT ON t FOR EACH ROW SET NEW.n = NEW.id * 2"]).await;
            let mut writer = start(&*connection, json!({}), schema_of(&columns())).await.unwrap();
            writer.write(rows(batch(&[(1, Some("a"))]))).await.unwrap();
            writer.commit(&token(1)).await.unwrap();
            assert_eq!(server.rows("select id, n from t").await, [["1", "2"]]);
        });
    }
}
