//! JSON objects, one a line, as batches of rows.

use std::{borrow::Cow, fmt};

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{
        array::{RecordBatch, types::*},
        compute::kernels::cast_utils::Parser,
        datatypes::SchemaRef,
    },
    types::{Column, LogicalType, schema_of},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    bindings::connector_hub::plugin::types::Value,
    rows_in::{Builder, finish},
};

/// The digits that a float keeps, whatever they are.
const FLOAT_DIGITS: usize = 15;

/// Turns what a program prints into batches. The columns are declared, or those of the first batch.
pub(super) struct Lines {
    columns: Vec<Column>,
    schema: Option<SchemaRef>,
    /// What is printed of a line that is not over.
    rest: Vec<u8>,
    /// Lines before the batch under way.
    line: u64,
    max_bytes: usize,
}

impl Lines {
    pub(super) fn new(columns: Vec<Column>, max_bytes: usize) -> Self {
        let schema = (!columns.is_empty()).then(|| schema_of(&columns));
        Self { columns, schema, rest: Vec::new(), line: 0, max_bytes }
    }

    /// The rows of all lines that are whole; at the end the last one too, also without a line break.
    pub(super) fn take(&mut self, bytes: &[u8], is_over: bool) -> Result<Option<RecordBatch>> {
        self.rest.extend_from_slice(bytes);
        let whole = match self.rest.iter().rposition(|byte| *byte == b'\n') {
            _ if is_over => self.rest.len(),
            Some(last) => last + 1,
            None if self.rest.len() > self.max_bytes => {
                let message =
                    format!("Line {} of the program has more than {} bytes", self.line + 1, self.max_bytes);
                return Err(Error::new(ErrorKind::ResourceExhausted, message)
                    .with_hint("Print one JSON object a line, or raise the option `batch_mib`"));
            }
            None => return Ok(None),
        };
        let behind = self.rest.split_off(whole);
        let text = std::mem::replace(&mut self.rest, behind);
        let rows = self.rows_of(&text)?;
        if rows.is_empty() {
            return Ok(None);
        }
        if self.schema.is_none() {
            self.columns = infer(&rows)?;
            self.schema = Some(schema_of(&self.columns));
        }
        self.batch_of(&rows).map(Some)
    }

    fn rows_of<'a>(&mut self, text: &'a [u8]) -> Result<Vec<Row<'a>>> {
        let mut rows: Vec<Row<'a>> = Vec::new();
        for line in text.split(|byte| *byte == b'\n') {
            self.line += 1;
            let wrong = |what: String| {
                Error::new(ErrorKind::InvalidData, format!("Line {} of the program {what}", self.line))
                    .with_hint("Print one JSON object a line on standard output, and everything else on standard error")
            };
            let line = std::str::from_utf8(line).map_err(|_| wrong("is not text in UTF-8".into()))?;
            if line.trim().is_empty() {
                continue;
            }
            let before = Before(rows.last().map_or(&[], |row: &Row<'_>| row.fields.as_slice()));
            let mut json = serde_json::Deserializer::from_str(line);
            let fields = before.deserialize(&mut json).and_then(|fields| json.end().map(|()| fields));
            let fields = fields.map_err(|error| wrong(format!("is not a JSON object: {error}")))?;
            rows.push(Row { line: self.line, fields });
        }
        // What stands behind the last line break is no line.
        self.line -= 1;
        Ok(rows)
    }

    fn batch_of(&self, rows: &[Row<'_>]) -> Result<RecordBatch> {
        let Some(schema) = &self.schema else { return Err(Error::internal("A batch without columns")) };
        let mut builders: Vec<_> =
            schema.fields().iter().map(|field| Builder::new(field.data_type(), rows.len())).collect();
        for row in rows {
            for (index, (name, _)) in row.fields.iter().enumerate() {
                let is_next = self.columns.get(index).is_some_and(|column| column.name == *name);
                if !is_next && !self.columns.iter().any(|column| column.name == *name) {
                    let message = format!("Line {}: the field `{name}` is not among the columns", row.line);
                    return Err(Error::new(ErrorKind::SchemaMismatch, message).with_hint(DECLARE));
                }
            }
            for (index, (column, builder)) in self.columns.iter().zip(&mut builders).enumerate() {
                let found = match row.fields.get(index) {
                    Some((name, value)) if *name == column.name => Some(*value),
                    _ => row.fields.iter().find(|(name, _)| *name == column.name).map(|(_, value)| *value),
                };
                if let (Builder::Text(texts), LogicalType::Text, Some(text)) =
                    (&mut *builder, &column.logical, found.and_then(plain_text))
                {
                    texts.append_value(text);
                    continue;
                }
                let value = found.map_or(Ok(Value::Null), |value| value_of(value.get(), &column.logical));
                let appended = value.and_then(|value| match value {
                    Value::Null if !column.nullable => Err("is null, and the column is not nullable".into()),
                    value => builder.append(value),
                });
                appended.map_err(|what| {
                    let message = format!("Line {}, column `{}`: the value {what}", row.line, column.name);
                    Error::new(ErrorKind::SchemaMismatch, message).with_hint(DECLARE)
                })?;
            }
        }
        finish(schema, builders.into_iter().map(Builder::finish).collect(), rows.len())
    }
}

/// What helps against columns that do not fit.
const DECLARE: &str = "Without the option `columns` the columns are those of the first batch: declare them";

struct Row<'a> {
    line: u64,
    fields: Fields<'a>,
}

