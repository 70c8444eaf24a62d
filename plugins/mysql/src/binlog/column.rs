//! One column's values, from row images straight into Arrow arrays.

use std::{fmt::Display, sync::Arc};

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{
        array::{
            Array, ArrayRef, BooleanArray, BooleanBufferBuilder, Decimal128Array, Decimal256Array,
            FixedSizeBinaryArray, GenericByteArray, ListArray, NullBufferBuilder, PrimitiveArray,
        },
        buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
        datatypes::{
            ArrowPrimitiveType, BinaryType, ByteArrayType, DataType, Date32Type, DurationMicrosecondType,
            FieldRef, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
            TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type, Utf8Type, i256,
        },
    },
};

use super::{
    charset::Charset,
    cursor::{big, little},
    decimal, json,
    storage::{Family, Storage},
    temporal::{self, ZeroDate},
};
use crate::raw::column::ZeroDates;

/// How the bytes of a column become values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoding {
    /// As storage and Arrow type say.
    Plain,
    /// Text of a character set.
    Text(Charset),
    /// The text of a value by its number.
    Enum(Vec<String>),
    /// The texts of values by their bits, with commas between.
    Set(Vec<String>),
    /// MariaDB's INET4 or INET6, as text.
    Address,
}

/// Collects the values of one column.
pub struct ColumnBuilder {
    name: String,
    storage: Storage,
    decoding: Decoding,
    zero_dates: ZeroDates,
    values: Values,
    nulls: NullBufferBuilder,
}

enum Values {
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

/// Values of varying length, one behind the other.
struct Bytes {
    data: Vec<u8>,
    offsets: Vec<i32>,
}

impl Bytes {
    fn new() -> Self {
        Self { data: Vec::new(), offsets: vec![0] }
    }

