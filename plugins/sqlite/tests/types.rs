use std::sync::Arc;

use hub_plugin_api::{
    ErrorKind,
    arrow::{
        array::{
            Array, ArrayRef, AsArray, BinaryArray, Decimal128Array, Float64Array, Int64Array, RecordBatch,
            StringArray, TimestampNanosecondArray,
        },
        compute::concat_batches,
    },
    json,
    testing::every_type,
    types::{Column, LogicalType, Unit, columns_of, schema_of},
};
use proptest::prelude::*;

use crate::harness::{File, batches, drain, open, options, read_all, token, write};

/// Writes a batch into a table made for it, and reads the table.
async fn there_and_back(batch: &RecordBatch) -> RecordBatch {
    let file = File::new("");
    let mut writer = file.writer(options(&[("mode", json!("append"))])).await;
    write(&mut *writer, batch).await.unwrap();
    assert_eq!(writer.flush().await.unwrap().rejected, []);
    writer.commit(&token(1)).await.unwrap();
    drop(writer);
    let plan = file.plan(options(&[("table", json!("t"))])).await;
    let mut reader = open(&*plan, &plan.description().splits[0], None, 1_000_000).await;
    let (found, _) = batches(&drain(&mut *reader).await.unwrap());
    concat_batches(&found[0].schema(), &found).unwrap()
}

/// Equal also where a value is NaN, which equals nothing.
fn assert_equal(found: &ArrayRef, expected: &ArrayRef) {
    match (
        found.as_primitive_opt::<hub_plugin_api::arrow::datatypes::Float64Type>(),
        expected.data_type().is_floating(),
    ) {
        (Some(found), true) => {
            let bits =
                |array: &Float64Array| array.iter().map(|one| one.map(f64::to_bits)).collect::<Vec<_>>();
            assert_eq!(bits(found), bits(expected.as_primitive()));
        }
        (None, true) => {
            let bits = |array: &ArrayRef| {
                array
                    .as_primitive::<hub_plugin_api::arrow::datatypes::Float32Type>()
                    .iter()
                    .map(|one| one.map(f32::to_bits))
                    .collect::<Vec<_>>()
            };
            assert_eq!(bits(found), bits(expected));
        }
        _ => assert_eq!(found, expected),
    }
}

#[tokio::test]
async fn every_type_comes_back_with_all_that_its_source_said_of_it() {
    for values in every_type() {
        for (array, is_declared) in [(&values.typical, true), (&values.extreme, false)] {
            let mut column = Column { name: "c".into(), ..values.column.clone() };
            if is_declared {
                column = column.declared("postgres", "some type(1,2)[]");
            }
            let batch = RecordBatch::try_new(schema_of(&[column.clone()]), vec![Arc::clone(array)]).unwrap();
            if batch.num_rows() == 0 {
                continue;
            }
            let back = there_and_back(&batch).await;
            assert_eq!(columns_of(back.schema_ref()).unwrap(), [column.clone()]);
            assert_equal(back.column(0), array);
        }
    }
}

#[tokio::test]
async fn copy_within_sqlite_has_the_same_declared_types_and_key() {
    let definition = "(a VARCHAR(20) NOT NULL, b DECIMAL(12,2), c INTEGER NOT NULL, d DOUBLE PRECISION, e DATETIME, PRIMARY KEY (c, a))";
    let source = File::new(&format!(
        "create table t {definition}; insert into t values ('x', 12.34, 1, 0.1, '2020-01-01 00:00:00')"
    ));
    let rows = read_all(&*source.plan(options(&[("table", json!("t"))])).await).await.unwrap();
    let target = File::new("");
    let mut writer = target.writer(options(&[])).await;
    write(&mut *writer, &rows[0]).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
    let shape = "select group_concat(name || ' ' || type || ' ' || \"notnull\" || ' ' || pk, ',') from pragma_table_info('t')";
    assert_eq!(target.value::<String>(shape), source.value::<String>(shape));
    let sum = "select a || ' ' || b || ' ' || c || ' ' || d || ' ' || typeof(b) from t";
    assert_eq!(target.value::<String>(sum), source.value::<String>(sum));
}