/// A line's fields in their order, values as they are written.
type Fields<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// A field's name, where it lies unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads a line's fields. As long as they are named as those of the line before, none is there twice.
struct Before<'b, 'a>(&'b [(Cow<'a, str>, &'a RawValue)]);

impl<'de> DeserializeSeed<'de> for Before<'_, 'de> {
    type Value = Fields<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Before<'_, 'de> {
    type Value = Fields<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut fields = Fields::with_capacity(self.0.len());
        let mut is_alike = true;
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &RawValue>()? {
            is_alike = is_alike && self.0.get(fields.len()).is_some_and(|(before, _)| *before == name);
            if !is_alike && fields.iter().any(|(other, _)| *other == name) {
                return Err(M::Error::custom(format_args!("the field `{name}` is there twice")));
            }
            fields.push((name, value));
        }
        Ok(fields)
    }
}

/// A text that stands in JSON as it is.
fn plain_text(value: &RawValue) -> Option<&str> {
    let text = value.get().strip_prefix('"')?.strip_suffix('"')?;
    (!text.contains('\\')).then_some(text)
}

/// The columns of the first batch: of each field the one kind that all its values are of.
fn infer(rows: &[Row<'_>]) -> Result<Vec<Column>> {
    let mut columns: Vec<(String, Option<LogicalType>)> = Vec::new();
    for row in rows {
        for (name, value) in &row.fields {
            let found = kind_of(value.get());
            match columns.iter_mut().find(|(known, _)| known == name) {
                None => columns.push((name.clone().into_owned(), found)),
                Some((_, known)) => {
                    let merged = merge(known.take(), found).map_err(|(one, other)| {
                        let message = format!(
                            "Line {}: the field `{name}` is {} where it was {}",
                            row.line,
                            described(&other),
                            described(&one)
                        );
                        Error::new(ErrorKind::SchemaMismatch, message).with_hint(DECLARE)
                    })?;
                    *known = merged;
                }
            }
        }
    }
    // What is null throughout is text: every database takes it.
    Ok(columns.into_iter().map(|(name, kind)| Column::new(name, kind.unwrap_or(LogicalType::Text))).collect())
}

pub(super) const EXACT: LogicalType = LogicalType::DecimalText { precision: None, scale: None };

/// The kind of a value that is no null.
fn kind_of(json: &str) -> Option<LogicalType> {
    Some(match json.as_bytes().first()? {
        b'n' => return None,
        b't' | b'f' => LogicalType::Boolean,
        b'"' => LogicalType::Text,
        b'[' | b'{' => LogicalType::Json,
        _ if json.parse::<i64>().is_ok() => LogicalType::Int64,
        _ if json.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
            || significant(json) > FLOAT_DIGITS + 2 =>
        {
            EXACT
        }
        _ => LogicalType::Float64,
    })
}

/// Digits of a number without the zeros at both ends.
fn significant(number: &str) -> usize {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0');
    digits.enumerate().filter(|(_, digit)| *digit != b'0').last().map_or(0, |(at, _)| at + 1)
}

/// The kind that holds both without a difference.
fn merge(
    one: Option<LogicalType>,
    other: Option<LogicalType>,
) -> Result<Option<LogicalType>, (LogicalType, LogicalType)> {
    let (one, other) = match (one, other) {
        (None, kind) | (kind, None) => return Ok(kind),
        (Some(one), Some(other)) if one == other => return Ok(Some(one)),
        (Some(one), Some(other)) => (one, other),
    };
    let is_number =
        |kind: &LogicalType| matches!(kind, LogicalType::Int64 | LogicalType::Float64) || *kind == EXACT;
    match (&one, &other) {
        (LogicalType::Int64 | LogicalType::Float64, LogicalType::Int64 | LogicalType::Float64) => {
            Ok(Some(LogicalType::Float64))
        }
        _ if is_number(&one) && is_number(&other) => Ok(Some(EXACT)),
        _ => Err((one, other)),
    }
}

fn described(kind: &LogicalType) -> &'static str {
    match kind {
        LogicalType::Boolean => "a boolean",
        LogicalType::Text => "text",
        LogicalType::Json => "a list or an object",
        _ => "a number",
    }
}

/// A value as a column of this type takes it.
fn value_of(json: &str, logical: &LogicalType) -> Result<Value, String> {
    let not = |what: &str| format!("`{}` is not {what}", shown(json));
    let text = || serde_json::from_str::<String>(json).map_err(|_| not("text"));
    if json == "null" {
        return Ok(Value::Null);
    }
    Ok(match logical {
        LogicalType::Boolean => Value::Boolean(json.parse().map_err(|_| not("a boolean"))?),
        LogicalType::Int64 => Value::Signed(json.parse().map_err(|_| not("a whole number of 64 bits"))?),
        LogicalType::UInt64 => {
            Value::Unsigned(json.parse().map_err(|_| not("a whole number of 64 bits from 0"))?)
        }
        LogicalType::Float64 => float(json).ok_or_else(|| not("a number that a float holds as it is"))?,
        LogicalType::DecimalText { .. } if is_number(json) => Value::Text(json.to_owned()),
        LogicalType::DecimalText { .. } => return Err(not("a number")),
        LogicalType::Decimal { .. } if is_number(json) => Value::Decimal(json.to_owned()),
        LogicalType::Decimal { .. } => Value::Decimal(text().map_err(|_| not("a number"))?),
        LogicalType::Text => Value::Text(text()?),
        LogicalType::Date => Value::Date(Date32Type::parse(&text()?).ok_or_else(|| not("a date"))?),
        LogicalType::Time(_) => {
            Value::Time(Time64MicrosecondType::parse(&text()?).ok_or_else(|| not("a time"))?)
        }
        LogicalType::Timestamp { utc: false, .. } => {
            Value::Timestamp(TimestampMicrosecondType::parse(&text()?).ok_or_else(|| not("a timestamp"))?)
        }
        LogicalType::Timestamp { utc: true, .. } => {
            Value::Instant(TimestampMicrosecondType::parse(&text()?).ok_or_else(|| not("a timestamp"))?)
        }
        _ => Value::Json(json.to_owned()),
    })
}

fn is_number(json: &str) -> bool {
    json.as_bytes().first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-')
}

/// A float, unless digits would be lost.
fn float(json: &str) -> Option<Value> {
    if !is_number(json) {
        return None;
    }
    let value: f64 = json.parse().ok()?;
    let is_exact = match json.parse::<i128>() {
        Ok(whole) => value.abs() < 9_007_199_254_740_993.0 || value as i128 == whole,
        Err(_) => value.is_finite() && significant(json) <= FLOAT_DIGITS + 2,
    };
    is_exact.then_some(Value::Float(value))
}

fn shown(json: &str) -> String {
    let mut text: String = json.chars().take(40).collect();
    if text.len() < json.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::{
        arrow::{
            array::{Array, AsArray},
            datatypes::Int64Type,
        },
        json,
    };

    use super::{super::declared::declared, *};

    fn all(text: &str) -> Result<Option<RecordBatch>> {
        Lines::new(Vec::new(), 1 << 20).take(text.as_bytes(), true)
    }

    #[test]
    fn lines_become_rows_wherever_they_are_cut() {
        let text = "{\"id\":1,\"t\":\"é\"}\n\n{\"id\":2,\"t\":null}\n{\"t\":\"x\"}";
        let whole = all(text).unwrap().unwrap();
        assert_eq!((whole.num_rows(), whole.column(0).as_primitive::<Int64Type>().value(1)), (3, 2));
        assert!(whole.column(0).is_null(2) && whole.column(1).is_null(1));
        let mut lines = Lines::new(whole_columns(), 1 << 20);
        let mut rows = 0;
        for byte in text.as_bytes() {
            rows += lines.take(&[*byte], false).unwrap().map_or(0, |batch| batch.num_rows());
        }
        rows += lines.take(&[], true).unwrap().map_or(0, |batch| batch.num_rows());
        assert_eq!(rows, 3);
    }

    fn whole_columns() -> Vec<Column> {
        declared(&json!([{"name": "id", "type": "integer"}, {"name": "t", "type": "text"}])).unwrap()
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_line() {
        for (text, message) in [
            ("{\"a\":1}\n{\"a\":\"x\"}", "Line 2: the field `a` is text where it was a number"),
            (
                "{\"a\":1}\nhello",
                "Line 2 of the program is not a JSON object: expected value at line 1 column 1",
            ),
            (
                "{\"a\":1,\"a\":2}",
                "Line 1 of the program is not a JSON object: the field `a` is there twice at line 1 column 13",
            ),
        ] {
            assert_eq!(all(text).unwrap_err().message, message);
        }
        let mut lines = Lines::new(Vec::new(), 1 << 20);
        lines.take(b"{\"a\":1}\n", false).unwrap().unwrap();
        let error = lines.take(b"{\"a\":2}\n{\"a\":1.5}\n", false).unwrap_err();
        assert_eq!(error.message, "Line 3, column `a`: the value `1.5` is not a whole number of 64 bits");
        let mut lines = Lines::new(whole_columns(), 1 << 20);
        let error = lines.take(b"{\"id\":1,\"z\":2}\n", false).unwrap_err();
        assert_eq!(error.message, "Line 1: the field `z` is not among the columns");
        let error = Lines::new(Vec::new(), 10).take(b"{\"a\":\"0123456789\"", false).unwrap_err();
        assert_eq!(error.message, "Line 1 of the program has more than 10 bytes");
    }

    #[test]
    fn fields_are_told_apart_whatever_the_line_before_had() {
        for text in ["{\"a\":1,\"b\":2}\n{\"a\":1,\"a\":2}", "{\"b\":1,\"a\":2}\n{\"a\":1,\"a\":2}"] {
            assert!(all(text).unwrap_err().message.contains("the field `a` is there twice"), "{text}");
        }
        let swapped =
            all("{\"a\":\"x\",\"\\u0062\":\"\\\"y\\\"\"}\n{\"b\":\"z\",\"a\":null}").unwrap().unwrap();
        let [a, b] = [0, 1].map(|column| swapped.column(column).as_string::<i32>());
        assert_eq!((a.value(0), b.value(0), b.value(1)), ("x", "\"y\"", "z"));
        assert!(a.is_null(1));
    }

    #[test]
    fn significant_digits_are_counted_between_zeros() {
        for (number, digits) in
            [("0", 0), ("-0.010", 1), ("100", 1), ("1.05e10", 3), ("9007199254740993", 16)]
        {
            assert_eq!(significant(number), digits, "{number}");
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        let batch = all("{\"a\":1,\"b\":12345678901234567890,\"c\":0.1}\n{\"a\":2.5,\"b\":1,\"c\":3}")
            .unwrap()
            .unwrap();
        let columns = hub_plugin_api::types::columns_of(batch.schema_ref()).unwrap();
        let kinds: Vec<_> = columns.iter().map(|column| column.logical.clone()).collect();
        assert_eq!(kinds, [LogicalType::Float64, EXACT, LogicalType::Float64]);
        assert_eq!(batch.column(1).as_string::<i32>().value(0), "12345678901234567890");
        let mut lines = Lines::new(declared(&json!({"f": "float"})).unwrap(), 100);
        assert!(lines.take(b"{\"f\":9007199254740993}\n", false).unwrap_err().message.contains("as it is"));
    }
}
