//! A cell on its way into a column: what is taken before the first row, and each value's text.

use std::borrow::Cow;

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{
        array::{Array, AsArray},
        datatypes::{
            DataType, Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType,
            DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float32Type, Float64Type,
            Int8Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType,
            Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
            TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
        },
    },
    types::{Column, LogicalType},
};

use super::{
    digits,
    fits::{Target, fits},
    json,
    kept::Kept,
    rows::put_escaped,
    time,
};
use crate::{raw::column::EWKB_SRID, sql, types::ServerType};

/// The longest time of the servers', in microseconds.
const LONGEST_TIME: i128 = (838 * 3600 + 59 * 60 + 59) * 1_000_000;

/// A value in the form in which a statement or a file can have it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    /// Digits that stand for themselves.
    Number(&'a str),
    /// Text in UTF-8.
    Text(&'a str),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
}

/// How the values of a column get into a column of a table.
#[derive(Clone, Debug)]
pub(super) struct ColumnPlan {
    /// Its place in the batch.
    pub index: usize,
    /// The column's name.
    pub name: String,
    logical: LogicalType,
    target: Target,
    kept: Kept,
    required: bool,
}

impl ColumnPlan {
    /// Decides whether such values can be stored as they are.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`] with the column's name when they cannot.
    pub(super) fn new(index: usize, column: &Column, target: Target) -> Result<Self> {
        if target.server_type.as_ref().is_some_and(|of| !fits(&column.logical, of)) {
            return Err(Error::new(
                ErrorKind::SchemaMismatch,
                format!(
                    "Column `{}` of the table is `{}`, which cannot hold {:?}",
                    column.name, target.declared, column.logical
                ),
            )
            .with_hint("Change the column's type, or convert the values at the source"));
        }
        let (name, logical) = (column.name.clone(), column.logical.clone());
        let kept = Kept::new(&logical, &target);
        Ok(Self { index, name, logical, target, kept, required: false })
    }

    /// The same way, without nulls.
    #[must_use]
    pub(super) fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same way from another place of a batch.
    pub(super) fn at(&self, index: usize) -> Self {
        Self { index, ..self.clone() }
    }

    /// What is made of the text in a file.
    pub(super) fn text_reader(&self) -> Option<&'static str> {
        match self.target.server_type {
            Some(ServerType::Bit(_)) if !self.is_bytes() => Some("CAST(@v AS UNSIGNED)"),
            Some(ServerType::Bytes | ServerType::Geometry | ServerType::Vector | ServerType::Bit(_)) => {
                Some("UNHEX(@v)")
            }
            _ => None,
        }
    }

    fn is_bytes(&self) -> bool {
        matches!(self.logical, LogicalType::Opaque { binary: true, .. } | LogicalType::Binary)
    }

    /// A value as an expression.
    ///
    /// # Errors
    /// Why it cannot be stored, in words.
    pub(super) fn literal(&self, array: &dyn Array, row: usize) -> Result<String, String> {
        let mut out = String::new();
        self.put_literal(array, row, &mut String::new(), &mut out)?;
        Ok(out)
    }

    /// Writes a value into a statement. What `scratch` holds is overwritten.
    ///
    /// # Errors
    /// Why it cannot be stored, in words.
    pub(super) fn put_literal(
        &self,
        array: &dyn Array,
        row: usize,
        scratch: &mut String,
        out: &mut String,
    ) -> Result<(), String> {
        match self.cell(array, row, scratch)? {
            Cell::Null => out.push_str("NULL"),
            Cell::Number(digits) => out.push_str(digits),
            Cell::Text(text) => sql::put_literal(text, out),
            Cell::Bytes(bytes) => sql::put_hex_literal(&bytes, out),
        }
        Ok(())
    }

    /// Writes a value into a file of LOAD DATA. What `scratch` holds is overwritten.
    ///
    /// # Errors
    /// Why it cannot be stored, in words.
    pub(super) fn put_field(
        &self,
        array: &dyn Array,
        row: usize,
        scratch: &mut String,
        out: &mut String,
    ) -> Result<(), String> {
        match self.cell(array, row, scratch)? {
            Cell::Null => out.push_str("\\N"),
            Cell::Number(digits) => out.push_str(digits),
            Cell::Text(text) => put_escaped(text, out),
            Cell::Bytes(bytes) => sql::put_hex(&bytes, out),
        }
        Ok(())
    }

    fn cell<'a>(
        &self,
        array: &'a dyn Array,
        row: usize,
        scratch: &'a mut String,
    ) -> Result<Cell<'a>, String> {
        if array.is_null(row) {
            if self.required {
                return Err(self.refuse("is null, and the column is part of the key"));
            }
            return Ok(Cell::Null);
        }
        scratch.clear();
        self.value(array, row, scratch).map_err(|reason| self.refuse(&reason))
    }

    fn refuse(&self, reason: &str) -> String {
        format!("The value of column `{}` {reason} (`{}`)", self.name, self.target.declared)
    }

    fn value<'a>(
        &self,
        array: &'a dyn Array,
        row: usize,
        scratch: &'a mut String,
    ) -> Result<Cell<'a>, String> {
        macro_rules! number {
            ($of:ty) => {{
                digits::put_signed(array.as_primitive::<$of>().value(row).into(), scratch);
                self.kept.put_year(scratch)?;
                Cell::Number(scratch)
            }};
        }
        Ok(match array.data_type() {
            DataType::Boolean => Cell::Number(if array.as_boolean().value(row) { "1" } else { "0" }),
            DataType::Int8 => number!(Int8Type),
            DataType::Int16 => number!(Int16Type),
            DataType::Int32 => number!(Int32Type),
            DataType::Int64 => number!(Int64Type),
            DataType::UInt8 => number!(UInt8Type),
            DataType::UInt16 => number!(UInt16Type),
            DataType::UInt32 => number!(UInt32Type),
            DataType::UInt64 => {
                digits::put_unsigned(array.as_primitive::<UInt64Type>().value(row), 1, scratch);
                Cell::Number(scratch)
            }
            DataType::Float32 => {
                let value = array.as_primitive::<Float32Type>().value(row);
                self.check_double(f64::from(value), true)?;
                // The fewest digits that name it are those of a double beyond it, where it is the greatest.
                match self.target.server_type {
                    Some(ServerType::Float | ServerType::Double) => {
                        scratch.push_str(&format!("{:e}", f64::from(value)));
                    }
                    _ => scratch.push_str(&format!("{value:e}")),
                }
                Cell::Number(scratch)
            }
            DataType::Float64 => {
                let value = array.as_primitive::<Float64Type>().value(row);
                self.check_double(value, false)?;
                scratch.push_str(&format!("{value:e}"));
                Cell::Number(scratch)
            }
            DataType::Decimal128(_, scale) => {
                let values = array.as_primitive::<Decimal128Type>();
                if !digits::put_decimal(values.value(row), *scale, scratch) {
                    scratch.push_str(&values.value_as_string(row));
                }
                self.decimal(scratch)?
            }
            DataType::Decimal256(_, _) => {
                scratch.push_str(&array.as_primitive::<Decimal256Type>().value_as_string(row));
                self.decimal(scratch)?
            }
            DataType::Utf8 => self.text(array.as_string::<i32>().value(row))?,
            DataType::Binary => self.bytes(array.as_binary::<i32>().value(row))?,
            DataType::FixedSizeBinary(_) => {
                let bytes = array.as_fixed_size_binary().value(row);
                match (&self.logical, &self.target.server_type) {
                    (LogicalType::Uuid, Some(ServerType::Bytes)) => Cell::Bytes(bytes.into()),
                    (LogicalType::Uuid, _) => {
                        put_uuid(bytes, scratch);
                        Cell::Text(scratch)
                    }
                    _ => self.bytes(bytes)?,
                }
            }
            DataType::Date32 => {
                let day = array.as_primitive::<Date32Type>().value(row);
                time::put_date(day.into(), scratch).ok_or("is outside the years 1 to 9999")?;
                Cell::Text(scratch)
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                let value = array.as_primitive::<Time64MicrosecondType>().value(row);
                self.time(i128::from(value) * 1000, scratch)?
            }
            DataType::Time64(_) => {
                let value = array.as_primitive::<Time64NanosecondType>().value(row);
                self.time(value.into(), scratch)?
            }
            DataType::Duration(unit) => {
                let (value, factor) = match unit {
                    TimeUnit::Second => {
                        (array.as_primitive::<DurationSecondType>().value(row), 1_000_000_000)
                    }
                    TimeUnit::Millisecond => {
                        (array.as_primitive::<DurationMillisecondType>().value(row), 1_000_000)
                    }
                    TimeUnit::Microsecond => {
                        (array.as_primitive::<DurationMicrosecondType>().value(row), 1_000)
                    }
                    TimeUnit::Nanosecond => (array.as_primitive::<DurationNanosecondType>().value(row), 1),
                };
                self.time(i128::from(value) * factor, scratch)?
            }
            DataType::Timestamp(..) => self.timestamp(nanoseconds(array, row)?, scratch)?,
            DataType::Interval(_) => {
                let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                let nanos = i128::from(value.nanoseconds);
                let sign = if nanos < 0 { "-" } else { "" };
                let (seconds, rest) =
                    (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
                let (months, days) = (value.months, value.days);
                scratch.push_str(&format!("P{months}M{days}DT{sign}{seconds}.{rest:09}S"));
                Cell::Text(scratch)
            }
            DataType::Struct(_) => self.structure(array, row, scratch)?,
            DataType::List(item)
                if self.target.server_type == Some(ServerType::Vector)
                    && *item.data_type() == DataType::Float32 =>
            {
                let values = array.as_list::<i32>().value(row);
                if values.null_count() > 0 {
                    return Err("has a null in it".into());
                }
                let numbers = values.as_primitive::<Float32Type>();
                Cell::Bytes(numbers.values().iter().flat_map(|number| number.to_le_bytes()).collect())
            }
            DataType::List(_) | DataType::Map(_, _) => {
                json::put(array, row, scratch)?;
                Cell::Text(scratch)
            }
            other => return Err(format!("is of type {other}, which has no place here")),
        })
    }

    fn check_double(&self, value: f64, single: bool) -> Result<(), String> {
        if !value.is_finite() {
            return Err(format!("is `{value}`, for which the servers have no number"));
        }
        if self.target.loses_negative_zero && value == 0.0 && value.is_sign_negative() {
            return Err("is `-0`, which MariaDB writes as 0 before version 11".into());
        }
        self.kept.check_double(value, single)
    }

    fn structure<'a>(
        &self,
        array: &'a dyn Array,
        row: usize,
        scratch: &'a mut String,
    ) -> Result<Cell<'a>, String> {
        let columns = array.as_struct();
        let offset = |place: usize| {
            let minutes = columns.column(place).as_primitive::<Int16Type>();
            minutes.is_valid(row).then(|| minutes.value(row))
        };
        match &self.logical {
            LogicalType::WideTimestamp => {
                let seconds = columns.column(0).as_primitive::<Int64Type>().value(row);
                let nanos = columns.column(1).as_primitive::<Int32Type>().value(row);
                let minutes = offset(2);
                let local = seconds + i64::from(minutes.unwrap_or_default()) * 60;
                let nanos = u32::try_from(nanos).map_err(|_| "has negative nanoseconds")?;
                time::put_timestamp(local, nanos, scratch).ok_or("is outside the years 1 to 9999")?;
                if let Some(minutes) = minutes {
                    time::put_offset(minutes, scratch);
                }
            }
            LogicalType::OffsetTimestamp(_) => {
                let nanos = nanoseconds(columns.column(0).as_ref(), row)?;
                let minutes = offset(1).unwrap_or_default();
                let local = nanos + i128::from(minutes) * 60_000_000_000;
                let seconds =
                    i64::try_from(local.div_euclid(1_000_000_000)).map_err(|_| "is out of range")?;
                let rest = local.rem_euclid(1_000_000_000) as u32;
                time::put_timestamp(seconds, rest, scratch).ok_or("is outside the years 1 to 9999")?;
                time::put_offset(minutes, scratch);
            }
            _ => json::put(array, row, scratch)?,
        }
        Ok(Cell::Text(scratch))
    }

    /// Digits, none of which the server would round away.
    fn decimal<'a>(&self, digits: &'a str) -> Result<Cell<'a>, String> {
        if let Some(ServerType::Decimal { scale, .. }) = self.target.server_type {
            let fraction = digits.split_once('.').map_or("", |(_, fraction)| fraction);
            let scale = usize::from(scale);
            if fraction.len() > scale && fraction.trim_end_matches('0').len() > scale {
                return Err("has more digits behind the point than the column".into());
            }
        }
        if matches!(self.target.server_type, Some(ServerType::Integer { .. } | ServerType::Year)) {
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            if fraction.bytes().any(|digit| digit != b'0') {
                return Err("is no whole number".into());
            }
            return Ok(Cell::Number(whole));
        }
        Ok(Cell::Number(digits))
    }

    fn text<'a>(&self, text: &'a str) -> Result<Cell<'a>, String> {
        if matches!(self.logical, LogicalType::DecimalText { .. })
            && matches!(
                self.target.server_type,
                Some(ServerType::Decimal { .. } | ServerType::Integer { .. })
            )
        {
            if !text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.')) {
                return Err(format!("is `{text}`, for which the servers have no number"));
            }
            return self.decimal(text);
        }
        if text.ends_with(' ') {
            let declared = &self.target.declared;
            let cuts = ["char", "enum", "set"].iter().any(|one| declared.starts_with(one));
            let long = declared.starts_with("varchar")
                && self.target.length().is_some_and(|length| text.chars().count() > length);
            if cuts || long {
                return Err("ends with a blank, which the server would cut off".into());
            }
        }
        self.kept.check_text(text)?;
        match self.target.server_type {
            Some(ServerType::Bytes) => return Ok(Cell::Bytes(text.as_bytes().into())),
            // Only MySQL declares it so: MariaDB's documents are texts.
            Some(ServerType::Json) => json::check_kept(text)?,
            _ => {}
        }
        Ok(Cell::Text(text))
    }

    fn bytes<'a>(&self, bytes: &'a [u8]) -> Result<Cell<'a>, String> {
        if self.target.server_type == Some(ServerType::Geometry) {
            return Ok(Cell::Bytes(with_srid(bytes)?.into()));
        }
        if self.target.declared.starts_with("binary")
            && self.target.length().is_some_and(|length| bytes.len() < length)
        {
            return Err("is shorter than the column, which the server would fill up".into());
        }
        Ok(Cell::Bytes(bytes.into()))
    }

    fn time<'a>(&self, nanos: i128, scratch: &'a mut String) -> Result<Cell<'a>, String> {
        self.check_digits(nanos)?;
        if nanos.abs() > LONGEST_TIME * 1000 {
            return Err("is longer than 838:59:59".into());
        }
        let length = nanos.unsigned_abs();
        if nanos < 0 {
            scratch.push('-');
        }
        time::put_clock((length / 1_000_000_000) as u64, (length % 1_000_000_000) as u32, scratch);
        Ok(Cell::Text(scratch))
    }

    fn timestamp<'a>(&self, nanos: i128, scratch: &'a mut String) -> Result<Cell<'a>, String> {
        self.check_digits(nanos)?;
        let is_instant = self.target.server_type == Some(ServerType::Timestamp);
        let offset = if is_instant { self.target.offset_seconds } else { 0 };
        let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).map_err(|_| "is out of range")?;
        let rest = nanos.rem_euclid(1_000_000_000) as u32;
        time::put_timestamp(seconds + offset, rest, scratch).ok_or("is outside the years 1 to 9999")?;
        Ok(Cell::Text(scratch))
    }

    /// The servers round what has more digits than the column, without a word.
    fn check_digits(&self, nanos: i128) -> Result<(), String> {
        if self.target.server_type == Some(ServerType::Text) {
            return Ok(());
        }
        if nanos % 10_i128.pow(9 - self.target.digits().min(6)) != 0 {
            return Err("has more digits behind the second than the column".into());
        }
        Ok(())
    }
}

