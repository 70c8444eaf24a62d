//! One of every row of the table of types, with ordinary values and values at the edge.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
        DurationMicrosecondArray, FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array, Int16Array,
        Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, MapArray, StringArray, StructArray,
        Time64MicrosecondArray, Time64NanosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
        TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{DataType, IntervalMonthDayNano, i256},
};

use crate::types::{Column, LogicalType, Unit};

/// Values of one type. Both arrays are what carries the column.
#[derive(Clone, Debug)]
pub struct EdgeValues {
    /// The type, and what goes with it.
    pub column: Column,
    /// Values that every writer of this type can store, a null among them.
    pub typical: ArrayRef,
    /// Values that a destination may be too narrow for.
    pub extreme: ArrayRef,
}

/// Ordinary and extreme values of every row of the table of types, all columns nullable.
pub fn every_type() -> Vec<EdgeValues> {
    [numbers(), decimals(), texts(), times(), nested()].into_iter().flatten().collect()
}

fn of(logical: LogicalType, typical: impl Into<ArrayRef>, extreme: impl Into<ArrayRef>) -> EdgeValues {
    EdgeValues { column: Column::new("value", logical), typical: typical.into(), extreme: extreme.into() }
}

fn with_infinity(mut values: EdgeValues) -> EdgeValues {
    values.column.infinity = true;
    values
}

/// An array of nullable values as a shared one.
macro_rules! array {
    ($t:ident: $($value:expr),* $(,)?) => {
        Arc::new(<$t>::from(vec![$($value),*])) as ArrayRef
    };
}

macro_rules! nullable {
    ($t:ident: $($value:expr),* $(,)?) => {
        Arc::new(<$t>::from(vec![$(Some($value)),*, None])) as ArrayRef
    };
}

fn numbers() -> Vec<EdgeValues> {
    macro_rules! integer {
        ($logical:ident, $array:ident, $t:ty) => {
            of(LogicalType::$logical, nullable!($array: 0, 1, 100), array!($array: <$t>::MIN, <$t>::MAX))
        };
    }
    vec![
        of(
            LogicalType::Boolean,
            nullable!(BooleanArray: true, false),
            Arc::new(BooleanArray::builder(0).finish()) as ArrayRef,
        ),
        integer!(Int8, Int8Array, i8),
        integer!(Int16, Int16Array, i16),
        integer!(Int32, Int32Array, i32),
        integer!(Int64, Int64Array, i64),
        integer!(UInt8, UInt8Array, u8),
        integer!(UInt16, UInt16Array, u16),
        integer!(UInt32, UInt32Array, u32),
        integer!(UInt64, UInt64Array, u64),
        of(
            LogicalType::Float32,
            nullable!(Float32Array: 0.0, 1.5, -0.25, 0.1),
            array!(Float32Array: f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY),
        ),
        of(
            LogicalType::Float64,
            nullable!(Float64Array: 0.0, 1.5, -0.25, 0.1),
            array!(Float64Array: f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY),
        ),
    ]
}

fn decimals() -> Vec<EdgeValues> {
    let narrow = |precision: u8, scale: u8, typical: Vec<Option<i128>>, extreme: Vec<i128>| {
        let places = i8::try_from(scale).unwrap_or_default();
        let array = |array: Decimal128Array| {
            Arc::new(
                array.with_precision_and_scale(precision, places).unwrap_or_else(|e| unreachable!("{e}")),
            ) as ArrayRef
        };
        of(LogicalType::Decimal { precision, scale }, array(typical.into()), array(extreme.into()))
    };
    let wide = |precision: u8, scale: u8, typical: Vec<Option<i256>>, extreme: Vec<i256>| {
        let places = i8::try_from(scale).unwrap_or_default();
        let array = |array: Decimal256Array| {
            Arc::new(
                array.with_precision_and_scale(precision, places).unwrap_or_else(|e| unreachable!("{e}")),
            ) as ArrayRef
        };
        of(LogicalType::Decimal { precision, scale }, array(typical.into()), array(extreme.into()))
    };
    let nines = |digits: u32| 10_i128.pow(digits) - 1;
    let wide_nines = i256::from_string(&"9".repeat(76)).unwrap_or(i256::ONE);
    let long = format!("{}.{}", "123456789".repeat(11), "987654321".repeat(5));
    vec![
        narrow(12, 2, vec![Some(12_345), Some(-1), Some(0), None], vec![nines(12), -nines(12)]),
        // What binary floating point rounds.
        narrow(20, 2, vec![Some(12_345_678_901_234_567_891), None], vec![nines(20), -nines(20)]),
        narrow(38, 0, vec![Some(7), None], vec![nines(38), -nines(38)]),
        narrow(38, 38, vec![Some(10_i128.pow(37) * 5), None], vec![1, -nines(38)]),
        wide(40, 10, vec![Some(i256::from_i128(12_345_678_901)), None], vec![]),
        wide(76, 38, vec![Some(i256::from_i128(1)), None], vec![wide_nines, wide_nines.wrapping_neg()]),
        of(
            LogicalType::DecimalText { precision: None, scale: None },
            nullable!(StringArray: "1.5", "-0.001", "0", "123456789012345678901234567890.5"),
            array!(StringArray: "NaN", "Infinity", "-Infinity", long.as_str()),
        ),
    ]
}

