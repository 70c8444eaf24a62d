//! Figures for people: `cargo test --release -p connector-sqlite speed -- --ignored --nocapture`.

use std::{sync::Arc, time::Instant};

use hub_plugin_api::{
    arrow::array::{
        ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray,
    },
    json,
    types::{Column, LogicalType, schema_of},
};

use crate::harness::{File, open, options, token, write};

const ROWS: usize = 1_000_000;
const BATCH: usize = 16_384;

fn columns() -> Vec<Column> {
    let decimal = LogicalType::Decimal { precision: 12, scale: 2 };
    let mut columns = vec![Column::new("l_orderkey", LogicalType::Int64).not_null().key(0)];
    columns.extend(["l_partkey", "l_suppkey"].map(|name| Column::new(name, LogicalType::Int32).not_null()));
    columns.push(Column::new("l_linenumber", LogicalType::Int32).not_null().key(1));
    columns.extend(
        ["l_quantity", "l_extendedprice", "l_discount", "l_tax"]
            .map(|name| Column::new(name, decimal.clone())),
    );
    columns.extend(["l_returnflag", "l_linestatus"].map(|name| Column::new(name, LogicalType::Text)));
    columns.extend(
        ["l_shipdate", "l_commitdate", "l_receiptdate"].map(|name| Column::new(name, LogicalType::Date)),
    );
    columns.extend(
        ["l_shipinstruct", "l_shipmode", "l_comment"].map(|name| Column::new(name, LogicalType::Text)),
    );
    columns
}

fn batch(from: usize, to: usize) -> RecordBatch {
    let range = || from..to;
    let int = |scale: usize| {
        Arc::new(range().map(|row| (row * scale % 200_000) as i32).collect::<Int32Array>()) as ArrayRef
    };
    let decimal = |scale: usize| {
        let array: Decimal128Array = range().map(|row| Some((row * scale % 10_000_000) as i128)).collect();
        Arc::new(array.with_precision_and_scale(12, 2).unwrap()) as ArrayRef
    };
    let date = |shift: usize| {
        Arc::new(range().map(|row| Some((8_000 + (row + shift) % 2_500) as i32)).collect::<Date32Array>())
            as ArrayRef
    };
    let text = |texts: &'static [&'static str]| {
        Arc::new(StringArray::from_iter_values(range().map(|row| texts[row % texts.len()]))) as ArrayRef
    };
    let arrays = vec![
        Arc::new(range().map(|row| (row / 4) as i64).collect::<Int64Array>()) as ArrayRef,
        int(7),
        int(13),
        Arc::new(range().map(|row| (row % 4) as i32).collect::<Int32Array>()),
        decimal(100),
        decimal(12_345),
        decimal(1),
        decimal(2),
        text(&["A", "N", "R"]),
        text(&["O", "F"]),
        date(0),
        date(30),
        date(45),
        text(&["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"]),
        text(&["TRUCK", "AIR", "RAIL", "SHIP", "MAIL"]),
        text(&[
            "egular courts above the",
            "ly final dependencies: slyly bold",
            "riously. regular, express dep",
        ]),
    ];
    RecordBatch::try_new(schema_of(&columns()), arrays).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "figures for people, not a test of behaviour"]
async fn a_million_rows_written_and_read() {
    let file = File::new("");
    let batches: Vec<_> =
        (0..ROWS).step_by(BATCH).map(|from| batch(from, (from + BATCH).min(ROWS))).collect();
    let start = Instant::now();
    let mut writer = file.writer(options(&[])).await;
    for (index, batch) in batches.iter().enumerate() {
        write(&mut *writer, batch).await.unwrap();
        if index % 16 == 15 {
            writer.commit(&token(1 + index as u64 / 16)).await.unwrap();
        }
    }
    writer.commit(&token(1 + batches.len() as u64 / 16)).await.unwrap();
    report("written", start);
    drop(writer);
    for (name, options) in [
        (
            "read with cursor",
            options(&[("table", json!("t")), ("cursor", json!(["l_orderkey", "l_linenumber"]))]),
        ),
        ("read without cursor", options(&[("table", json!("t"))])),
    ] {
        let start = Instant::now();
        let plan = file.plan(options).await;
        let mut reader = open(&*plan, &plan.description().splits[0], None, BATCH as u64).await;
        let mut rows = 0;
        loop {
            match reader.next(std::time::Duration::from_secs(1)).await.unwrap() {
                hub_plugin_api::Event::Rows(batch) => rows += batch.batch.num_rows(),
                hub_plugin_api::Event::End => break,
                _ => {}
            }
        }
        assert_eq!(rows, ROWS);
        report(name, start);
    }
}

fn report(what: &str, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{what}: {seconds:.2} s, {:.0} k rows/s", ROWS as f64 / seconds / 1000.0);
}
