//! Every type of the boundary has a place, and PostgreSQL's own types come back as they were.

use std::sync::Arc;

use hub_plugin_api::{
    Config, Rows, StreamId, StreamSchema,
    arrow::array::{
        ArrayRef, Decimal128Array, DurationMicrosecondArray, Float64Array, Int64Array,
        Time64MicrosecondArray, TimestampMicrosecondArray,
    },
    json,
    testing::every_type,
    types::{Column, LogicalType, Unit},
};

use super::server::{Server, Stream, token};
use crate::support;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_logical_type_is_stored_or_its_row_is_rejected() {
    let server = Server::new().await;
    let mut lines = Vec::new();
    for (index, values) in every_type().into_iter().enumerate() {
        let stream = Stream::new(&format!("t{index}"), std::slice::from_ref(&values.column));
        let mut writer = server.writer(Config::new()).await;
        let n = writer.start().last.map_or(0, |token| token.n);
        writer.schema(&stream.announce()).await.unwrap();
        writer.write(stream.rows(vec![values.typical.clone()])).await.unwrap();
        assert_eq!(writer.flush().await.unwrap().rejected, [], "{:?}", values.column);
        writer.write(stream.rows(vec![values.extreme.clone()])).await.unwrap();
        let rejected = writer.flush().await.unwrap().rejected;
        writer.commit(&token(n + 1)).await.unwrap();
        let stored = server.rows(&format!("select count(*) from t{index}")).await;
        let kept = values.typical.len() + values.extreme.len() - rejected.len();
        assert_eq!(stored, [kept.to_string()]);
        let of = server.rows(&format!("select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 't{index}'::regclass and attnum = 1")).await;
        let mut samples = server
            .rows(&format!(
                "select distinct left(value::text, 60) from t{index} where value is not null order by 1"
            ))
            .await;
        samples.truncate(4);
        let rejected: Vec<_> = rejected
            .iter()
            .map(|one| {
                format!(
                    "    {} {}",
                    one.row,
                    one.reason.split(" value of column ").last().unwrap_or_default()
                )
            })
            .collect();
        let mut logical = format!("{:?}", values.column.logical);
        if values.column.infinity {
            logical.push_str(" with infinities");
        }
        lines.push(format!("{logical} -> {}: {}", of[0], samples.join(" | ")));
        lines.extend(rejected);
    }
    insta::with_settings!({ filters => vec![(r"write_\d+_\d+", "S"), (r"\(character \d+\)", "")] }, {
        insta::assert_snapshot!(lines.join("\n"));
    });
    server.done().await;
}

/// Reads a table through the connector, and writes all of it into a table of another name that it creates.
async fn move_table(server: &Server, from: &str, to: &str, key: &[&str]) {
    let statement = format!("select * from {}.{from}", server.schema);
    // 24:00, infinities in a list, lower bounds and more dimensions are only carried as text.
    let options = json!({ "statement": statement, "as_text": ["tm", "ats", "ai", "ai2"] });
    let read = support::read(server.connection.as_ref(), options).await.unwrap().remove(0);
    let options = Config::new().with("table", to).with("key", json!(key));
    let mut writer = server.writer(options).await;
    let n = writer.start().last.map_or(0, |token| token.n);
    let stream = StreamId::named(from);
    writer.schema(&StreamSchema::new(stream.clone(), 0, read.arrow())).await.unwrap();
    for batch in read.batches {
        writer.write(Rows { stream: stream.clone(), schema_id: 0, batch }).await.unwrap();
    }
    assert_eq!(writer.flush().await.unwrap().rejected, []);
    writer.commit(&token(n + 1)).await.unwrap();
}