fn texts() -> Vec<EdgeValues> {
    let fixed = |values: &[Option<&[u8]>], length| {
        let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.iter().copied(), length);
        Arc::new(array.unwrap_or_else(|error| unreachable!("{error}"))) as ArrayRef
    };
    let long = "0123456789abcdef".repeat(6250);
    let uuid: &[u8] =
        &[0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0];
    // A point at (1, 2), and one at (-0.5, 1e300): byte order, kind, two doubles.
    let point = |x: f64, y: f64| [&[1_u8, 1, 0, 0, 0][..], &x.to_le_bytes(), &y.to_le_bytes()].concat();
    let points = BinaryArray::from_iter([Some(point(1.0, 2.0)), Some(point(-0.5, 1e300)), None]);
    let opaque = |type_name: &str, vendor_name: &str, binary| LogicalType::Opaque {
        type_name: type_name.into(),
        vendor_name: vendor_name.into(),
        binary,
    };
    vec![
        of(
            LogicalType::Text,
            nullable!(StringArray: "a", "", " padded ", "Größe ✓ 😀"),
            array!(StringArray: long.as_str(), "nul \0 inside", "\u{feff}", "\u{10ffff}"),
        ),
        of(
            LogicalType::Binary,
            nullable!(BinaryArray: &b"\x00\xff\\x41'"[..], &b""[..]),
            array!(BinaryArray: long.as_bytes()),
        ),
        of(
            LogicalType::FixedBinary(3),
            fixed(&[Some(b"\x00\xfe\xff"), None], 3),
            fixed(&[Some(b"\0\0\0")], 3),
        ),
        of(LogicalType::Uuid, fixed(&[Some(uuid), None], 16), fixed(&[Some(&[0; 16]), Some(&[255; 16])], 16)),
        of(
            LogicalType::Json,
            nullable!(StringArray: r#"{"a": [1, null, "x"], "b": {"c": true}}"#, r#""text""#, "[]", "3"),
            array!(StringArray: "null", r#"{"nul": "\u0000", "quote": "\"'\\"}"#),
        ),
        of(
            LogicalType::Geometry,
            Arc::new(points) as ArrayRef,
            Arc::new(BinaryArray::from_iter([None::<&[u8]>; 0])) as ArrayRef,
        ),
        of(
            LogicalType::Enum(vec!["a".into(), "b \"c\" 'd'".into()]),
            nullable!(StringArray: "a", "b \"c\" 'd'"),
            Arc::new(StringArray::from_iter_values([""; 0])) as ArrayRef,
        ),
        of(
            opaque("int4range", "postgres", false),
            nullable!(StringArray: "[1,5)", "empty"),
            Arc::new(StringArray::from_iter_values([""; 0])) as ArrayRef,
        ),
        of(
            opaque("hierarchyid", "sqlserver", true),
            nullable!(BinaryArray: &b"\x58"[..]),
            array!(BinaryArray: &b""[..]),
        ),
    ]
}

/// Days from 1970 to the first day of the year 1 and to the last of the year 9999.
const FIRST_DAY: i32 = -719_162;
const LAST_DAY: i32 = 2_932_896;
const DAY_SECONDS: i64 = 86_400;

fn times() -> Vec<EdgeValues> {
    let first = i64::from(FIRST_DAY) * DAY_SECONDS;
    let last = (i64::from(LAST_DAY) + 1) * DAY_SECONDS - 1;
    macro_rules! timestamp {
        ($array:ident, $unit:ident, $utc:literal, $typical:expr, $extreme:expr) => {{
            let zone = |array: $array| {
                if $utc {
                    Arc::new(array.with_timezone("UTC")) as ArrayRef
                } else {
                    Arc::new(array) as ArrayRef
                }
            };
            let logical = LogicalType::Timestamp { unit: Unit::$unit, utc: $utc };
            of(logical, zone($array::from($typical)), zone($array::from($extreme)))
        }};
    }
    let micros = || vec![Some(0), Some(1_700_000_000_123_456), Some(-1), None];
    let edges = || vec![first * 1_000_000, last * 1_000_000 + 999_999, i64::MIN + 1, i64::MAX - 1];
    let (wide, wide_extreme) = (
        wide_timestamps(&[Some((1_700_000_000, 123_456_000, None)), Some((0, 0, None)), None]),
        wide_timestamps(&[
            Some((first, 0, None)),
            Some((last, 999_999_999, None)),
            Some((0, 1, None)),
            Some((i64::MAX, 0, None)),
            Some((0, 1, Some(-330))),
        ]),
    );
    let (offset, offset_extreme) = (
        offset_timestamps(&[Some((1_700_000_000_123_456, 120)), Some((0, -330)), Some((5, 0)), None]),
        offset_timestamps(&[Some((first * 1_000_000 + 90_000_000_000, 840)), Some((last * 1_000_000, -720))]),
    );
    let span = |months, days, nanos| IntervalMonthDayNano::new(months, days, nanos);
    vec![
        of(
            LogicalType::Date,
            nullable!(Date32Array: 0, 19_000, -1),
            array!(Date32Array: FIRST_DAY, LAST_DAY, FIRST_DAY - 1, i32::MIN + 1, i32::MAX - 1),
        ),
        with_infinity(of(
            LogicalType::Date,
            nullable!(Date32Array: 0),
            array!(Date32Array: i32::MIN, i32::MAX),
        )),
        of(
            LogicalType::Time(Unit::Microsecond),
            nullable!(Time64MicrosecondArray: 0, 45_296_123_456),
            array!(Time64MicrosecondArray: DAY_SECONDS * 1_000_000 - 1),
        ),
        of(
            LogicalType::Time(Unit::Nanosecond),
            nullable!(Time64NanosecondArray: 0, 45_296_123_456_000),
            array!(Time64NanosecondArray: 1, DAY_SECONDS * 1_000_000_000 - 1),
        ),
        timestamp!(TimestampSecondArray, Second, false, vec![Some(0), Some(-1), None], vec![first, last]),
        timestamp!(
            TimestampMillisecondArray,
            Millisecond,
            false,
            vec![Some(1), Some(-1), None],
            vec![first * 1000]
        ),
        timestamp!(TimestampMicrosecondArray, Microsecond, false, micros(), edges()),
        timestamp!(TimestampMicrosecondArray, Microsecond, true, micros(), edges()),
        timestamp!(
            TimestampNanosecondArray,
            Nanosecond,
            false,
            vec![Some(1_000), None],
            vec![1, i64::MAX, i64::MIN]
        ),
        timestamp!(
            TimestampNanosecondArray,
            Nanosecond,
            true,
            vec![Some(1_000), None],
            vec![1, i64::MAX, i64::MIN]
        ),
        with_infinity(timestamp!(
            TimestampMicrosecondArray,
            Microsecond,
            false,
            micros(),
            vec![i64::MIN, i64::MAX]
        )),
        with_infinity(timestamp!(
            TimestampMicrosecondArray,
            Microsecond,
            true,
            micros(),
            vec![i64::MIN, i64::MAX]
        )),
        of(LogicalType::WideTimestamp, wide, wide_extreme),
        of(LogicalType::OffsetTimestamp(Unit::Microsecond), offset, offset_extreme),
        of(
            LogicalType::Duration(Unit::Microsecond),
            nullable!(DurationMicrosecondArray: 0, 3_600_000_001, -1),
            array!(DurationMicrosecondArray: i64::MAX, i64::MIN),
        ),
        of(
            LogicalType::Interval,
            nullable!(IntervalMonthDayNanoArray: span(14, 3, 5_000), span(-1, 0, 0), span(0, 0, 0)),
            array!(IntervalMonthDayNanoArray: span(i32::MAX, i32::MIN, i64::MAX), span(0, 0, 1)),
        ),
    ]
}

fn wide_timestamps(values: &[Option<(i64, i32, Option<i16>)>]) -> ArrayRef {
    let DataType::Struct(fields) = field_type(LogicalType::WideTimestamp) else { unreachable!() };
    let seconds = Int64Array::from_iter_values(values.iter().map(|value| value.map_or(0, |value| value.0)));
    let nanos = Int32Array::from_iter_values(values.iter().map(|value| value.map_or(0, |value| value.1)));
    let offsets = Int16Array::from_iter(values.iter().map(|value| value.and_then(|value| value.2)));
    let nulls = NullBuffer::from_iter(values.iter().map(Option::is_some));
    Arc::new(StructArray::new(
        fields,
        vec![Arc::new(seconds), Arc::new(nanos), Arc::new(offsets)],
        Some(nulls),
    ))
}

fn offset_timestamps(values: &[Option<(i64, i16)>]) -> ArrayRef {
    let DataType::Struct(fields) = field_type(LogicalType::OffsetTimestamp(Unit::Microsecond)) else {
        unreachable!()
    };
    let instants = values.iter().map(|value| value.map_or(0, |value| value.0));
    let instants = TimestampMicrosecondArray::from_iter_values(instants).with_timezone("UTC");
    let offsets = Int16Array::from_iter_values(values.iter().map(|value| value.map_or(0, |value| value.1)));
    let nulls = NullBuffer::from_iter(values.iter().map(Option::is_some));
    Arc::new(StructArray::new(fields, vec![Arc::new(instants), Arc::new(offsets)], Some(nulls)))
}

fn field_type(logical: LogicalType) -> DataType {
    Column::new("value", logical).to_field().data_type().clone()
}

fn nested() -> Vec<EdgeValues> {
    let list = |item: LogicalType, lengths: &[usize], nulls: &[bool], items: ArrayRef| {
        let DataType::List(field) = field_type(LogicalType::List(Box::new(item))) else { unreachable!() };
        let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
        let nulls = NullBuffer::from_iter(nulls.iter().map(|null| !null));
        Arc::new(ListArray::new(field, offsets, items, Some(nulls))) as ArrayRef
    };
    let integers = || LogicalType::List(Box::new(LogicalType::Int32));
    let strings = || LogicalType::List(Box::new(LogicalType::Text));
    let columns =
        vec![Column::new("x", LogicalType::Int32).not_null(), Column::new("y \"z\"", LogicalType::Text)];
    let record = LogicalType::Struct(columns);
    let DataType::Struct(fields) = field_type(record.clone()) else { unreachable!() };
    let parts: Vec<ArrayRef> =
        vec![array!(Int32Array: 1, 2, 3), array!(StringArray: Some("a'\"\\"), None, Some(""))];
    let records = StructArray::new(fields.clone(), parts, Some(NullBuffer::from(vec![true, true, false])));
    let map = LogicalType::Map(Box::new(LogicalType::Text), Box::new(LogicalType::Int64));
    let DataType::Map(entries, _) = field_type(map.clone()) else { unreachable!() };
    let DataType::Struct(pair) = entries.data_type().clone() else { unreachable!() };
    let pairs = StructArray::new(
        pair,
        vec![array!(StringArray: "a", "b \"c\"", "a"), array!(Int64Array: Some(1), None, Some(i64::MAX))],
        None,
    );
    let maps = |lengths: &[usize], nulls: Vec<bool>, pairs: StructArray| {
        let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
        Arc::new(MapArray::new(entries.clone(), offsets, pairs, Some(NullBuffer::from(nulls)), false))
            as ArrayRef
    };
    vec![
        of(
            integers(),
            list(
                LogicalType::Int32,
                &[2, 0, 2, 0],
                &[false, false, false, true],
                array!(Int32Array: Some(1), Some(2), None, Some(3)),
            ),
            list(LogicalType::Int32, &[2], &[false], array!(Int32Array: i32::MIN, i32::MAX)),
        ),
        of(
            strings(),
            list(
                LogicalType::Text,
                &[2, 0, 0],
                &[false, false, true],
                array!(StringArray: Some("a,b {c}"), Some("NULL")),
            ),
            list(
                LogicalType::Text,
                &[4],
                &[false],
                array!(StringArray: Some(""), Some("\"\\'"), None, Some("✓\n")),
            ),
        ),
        of(record, Arc::new(records.clone()) as ArrayRef, Arc::new(records.slice(0, 0)) as ArrayRef),
        of(
            map,
            maps(&[2, 0, 1, 0], vec![true, true, true, false], pairs.clone()),
            maps(&[0], vec![true], pairs.slice(0, 0)),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;
    use crate::testing::cell;

    #[test]
    fn every_value_is_carried_as_its_type_says() {
        for EdgeValues { column, typical, extreme } in every_type() {
            assert_eq!(typical.data_type(), column.to_field().data_type(), "{:?}", column.logical);
            assert_eq!(extreme.data_type(), column.to_field().data_type(), "{:?}", column.logical);
            assert!(typical.null_count() > 0, "{:?}", column.logical);
            for array in [&typical, &extreme] {
                let cells: Vec<_> = (0..array.len()).map(|row| cell(&column, array, row).unwrap()).collect();
                let distinct: std::collections::BTreeSet<_> = cells.iter().collect();
                assert_eq!(distinct.len(), cells.len(), "{:?}: {cells:?}", column.logical);
            }
        }
    }
}
