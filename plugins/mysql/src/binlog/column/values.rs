//! The values of a column that wait for their batch.

use std::sync::Arc;

use hub_plugin_api::arrow::{
    array::{
        Array, ArrayRef, BooleanArray, BooleanBufferBuilder, Decimal128Array, Decimal256Array,
        FixedSizeBinaryArray, GenericByteArray, ListArray, PrimitiveArray,
    },
    buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{
        ArrowPrimitiveType, BinaryType, ByteArrayType, DataType, Date32Type, DurationMicrosecondType,
        FieldRef, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
        TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type, Utf8Type, i256,
    },
    error::ArrowError,
};

use super::Wrong;

/// The values of one column, as its Arrow array will have them.
pub(super) enum Values {
    Bool(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt8(Vec<u8>),
    UInt16(Vec<u16>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal128 {
        values: Vec<i128>,
        precision: u8,
        scale: i8,
    },
    Decimal256 {
        values: Vec<i256>,
        precision: u8,
        scale: i8,
    },
    Text(Bytes),
    Binary(Bytes),
    Fixed {
        values: Vec<u8>,
        width: usize,
    },
    Date(Vec<i32>),
    DateTime {
        values: Vec<i64>,
        zone: Option<Arc<str>>,
    },
    Duration(Vec<i64>),
    /// Lists of floats, one behind the other.
    Vector {
        items: Vec<f32>,
        offsets: Vec<i32>,
        field: FieldRef,
    },
}

impl Values {
    /// None yet of this type; nothing for a type that is not built.
    pub fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Values::Bool(BooleanBufferBuilder::new(0)),
            DataType::Int8 => Values::Int8(Vec::new()),
            DataType::Int16 => Values::Int16(Vec::new()),
            DataType::Int32 => Values::Int32(Vec::new()),
            DataType::Int64 => Values::Int64(Vec::new()),
            DataType::UInt8 => Values::UInt8(Vec::new()),
            DataType::UInt16 => Values::UInt16(Vec::new()),
            DataType::UInt32 => Values::UInt32(Vec::new()),
            DataType::UInt64 => Values::UInt64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Decimal128(precision, scale) => {
                Values::Decimal128 { values: Vec::new(), precision: *precision, scale: *scale }
            }
            DataType::Decimal256(precision, scale) => {
                Values::Decimal256 { values: Vec::new(), precision: *precision, scale: *scale }
            }
            DataType::Utf8 => Values::Text(Bytes::new()),
            DataType::Binary => Values::Binary(Bytes::new()),
            DataType::FixedSizeBinary(width) => {
                Values::Fixed { values: Vec::new(), width: usize::try_from(*width).unwrap_or_default() }
            }
            DataType::Date32 => Values::Date(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Values::DateTime { values: Vec::new(), zone: zone.clone() }
            }
            DataType::Duration(TimeUnit::Microsecond) => Values::Duration(Vec::new()),
            DataType::List(field) if *field.data_type() == DataType::Float32 => {
                Values::Vector { items: Vec::new(), offsets: vec![0], field: Arc::clone(field) }
            }
            _ => return None,
        })
    }

    /// Makes room for a null.
    pub fn append_null(&mut self) {
        match self {
            Values::Bool(values) => values.append(false),
            Values::Int8(values) => values.push(0),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Duration(values) | Values::DateTime { values, .. } => {
                values.push(0);
            }
            Values::UInt8(values) => values.push(0),
            Values::UInt16(values) => values.push(0),
            Values::UInt32(values) => values.push(0),
            Values::UInt64(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal128 { values, .. } => values.push(0),
            Values::Decimal256 { values, .. } => values.push(i256::ZERO),
            Values::Text(bytes) | Values::Binary(bytes) => {
                let end = bytes.offsets.last().copied().unwrap_or_default();
                bytes.offsets.push(end);
            }
            Values::Fixed { values, width } => values.resize(values.len() + *width, 0),
            Values::Vector { offsets, .. } => {
                let end = offsets.last().copied().unwrap_or_default();
                offsets.push(end);
            }
        }
    }

    /// The values so far; empty afterwards.
    pub fn finish(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef, Wrong> {
        let arrow = |error: ArrowError| Wrong::Error(error.into());
        Ok(match self {
            Values::Bool(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int8(values) => primitive::<Int8Type>(values, nulls),
            Values::Int16(values) => primitive::<Int16Type>(values, nulls),
            Values::Int32(values) => primitive::<Int32Type>(values, nulls),
            Values::Int64(values) => primitive::<Int64Type>(values, nulls),
            Values::UInt8(values) => primitive::<UInt8Type>(values, nulls),
            Values::UInt16(values) => primitive::<UInt16Type>(values, nulls),
            Values::UInt32(values) => primitive::<UInt32Type>(values, nulls),
            Values::UInt64(values) => primitive::<UInt64Type>(values, nulls),
            Values::Float32(values) => primitive::<Float32Type>(values, nulls),
            Values::Float64(values) => primitive::<Float64Type>(values, nulls),
            Values::Decimal128 { values, precision, scale } => Arc::new(
                Decimal128Array::new(take(values).into(), nulls)
                    .with_precision_and_scale(*precision, *scale)
                    .map_err(arrow)?,
            ),
            Values::Decimal256 { values, precision, scale } => Arc::new(
                Decimal256Array::new(take(values).into(), nulls)
                    .with_precision_and_scale(*precision, *scale)
                    .map_err(arrow)?,
            ),
            Values::Text(bytes) => bytes
                .finish::<Utf8Type>(nulls)
                .map_err(|()| Wrong::Other("a text is not of its column's character set"))?,
            Values::Binary(bytes) => bytes.finish::<BinaryType>(nulls).map_err(|()| Wrong::Storage)?,
            Values::Fixed { values, width } => {
                let width = i32::try_from(*width).unwrap_or_default();
                Arc::new(
                    FixedSizeBinaryArray::try_new(width, Buffer::from_vec(take(values)), nulls)
                        .map_err(arrow)?,
                )
            }
            Values::Date(values) => primitive::<Date32Type>(values, nulls),
            Values::DateTime { values, zone } => Arc::new(
                PrimitiveArray::<TimestampMicrosecondType>::new(take(values).into(), nulls)
                    .with_timezone_opt(zone.clone()),
            ),
            Values::Duration(values) => primitive::<DurationMicrosecondType>(values, nulls),
            Values::Vector { items, offsets, field } => {
                let mut next = Vec::with_capacity(offsets.len());
                next.push(0);
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, next)));
                let items = primitive::<Float32Type>(items, None);
                Arc::new(ListArray::try_new(Arc::clone(field), offsets, items, nulls).map_err(arrow)?)
            }
        })
    }
}

/// Values of varying length, one behind the other.
pub(super) struct Bytes {
    pub data: Vec<u8>,
    offsets: Vec<i32>,
}

impl Bytes {
    pub fn new() -> Self {
        Self { data: Vec::new(), offsets: vec![0] }
    }

    pub fn end_value(&mut self) -> Result<(), Wrong> {
        let end = i32::try_from(self.data.len()).map_err(|_| Wrong::Other("a batch has more than 2 GiB"))?;
        self.offsets.push(end);
        Ok(())
    }

    fn finish<T: ByteArrayType<Offset = i32>>(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef, ()> {
        let data = take(&mut self.data);
        let mut next = Vec::with_capacity(self.offsets.len());
        next.push(0);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.offsets, next)));
        let array = GenericByteArray::<T>::try_new(offsets, Buffer::from_vec(data), nulls);
        array.map(|array| Arc::new(array) as ArrayRef).map_err(|_| ())
    }
}

fn primitive<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    let array = PrimitiveArray::<T>::new(take(values).into(), nulls);
    debug_assert!(array.offset() == 0);
    Arc::new(array)
}

/// The values so far; what stays has room for as many.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let capacity = values.len();
    std::mem::replace(values, Vec::with_capacity(capacity))
}