    fn end_value(&mut self) -> Result<(), Wrong> {
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

/// Why a value cannot be carried.
enum Wrong {
    ZeroDate,
    Storage,
    Other(&'static str),
    Error(Error),
}

impl From<ZeroDate> for Wrong {
    fn from(_: ZeroDate) -> Self {
        Self::ZeroDate
    }
}

impl ColumnBuilder {
    /// A builder of a column that lies as `storage` and is carried as `data_type`.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when these do not fit.
    pub fn new(
        name: &str,
        storage: Storage,
        decoding: Decoding,
        data_type: &DataType,
        zero_dates: ZeroDates,
    ) -> Result<Self> {
        let values = match data_type {
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
            other => return Err(Error::internal(format!("Column `{name}`: {other} is not built"))),
        };
        let (name, nulls) = (name.to_owned(), NullBufferBuilder::new(0));
        Ok(Self { name, storage, decoding, zero_dates, values, nulls })
    }

    /// The column's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a null.
    pub fn append_null(&mut self) {
        self.nulls.append_null();
        match &mut self.values {
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

    /// Adds a value of a row image.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] with the column's name when it cannot be carried.
    pub fn append(&mut self, raw: &[u8]) -> Result<()> {
        match self.put(raw) {
            Ok(()) => {
                self.nulls.append_non_null();
                Ok(())
            }
            Err(Wrong::ZeroDate) if self.zero_dates == ZeroDates::Null => {
                self.append_null();
                Ok(())
            }
            Err(wrong) => Err(self.refuse(wrong)),
        }
    }

    /// Adds a text that is decoded already.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the column is none of text.
    pub fn append_text(&mut self, text: &str) -> Result<()> {
        let Values::Text(bytes) = &mut self.values else {
            return Err(Error::internal(format!("Column `{}` is none of text", self.name)));
        };
        bytes.data.extend_from_slice(text.as_bytes());
        if let Err(wrong) = bytes.end_value() {
            return Err(self.refuse(wrong));
        }
        self.nulls.append_non_null();
        Ok(())
    }

    #[cold]
    fn refuse(&self, wrong: Wrong) -> Error {
        let invalid = |what: &dyn Display| {
            Error::new(ErrorKind::InvalidData, format!("Column `{}`: {what}", self.name))
        };
        match wrong {
            Wrong::ZeroDate => invalid(&"a date has a zero for its year, month or day, or does not exist")
                .with_field("zero_dates")
                .with_hint("Set `zero_dates: null` to carry such dates as null"),
            Wrong::Storage => invalid(&"a value is not as its type is stored"),
            Wrong::Other(what) => invalid(&what),
            Wrong::Error(error) => error.with_context("column", &self.name),
        }
    }

    fn put(&mut self, raw: &[u8]) -> Result<(), Wrong> {
        match &mut self.values {
            Values::Int8(values) => values.push(little(raw) as i8),
            Values::UInt8(values) => values.push(little(raw) as u8),
            Values::Int16(values) => values.push(integer(self.storage, raw) as i16),
            Values::UInt16(values) => values.push(integer(self.storage, raw) as u16),
            Values::Int32(values) => values.push(integer(self.storage, raw) as i32),
            Values::UInt32(values) => values.push(little(raw) as u32),
            Values::Int64(values) => values.push(integer(self.storage, raw)),
            Values::UInt64(values) => values.push(match self.storage {
                Storage::Bit { .. } => big(raw),
                _ => little(raw),
            }),
            Values::Bool(values) => values.append(raw.iter().any(|byte| *byte != 0)),
            Values::Float32(values) => values.push(f32::from_bits(little(raw) as u32)),
            Values::Float64(values) => values.push(match self.storage {
                Storage::Float => f32::from_bits(little(raw) as u32).into(),
                _ => f64::from_bits(little(raw)),
            }),
            Values::Decimal128 { values, .. } => {
                let Storage::Decimal { precision, scale } = self.storage else { return Err(Wrong::Storage) };
                values.push(decimal::to_i128(raw, precision, scale).ok_or(Wrong::Storage)?);
            }
            Values::Decimal256 { values, .. } => {
                let Storage::Decimal { precision, scale } = self.storage else { return Err(Wrong::Storage) };
                values.push(decimal::to_i256(raw, precision, scale).ok_or(Wrong::Storage)?);
            }
            Values::Date(values) => values.push(temporal::date(raw)?),
            Values::DateTime { values, .. } => values.push(match self.storage {
                Storage::DateTime(_) => temporal::date_time(raw)?,
                Storage::Timestamp(_) => temporal::timestamp(raw)?,
                Storage::OldDateTime => temporal::old_date_time(raw)?,
                Storage::OldTimestamp => temporal::old_timestamp(raw)?,
                _ => return Err(Wrong::Storage),
            }),
            Values::Duration(values) => values.push(match self.storage {
                Storage::OldTime => temporal::old_time(raw),
                _ => temporal::time(raw),
            }),
            Values::Vector { items, offsets, .. } => {
                let floats = raw.chunks_exact(4);
                if !floats.remainder().is_empty() {
                    return Err(Wrong::Storage);
                }
                items.extend(floats.map(|float| f32::from_bits(little(float) as u32)));
                let end = i32::try_from(items.len());
                offsets.push(end.map_err(|_| Wrong::Other("a batch has more than 2 GiB"))?);
            }
            Values::Text(bytes) => {
                put_text(bytes, self.storage, &self.decoding, raw)?;
                bytes.end_value()?;
            }
            Values::Binary(bytes) => {
                match self.storage {
                    // The log leaves out the zeros at the end.
                    Storage::Bytes { family: Family::Fixed, most, .. } => {
                        bytes.data.extend_from_slice(raw);
                        let pad = (most as usize).saturating_sub(raw.len());
                        bytes.data.resize(bytes.data.len() + pad, 0);
                    }
                    Storage::Bytes { family: Family::Geometry, .. } => {
                        put_geometry(bytes, raw).ok_or(Wrong::Storage)?
                    }
                    _ => bytes.data.extend_from_slice(raw),
                }
                bytes.end_value()?;
            }
            Values::Fixed { values, width } => {
                if raw.len() > *width {
                    return Err(Wrong::Storage);
                }
                // The log leaves out the zeros at the end.
                let end = values.len() + *width;
                values.extend_from_slice(raw);
                values.resize(end, 0);
            }
        }
        Ok(())
    }

    /// The values so far; the builder is empty afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] with the column's name when a text is not UTF-8.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        let nulls = self.nulls.finish();
        Ok(match &mut self.values {
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
                    .with_precision_and_scale(*precision, *scale)?,
            ),
            Values::Decimal256 { values, precision, scale } => Arc::new(
                Decimal256Array::new(take(values).into(), nulls)
                    .with_precision_and_scale(*precision, *scale)?,
            ),
            Values::Text(bytes) => bytes
                .finish::<Utf8Type>(nulls)
                .map_err(|()| self.refuse(Wrong::Other("a text is not of its column's character set")))?,
            Values::Binary(bytes) => {
                bytes.finish::<BinaryType>(nulls).map_err(|()| self.refuse(Wrong::Storage))?
            }
            Values::Fixed { values, width } => {
                let width = i32::try_from(*width).unwrap_or_default();
                Arc::new(FixedSizeBinaryArray::try_new(width, Buffer::from_vec(take(values)), nulls)?)
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
                Arc::new(ListArray::try_new(Arc::clone(field), offsets, items, nulls)?)
            }
        })
    }
}

/// A signed number of its bytes; years and bits have none.
#[inline]
fn integer(storage: Storage, raw: &[u8]) -> i64 {
    match storage {
        Storage::Year => match raw.first().copied().unwrap_or_default() {
            0 => 0,
            years => 1900 + i64::from(years),
        },
        Storage::Bit { .. } => big(raw) as i64,
        _ => {
            let unused = 64 - 8 * raw.len().clamp(1, 8) as u32;
            (little(raw) << unused) as i64 >> unused
        }
    }
}

/// A geometry lies behind the number of its reference system, which well-known binary has behind the type instead,
/// marked by a bit of it; 0 is none.
fn put_geometry(into: &mut Bytes, raw: &[u8]) -> Option<()> {
    let (system, geometry) = raw.split_at_checked(4)?;
    if system == [0; 4] {
        into.data.extend_from_slice(geometry);
        return Some(());
    }
    let (order_and_type, rest) = geometry.split_at_checked(5)?;
    into.data.extend_from_slice(order_and_type);
    // Both servers keep them little-endian.
    *into.data.last_mut()? |= 0x20;
    into.data.extend_from_slice(system);
    into.data.extend_from_slice(rest);
    Some(())
}

fn put_text(into: &mut Bytes, storage: Storage, decoding: &Decoding, raw: &[u8]) -> Result<(), Wrong> {
    match (storage, decoding) {
        (_, Decoding::Text(charset)) => charset.decode(raw, &mut into.data).map_err(Wrong::Other)?,
        (_, Decoding::Enum(values)) => match little(raw) as usize {
            // What a server that is not strict makes of a value that the type does not have.
            0 => {}
            number => {
                let value = values.get(number - 1).ok_or(Wrong::Storage)?;
                into.data.extend_from_slice(value.as_bytes());
            }
        },
        (_, Decoding::Set(values)) => {
            let (bits, mut first) = (little(raw), true);
            for place in (0..64).filter(|place| bits >> place & 1 == 1) {
                let value = values.get(place).ok_or(Wrong::Storage)?;
                if !std::mem::take(&mut first) {
                    into.data.push(b',');
                }
                into.data.extend_from_slice(value.as_bytes());
            }
        }
        (Storage::Bytes { most, .. }, Decoding::Address) => {
            // The log leaves out the zeros at the end.
            let mut whole = [0; 16];
            whole.get_mut(..raw.len()).ok_or(Wrong::Storage)?.copy_from_slice(raw);
            let text = match (most, whole) {
                (4, [a, b, c, d, ..]) => std::net::Ipv4Addr::new(a, b, c, d).to_string(),
                _ => std::net::Ipv6Addr::from(whole).to_string(),
            };
            into.data.extend_from_slice(text.as_bytes());
        }
        (Storage::Bytes { family: Family::Json, .. }, _) => {
            let mut text = String::new();
            json::write_text(raw, &mut text).map_err(Wrong::Error)?;
            into.data.extend_from_slice(text.as_bytes());
        }
        (Storage::Decimal { precision, scale }, _) => {
            let mut text = String::new();
            decimal::write_text(raw, precision, scale, &mut text).ok_or(Wrong::Storage)?;
            into.data.extend_from_slice(text.as_bytes());
        }
        (Storage::Bit { bits }, _) => {
            let value = big(raw);
            into.data.extend((0..bits).rev().map(|bit| b'0' + (value >> bit & 1) as u8));
        }
        _ => into.data.extend_from_slice(raw),
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use hub_plugin_api::arrow::{array::AsArray, datatypes::Int64Type};

    use super::*;

    fn builder(storage: Storage, decoding: Decoding, data_type: DataType) -> ColumnBuilder {
        ColumnBuilder::new("c", storage, decoding, &data_type, ZeroDates::Error).unwrap()
    }

    #[test]
    fn small_integers_keep_their_sign() {
        let mut column = builder(Storage::Integer(3), Decoding::Plain, DataType::Int64);
        for raw in [[0xff, 0xff, 0xff], [0, 0, 0x80], [1, 0, 0]] {
            column.append(&raw).unwrap();
        }
        let array = column.finish().unwrap();
        assert_eq!(array.as_primitive::<Int64Type>().values().to_vec(), [-1, -8_388_608, 1]);
        let mut year = builder(Storage::Year, Decoding::Plain, DataType::Int16);
        year.append(&[0]).unwrap();
        year.append(&[255]).unwrap();
        assert_eq!(year.finish().unwrap().as_primitive::<Int16Type>().values().to_vec(), [0, 2155]);
    }

    #[test]
    fn enums_and_sets_become_the_texts_of_their_values() {
        let values = || vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let mut one = builder(Storage::Enum(1), Decoding::Enum(values()), DataType::Utf8);
        one.append(&[2]).unwrap();
        one.append(&[0]).unwrap();
        assert_eq!(one.append(&[4]).unwrap_err().kind, ErrorKind::InvalidData);
        let mut many = builder(Storage::Set(1), Decoding::Set(values()), DataType::Utf8);
        many.append(&[0b101]).unwrap();
        assert_eq!(many.finish().unwrap().as_string::<i32>().value(0), "a,c");
    }

    #[test]
    fn zero_date_follows_the_policy_and_names_its_column() {
        let mut column = builder(Storage::Date, Decoding::Plain, DataType::Date32);
        let error = column.append(&[0, 0, 0]).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("zero_dates"));
        assert!(error.message.starts_with("Column `c`"), "{error}");
        let mut column =
            ColumnBuilder::new("c", Storage::Date, Decoding::Plain, &DataType::Date32, ZeroDates::Null)
                .unwrap();
        column.append(&[0, 0, 0]).unwrap();
        assert_eq!(column.finish().unwrap().null_count(), 1);
    }

    #[test]
    fn binary_of_a_fixed_length_gets_its_zeros_back() {
        let storage = Storage::Bytes { length: 1, most: 4, family: Family::Fixed };
        let mut column = builder(storage, Decoding::Plain, DataType::Binary);
        column.append(&[1, 2]).unwrap();
        assert_eq!(column.finish().unwrap().as_binary::<i32>().value(0), [1, 2, 0, 0]);
    }

    #[test]
    fn addresses_and_uuids_get_their_zeros_back() {
        let storage = |most| Storage::Bytes { length: 1, most, family: Family::Fixed };
        let mut four = builder(storage(4), Decoding::Address, DataType::Utf8);
        four.append(&[10]).unwrap();
        assert_eq!(four.finish().unwrap().as_string::<i32>().value(0), "10.0.0.0");
        let mut six = builder(storage(16), Decoding::Address, DataType::Utf8);
        six.append(&[]).unwrap();
        assert_eq!(six.finish().unwrap().as_string::<i32>().value(0), "::");
        let mut uuid = builder(storage(16), Decoding::Plain, DataType::FixedSizeBinary(16));
        uuid.append(&[1]).unwrap();
        assert_eq!(uuid.finish().unwrap().as_fixed_size_binary().value(0)[..2], [1, 0]);
    }
}