#[tokio::test]
async fn true_type_is_in_the_declared_name() {
    let columns = [
        Column::new("price", LogicalType::Decimal { precision: 20, scale: 2 }).not_null(),
        Column::new("at", LogicalType::Timestamp { unit: Unit::Nanosecond, utc: true }),
    ];
    let price =
        Decimal128Array::from(vec![12_345_678_901_234_567_891]).with_precision_and_scale(20, 2).unwrap();
    let at = TimestampNanosecondArray::from(vec![1]).with_timezone("UTC");
    let batch = RecordBatch::try_new(schema_of(&columns), vec![Arc::new(price), Arc::new(at)]).unwrap();
    let file = File::new("");
    let mut writer = file.writer(options(&[])).await;
    write(&mut *writer, &batch).await.unwrap();
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(
        file.value::<String>("select price || ' ' || at from t"),
        "123456789012345678.91 1970-01-01 00:00:00.000000001Z"
    );
    // Without the notes the names alone say it.
    file.sql().execute_batch("drop table __hub_columns").unwrap();
    let rows = read_all(&*file.plan(options(&[("table", json!("t"))])).await).await.unwrap();
    assert_eq!(rows[0].columns(), batch.columns());
}

#[tokio::test]
async fn table_that_would_round_refuses_the_row() {
    let file = File::new("create table t (v decimal(20,2))");
    let columns = [Column::new("v", LogicalType::Decimal { precision: 20, scale: 2 })];
    let values = Decimal128Array::from(vec![1234, 12_345_678_901_234_567_891])
        .with_precision_and_scale(20, 2)
        .unwrap();
    let batch = RecordBatch::try_new(schema_of(&columns), vec![Arc::new(values)]).unwrap();
    let mut writer = file.writer(options(&[])).await;
    write(&mut *writer, &batch).await.unwrap();
    let rejected = writer.flush().await.unwrap().rejected;
    assert_eq!((rejected.len(), rejected[0].row, rejected[0].kind), (1, 1, ErrorKind::InvalidData));
    writer.commit(&token(1)).await.unwrap();
    assert_eq!(file.value::<f64>("select v from t"), 12.34);
}

#[tokio::test]
async fn column_without_an_exact_place_is_refused_before_the_first_row() {
    for (declared, logical, values) in [
        ("integer", LogicalType::Text, Arc::new(StringArray::from(vec!["007"])) as ArrayRef),
        ("text", LogicalType::Float64, Arc::new(Float64Array::from(vec![0.1]))),
        ("blob", LogicalType::Text, Arc::new(StringArray::from(vec!["a"]))),
    ] {
        let file = File::new(&format!("create table t (v {declared})"));
        let batch = RecordBatch::try_new(schema_of(&[Column::new("v", logical)]), vec![values]).unwrap();
        let mut writer = file.writer(options(&[])).await;
        let error = write(&mut *writer, &batch).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::SchemaMismatch);
        assert!(error.message.to_lowercase().contains(declared) && error.hint.is_some(), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_values_come_back(
        rows in prop::collection::vec(
            (any::<Option<i64>>(), any::<Option<u64>>(), any::<Option<i128>>(), any::<Option<String>>(), any::<Option<Vec<u8>>>()),
            1..50,
        ),
    ) {
        let columns = [
            Column::new("i", LogicalType::Int64),
            Column::new("f", LogicalType::Float64),
            Column::new("d", LogicalType::Decimal { precision: 38, scale: 9 }),
            Column::new("t", LogicalType::Text),
            Column::new("b", LogicalType::Binary),
            Column::new("at", LogicalType::Timestamp { unit: Unit::Nanosecond, utc: false }),
        ];
        // One NaN only: the bits within others are not the value's.
        let float = |bits: u64| { let value = f64::from_bits(bits); if value.is_nan() { f64::NAN } else { value } };
        let decimals: Decimal128Array = rows.iter().map(|row| row.2.map(|value| value % 10_i128.pow(38))).collect();
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.1.map(float)).collect::<Float64Array>()),
            Arc::new(decimals.with_precision_and_scale(38, 9).unwrap()),
            Arc::new(rows.iter().map(|row| row.3.clone()).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.4.clone()).collect::<BinaryArray>()),
            Arc::new(rows.iter().map(|row| row.0).collect::<TimestampNanosecondArray>()),
        ];
        let batch = RecordBatch::try_new(schema_of(&columns), arrays).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let back = runtime.block_on(there_and_back(&batch));
        for (found, expected) in back.columns().iter().zip(batch.columns()) {
            assert_equal(found, expected);
        }
    }
}
