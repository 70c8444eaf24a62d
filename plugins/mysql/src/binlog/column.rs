//! One column's values, from row images straight into Arrow arrays.

mod bytes;
mod values;

use std::{fmt::Display, sync::Arc};

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{
        array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder, NullBufferBuilder, Scalar},
        compute::kernels::zip::zip,
        datatypes::{DataType, FieldRef},
    },
};

use self::{
    bytes::{put_geometry, put_text},
    values::Values,
};
use super::{
    charset::Charset,
    cursor::{big, little},
    decimal, default,
    definition::ColumnDefinition,
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
    /// The value of rows that leave the column out, once there was one that is not null.
    default: Option<ArrayRef>,
    /// These rows.
    defaulted: Vec<usize>,
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
        let values = Values::of(data_type)
            .ok_or_else(|| Error::internal(format!("Column `{name}`: {data_type} is not built")))?;
        let (name, nulls) = (name.to_owned(), NullBufferBuilder::new(0));
        let (default, defaulted) = (None, Vec::new());
        Ok(Self { name, storage, decoding, zero_dates, values, nulls, default, defaulted })
    }

    /// The column's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a null.
    pub fn append_null(&mut self) {
        self.nulls.append_null();
        self.values.append_null();
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

    /// Adds the default of a column that an inserted row leaves out; answers how many bytes it has at most.
    ///
    /// # Errors
    /// As [`default::value`].
    pub fn append_default(&mut self, declaration: &ColumnDefinition, field: &FieldRef) -> Result<usize> {
        if self.default.is_none() {
            self.default = default::value(declaration, field, self.zero_dates)?;
        }
        let bytes = self.default.as_ref().map(Array::get_buffer_memory_size);
        if bytes.is_some() {
            self.defaulted.push(self.nulls.len());
        }
        self.append_null();
        Ok(bytes.unwrap_or_default())
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
        let array = self.values.finish(nulls).map_err(|wrong| self.refuse(wrong))?;
        let Some(default) = self.default.as_ref().filter(|_| !self.defaulted.is_empty()) else {
            return Ok(array);
        };
        let mut mask = BooleanBufferBuilder::new(array.len());
        mask.append_n(array.len(), false);
        self.defaulted.drain(..).for_each(|row| mask.set_bit(row, true));
        Ok(zip(&BooleanArray::new(mask.finish(), None), &Scalar::new(Arc::clone(default)), &array)?)
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

#[cfg(test)]
mod tests {
    use hub_plugin_api::arrow::{
        array::{Array, AsArray},
        datatypes::{Int16Type, Int64Type},
    };

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