const ATTRIBUTES: &str = "select attname, format_type(atttypid, atttypmod) from pg_attribute \
                          where attnum > 0 and not attisdropped and attrelid = $TABLE order by attnum";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn postgres_types_come_back_as_they_were() {
    let server = Server::new().await;
    server
        .run(
            r#"create type mood as enum ('sad', 'so "so"', 'happy'); create type pair as (a int, b text);
               create domain positive as numeric(8,3) check (value > 0); create domain twice as positive;
               create table src (
                 id bigint not null primary key, b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision,
                 n12 numeric(12,2), n76 numeric(76,38), n numeric, nneg numeric(5,-2), big numeric(100,50),
                 t text, vc varchar(5), c char(4), nm name, ch "char", by bytea, d date, tm time, tm2 time(2), ttz timetz,
                 ts timestamp, ts3 timestamp(3), tz timestamptz, tz0 timestamptz(0), iv interval, iv2 interval day to second(2),
                 u uuid, j json, jb jsonb, x xml, mny money, ip inet, cd cidr, mac macaddr, mac8 macaddr8,
                 bt bit(3), vb varbit(10), r4 int4range, rn numrange, rtz tstzrange, mr int4multirange, pt point, bx box,
                 tv tsvector, tq tsquery, m mood, p pair, dm positive, dd twice, o oid, lsn pg_lsn,
                 ai int[], at text[], an numeric(6,2)[], aip inet[], am mood[], ats timestamptz[], ab bytea[], aj jsonb[], ai2 int[][]
               );
               insert into src (id) values (0);
               insert into src values (1, true, -32768, -2147483648, -9223372036854775808, 'NaN', '-Infinity',
                 -9999999999.99, '12345678901234567890123456789012345678.12345678901234567890123456789012345678', 'NaN', 12300, '1e40',
                 E'a\tb\\', 'ab   ', 'x', 'nam', 'z', '\x00ff', '-infinity', '24:00', '01:02:03.04', '24:00:00-08',
                 'infinity', '2020-01-01 00:00:00.123', '-infinity', '2020-06-01 12:00:00+02', '1 year -3 days 04:05:06.789', '3 days 01:02:03.45',
                 '00000000-0000-0000-0000-000000000000', '{"b":1,  "a":1, "a":2}', '{"b":1.50, "a":[1e400]}', '<a>ä</a>', -12.34, '10.0.0.1/8', '10.0.0.0/8',
                 '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', b'101', b'1', '[1,5)', '(,3.5]', '[2020-01-01 00:00Z,infinity)', '{[1,2),[5,9)}', '(1,2.5)', '(1,2),(3,4)',
                 'a:1 b:2', 'a & !b', 'so "so"', '(1,"a,""b")', 12.345, 0.001, 4294967295, '16/B374D848',
                 '{1,NULL,3}', '{"a,b",NULL,"","\"q\""}', '{1.50,NULL}', '{10.0.0.1,::1/64}', '{sad,"so \"so\""}', '{infinity,"2020-01-01 00:00Z"}', '{"\\x00"}', '{"{\"a\": 1}"}', '{{1,2},{3,4}}');
               insert into src (id, d, ts, tz, n, t, iv, f8, f4, ai, at, n76, big) values
                 (2, '4713-11-24 BC', '4713-11-24 00:00:00 BC', '4713-11-24 00:00:00Z BC', 'Infinity', '', '-178000000 years', 5e-324, 1e-45, '{}', '{}', -0.5, -1e-50),
                 (3, '5874897-12-31', '294246-12-31 23:59:59.999999', '294246-12-31 23:59:59.999999Z', '-Infinity', 'ö', '-2147483648 days', 1.7976931348623157e308, 3.4e38, null, null, 0, 0),
                 (4, '0001-12-31 BC', '0044-03-15 BC', 'epoch', 0.000, null, '0', '-0', 0.1, '[2:3]={7,8}', null, 1e37, null),
                 (5, null, null, null, 1e-200, null, null, null, null, null, null, null, null),
                 (6, null, null, null, 1e200, null, null, null, null, null, null, null, null)"#,
        )
        .await;
    move_table(&server, "src", "dst", &["id"]).await;
    let of = |table: &str| ATTRIBUTES.replace("$TABLE", &format!("'{}.{table}'::regclass", server.schema));
    assert_eq!(server.rows(&of("dst")).await, server.rows(&of("src")).await);
    assert_eq!(server.rows("select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'dst'::regclass").await, ["dst_pkey|PRIMARY KEY (id)"]);
    let compare = "select column_name from information_schema.columns where table_schema = current_schema and table_name = 'src'";
    for column in server.rows(compare).await {
        let difference = format!(
            "select s.id, s.\"{column}\"::text, d.\"{column}\"::text from src s full join dst d using (id)
             where s.\"{column}\"::text is distinct from d.\"{column}\"::text"
        );
        assert_eq!(server.rows(&difference).await, [""; 0], "column {column}");
    }
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn types_that_the_destination_lacks_become_text() {
    let server = Server::new().await;
    let columns = [
        Column::new("id", LogicalType::Int32).not_null().key(0).declared("postgres", "integer"),
        Column::new("m", LogicalType::Enum(vec!["a".into()])).declared("postgres", "far_away.mood"),
        Column::new("d", LogicalType::Decimal { precision: 8, scale: 3 }).declared("postgres", "price"),
        Column::new(
            "p",
            LogicalType::Opaque { type_name: "pair".into(), vendor_name: "postgres".into(), binary: false },
        )
        .declared("postgres", "\"My pair\""),
    ];
    let stream = Stream::new("t", &columns);
    let mut writer = server.writer(Config::new()).await;
    writer.schema(&stream.announce()).await.unwrap();
    drop(writer);
    let of = ATTRIBUTES.replace("$TABLE", "'t'::regclass");
    assert_eq!(server.rows(&of).await, ["id|integer", "m|text", "d|numeric(8,3)", "p|text"]);
    assert_eq!(
        server.context.logs().iter().filter(|log| log.message.contains("does not exist here")).count(),
        3
    );
    server.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_is_rounded_by_the_server() {
    let server = Server::new().await;
    server
        .run(
            "create table t (n numeric(6,1), ts timestamp(0), tm time(1), f real, i smallint, iv interval(1))",
        )
        .await;
    let decimal: ArrayRef =
        Arc::new(Decimal128Array::from(vec![120, 125]).with_precision_and_scale(10, 2).unwrap());
    let cases: Vec<(&str, LogicalType, ArrayRef)> = vec![
        ("n", LogicalType::Decimal { precision: 10, scale: 2 }, decimal),
        (
            "ts",
            LogicalType::Timestamp { unit: Unit::Microsecond, utc: false },
            Arc::new(TimestampMicrosecondArray::from(vec![3_000_000, 3_000_001])),
        ),
        (
            "tm",
            LogicalType::Time(Unit::Microsecond),
            Arc::new(Time64MicrosecondArray::from(vec![100_000, 110_000])),
        ),
        ("f", LogicalType::Float64, Arc::new(Float64Array::from(vec![0.5, 0.1]))),
        ("i", LogicalType::Int64, Arc::new(Int64Array::from(vec![32_767, 32_768]))),
        (
            "iv",
            LogicalType::Duration(Unit::Microsecond),
            Arc::new(DurationMicrosecondArray::from(vec![100_000, 110_000])),
        ),
    ];
    for (n, (name, logical, array)) in cases.into_iter().enumerate() {
        let stream = Stream::new("t", &[Column::new(name, logical)]);
        let mut writer = server.writer(Config::new()).await;
        writer.schema(&stream.announce()).await.unwrap();
        writer.write(stream.rows(vec![array])).await.unwrap();
        let rejected = writer.flush().await.unwrap().rejected;
        assert_eq!(rejected.iter().map(|one| one.row).collect::<Vec<_>>(), [1], "{name}");
        writer.commit(&token(n as u64 + 1)).await.unwrap();
    }
    let stored =
        "select string_agg(coalesce(n::text, ts::text, tm::text, f::text, i::text, iv::text), ' ') from t";
    assert_eq!(server.rows(stored).await, ["1.2 1970-01-01 00:00:03 00:00:00.1 0.5 32767 00:00:00.1"]);
    server.done().await;
}
