//! Whole numbers of any width into columns of any other.

use hub_plugin_api::{
    Error, Result,
    arrow::{
        array::{Array, AsArray},
        datatypes::{
            Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
        },
    },
    types::LogicalType,
};

use super::{
    encode_plan::Width,
    encode_put::{put_eight, put_four, put_two},
    encode_time::OUT_OF_RANGE,
};

/// The values of a column of whole numbers.
pub(super) enum Integers<'a> {
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
}

/// A column's values, by what they mean.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::Internal`] when they are no whole numbers.
pub(super) fn integers<'a>(logical: &LogicalType, array: &'a dyn Array) -> Result<Integers<'a>> {
    Ok(match logical {
        LogicalType::Int8 => Integers::I8(values::<Int8Type>(array)),
        LogicalType::Int16 => Integers::I16(values::<Int16Type>(array)),
        LogicalType::Int32 => Integers::I32(values::<Int32Type>(array)),
        LogicalType::Int64 => Integers::I64(values::<Int64Type>(array)),
        LogicalType::UInt8 => Integers::U8(values::<UInt8Type>(array)),
        LogicalType::UInt16 => Integers::U16(values::<UInt16Type>(array)),
        LogicalType::UInt32 => Integers::U32(values::<UInt32Type>(array)),
        LogicalType::UInt64 => Integers::U64(values::<UInt64Type>(array)),
        _ => return Err(Error::internal("A column that is no whole number was planned as one")),
    })
}

fn values<T: hub_plugin_api::arrow::datatypes::ArrowPrimitiveType>(array: &dyn Array) -> &[T::Native] {
    array.as_primitive::<T>().values()
}

impl Integers<'_> {
    #[inline]
    pub(super) fn get(&self, row: usize) -> i128 {
        match self {
            Self::I8(values) => values[row].into(),
            Self::I16(values) => values[row].into(),
            Self::I32(values) => values[row].into(),
            Self::I64(values) => values[row].into(),
            Self::U8(values) => values[row].into(),
            Self::U16(values) => values[row].into(),
            Self::U32(values) => values[row].into(),
            Self::U64(values) => values[row].into(),
        }
    }
}

/// Appends a number with its length.
pub(super) fn put_integer(out: &mut Vec<u8>, value: i128, width: Width) -> Result<(), &'static str> {
    match width {
        Width::Two => put_two(out, i16::try_from(value).map_err(|_| OUT_OF_RANGE)?),
        Width::Four => put_four(out, i32::try_from(value).map_err(|_| OUT_OF_RANGE)?),
        Width::Oid => put_four(out, u32::try_from(value).map_err(|_| OUT_OF_RANGE)? as i32),
        Width::Eight => put_eight(out, i64::try_from(value).map_err(|_| OUT_OF_RANGE)?),
    }
    Ok(())
}