fn nanoseconds(array: &dyn Array, row: usize) -> Result<i128, String> {
    Ok(match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            i128::from(array.as_primitive::<TimestampSecondType>().value(row)) * 1_000_000_000
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            i128::from(array.as_primitive::<TimestampMillisecondType>().value(row)) * 1_000_000
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            i128::from(array.as_primitive::<TimestampMicrosecondType>().value(row)) * 1_000
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            array.as_primitive::<TimestampNanosecondType>().value(row).into()
        }
        other => return Err(format!("is of type {other}, which is no time stamp")),
    })
}

fn put_uuid(bytes: &[u8], out: &mut String) {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        sql::put_hex(std::slice::from_ref(byte), out);
    }
}

/// The servers' own form of a geometry: four bytes of SRID, then WKB.
fn with_srid(wkb: &[u8]) -> Result<Vec<u8>, String> {
    let Some((&[order, t1, t2, t3, t4], rest)) = wkb.split_first_chunk::<5>() else {
        return Err("is no geometry".into());
    };
    let kind = u32::from_le_bytes([t1, t2, t3, t4]);
    if order == 1 && kind & EWKB_SRID != 0 {
        let (srid, rest) = rest.split_first_chunk::<4>().ok_or("is no geometry")?;
        return Ok([srid.as_slice(), &[1], &(kind & !EWKB_SRID).to_le_bytes(), rest].concat());
    }
    Ok([&[0; 4], wkb].concat())
}
