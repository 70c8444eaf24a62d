//! Values made up by the thousand come back as they were written.

use std::sync::Arc;

use hub_plugin_api::{
    Config,
    arrow::array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
        Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, StringArray,
        Time64MicrosecondArray, TimestampMicrosecondArray,
    },
    arrow::datatypes::{Int64Type, IntervalMonthDayNano},
    testing::cell,
    types::{Column, LogicalType, Unit},
};
use proptest::{collection::vec, option, prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

use super::server::{Server, Stream, token};
use crate::support;

const ROWS: usize = 3000;

/// The same values in every run.
fn values<S: Strategy>(runner: &mut TestRunner, strategy: S) -> Vec<Option<S::Value>>
where
    S::Value: Clone,
{
    vec(option::weighted(0.9, strategy), ROWS).new_tree(runner).unwrap().current()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn made_up_values_come_back() {
    let server = Server::new().await;
    let runner = &mut TestRunner::deterministic();
    let largest = 10_i128.pow(38) - 1;
    let text = "[^\\x00]{0,40}";
    let decimal = |values: Vec<Option<i128>>, scale| -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, scale).unwrap())
    };
    let shifted = (-largest..=largest, 0_u32..127).prop_map(|(value, shift)| value >> shift);
    let span = (any::<i32>(), any::<i32>(), any::<i64>())
        .prop_map(|(months, days, micros)| IntervalMonthDayNano::new(months, days, micros / 1000 * 1000));
    let timestamp = LogicalType::Timestamp { unit: Unit::Microsecond, utc: true };
    let lists = values(runner, vec(option::of(any::<i64>()), 0..5));
    let columns: Vec<(LogicalType, ArrayRef)> = vec![
        (LogicalType::Int16, Arc::new(Int16Array::from(values(runner, any::<i16>())))),
        (LogicalType::Int32, Arc::new(Int32Array::from(values(runner, any::<i32>())))),
        (LogicalType::Int64, Arc::new(Int64Array::from(values(runner, any::<i64>())))),
        (LogicalType::Boolean, Arc::new(BooleanArray::from(values(runner, any::<bool>())))),
        (LogicalType::Float32, Arc::new(Float32Array::from(values(runner, any::<f32>())))),
        (LogicalType::Float64, Arc::new(Float64Array::from(values(runner, any::<f64>())))),
        (LogicalType::Decimal { precision: 38, scale: 0 }, decimal(values(runner, shifted.clone()), 0)),
        (LogicalType::Decimal { precision: 38, scale: 7 }, decimal(values(runner, shifted.clone()), 7)),
        (LogicalType::Decimal { precision: 38, scale: 38 }, decimal(values(runner, shifted), 38)),
        (LogicalType::Text, Arc::new(StringArray::from(values(runner, text)))),
        (LogicalType::Binary, Arc::new(BinaryArray::from_iter(values(runner, vec(any::<u8>(), 0..40))))),
        (LogicalType::Date, Arc::new(Date32Array::from(values(runner, -2_000_000..2_000_000_000)))),
        (
            LogicalType::Time(Unit::Microsecond),
            Arc::new(Time64MicrosecondArray::from(values(runner, 0..86_400_000_000_i64))),
        ),
        (
            timestamp,
            Arc::new(
                TimestampMicrosecondArray::from(values(runner, -200_000_000_000_000_000..i64::MAX))
                    .with_timezone("UTC"),
            ),
        ),
        (LogicalType::Interval, Arc::new(IntervalMonthDayNanoArray::from(values(runner, span)))),
        (
            LogicalType::List(Box::new(LogicalType::Int64)),
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)),
        ),
    ];
    let named = columns
        .iter()
        .enumerate()
        .map(|(index, (logical, _))| Column::new(format!("c{index}"), logical.clone()));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS as i64));
    let stream = Stream::new(
        "t",
        &std::iter::once(Column::new("id", LogicalType::Int64).not_null().key(0))
            .chain(named)
            .collect::<Vec<_>>(),
    );
    let written =
        stream.rows(std::iter::once(ids).chain(columns.into_iter().map(|column| column.1)).collect());
    let mut writer = server.writer(Config::new()).await;
    writer.schema(&stream.announce()).await.unwrap();
    writer.write(written.clone()).await.unwrap();
    assert_eq!(writer.flush().await.unwrap().rejected, []);
    writer.commit(&token(1)).await.unwrap();
    let statement = format!("select * from {}.t order by id", server.schema);
    let read = support::read_statement(server.connection.as_ref(), &statement).await.unwrap().one();
    assert_eq!(read.num_rows(), ROWS);
    for (index, field) in stream.schema.fields().iter().enumerate() {
        let column = Column::from_field(field).unwrap();
        for row in 0..ROWS {
            let (was, is) = (written.batch.column(index), read.column(index));
            assert_eq!(
                cell(&column, is, row).unwrap(),
                cell(&column, was, row).unwrap(),
                "column {index}, row {row}"
            );
        }
    }
    server.done().await;
}
