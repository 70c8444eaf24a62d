//! JSON objects, one a line, as batches of rows.

use std::fmt;

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{
        array::{RecordBatch, types::*},
        compute::kernels::cast_utils::Parser,
        datatypes::SchemaRef,
    },
    types::{Column, LogicalType, Unit, schema_of},
};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
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
        let mut rows = Vec::new();
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
            let fields = serde_json::from_str(line)
                .map_err(|error| wrong(format!("is not a JSON object: {error}")))?;
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
            for (name, _) in &row.fields.0 {
                if !self.columns.iter().any(|column| column.name == *name) {
                    let message = format!("Line {}: the field `{name}` is not among the columns", row.line);
                    return Err(Error::new(ErrorKind::SchemaMismatch, message).with_hint(DECLARE));
                }
            }
            for (index, (column, builder)) in self.columns.iter().zip(&mut builders).enumerate() {
                let found = match row.fields.0.get(index) {
                    Some((name, value)) if *name == column.name => Some(*value),
                    _ => row.fields.0.iter().find(|(name, _)| *name == column.name).map(|(_, value)| *value),
                };
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
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields: Self::Value = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if fields.iter().any(|(other, _)| *other == name) {
                        return Err(M::Error::custom(format_args!("the field `{name}` is there twice")));
                    }
                    fields.push((name, value));
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object).map(Fields)
    }
}

/// The columns of the first batch: of each field the one kind that all its values are of.
fn infer(rows: &[Row<'_>]) -> Result<Vec<Column>> {
    let mut columns: Vec<(String, Option<LogicalType>)> = Vec::new();
    for row in rows {
        for (name, value) in &row.fields.0 {
            let found = kind_of(value.get());
            match columns.iter_mut().find(|(known, _)| known == name) {
                None => columns.push((name.clone(), found)),
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

const EXACT: LogicalType = LogicalType::DecimalText { precision: None, scale: None };

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

fn significant(number: &str) -> usize {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_start_matches('0').trim_end_matches('0').len()
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

/// The columns that the option `columns` declares: `name: type`, or `{name, type, nullable, key}`.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] with the column.
pub(super) fn declared(columns: &serde_json::Value) -> Result<Vec<Column>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Declared {
        name: String,
        r#type: String,
        #[serde(default = "yes")]
        nullable: bool,
        key: Option<u32>,
    }
    const fn yes() -> bool {
        true
    }
    let wrong = |what: String| Error::config("columns", what);
    let declared: Vec<Declared> = match columns {
        serde_json::Value::Object(names) => names
            .iter()
            .map(|(name, kind)| {
                let kind = kind.as_str().ok_or_else(|| wrong(format!("`{name}` has no type")))?;
                Ok(Declared { name: name.clone(), r#type: kind.into(), nullable: true, key: None })
            })
            .collect::<Result<_>>()?,
        list => serde_json::from_value(list.clone()).map_err(|error| {
            wrong("`columns` is not a list of `{name, type, nullable, key}`".into()).with_source(&error)
        })?,
    };
    let mut columns: Vec<Column> = Vec::new();
    for one in declared {
        let logical = type_named(&one.r#type).ok_or_else(|| {
            wrong(format!("Column `{}` is of type `{}`, which is not known", one.name, one.r#type)).with_hint(
                "There are boolean, integer, unsigned, float, number, decimal(p,s), text, date, time, timestamp, \
                 instant and json",
            )
        })?;
        if columns.iter().any(|column| column.name == one.name) {
            return Err(wrong(format!("Column `{}` is declared twice", one.name)));
        }
        let mut column = Column::new(one.name, logical);
        (column.nullable, column.key) = (one.nullable, one.key);
        columns.push(column);
    }
    Ok(columns)
}

fn type_named(name: &str) -> Option<LogicalType> {
    let unit = Unit::Microsecond;
    Some(match name.trim() {
        "boolean" => LogicalType::Boolean,
        "integer" => LogicalType::Int64,
        "unsigned" => LogicalType::UInt64,
        "float" => LogicalType::Float64,
        "number" => EXACT,
        "text" => LogicalType::Text,
        "date" => LogicalType::Date,
        "time" => LogicalType::Time(unit),
        "timestamp" => LogicalType::Timestamp { unit, utc: false },
        "instant" => LogicalType::Timestamp { unit, utc: true },
        "json" => LogicalType::Json,
        other => {
            let digits = other.strip_prefix("decimal(")?.strip_suffix(')')?;
            let (precision, scale) = digits.split_once(',')?;
            let (precision, scale): (u8, u8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            if precision == 0 || precision > 76 || scale > precision {
                return None;
            }
            LogicalType::Decimal { precision, scale }
        }
    })
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

    use super::*;

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

    #[test]
    fn declared_columns_are_read() {
        let columns = declared(&json!({
            "d": "decimal(10,2)", "on": "date", "at": "instant", "u": "unsigned", "j": "json", "b": "boolean"
        }))
        .unwrap();
        let line = br#"{"d":1.5,"on":"2024-02-29","at":"2024-01-01T00:00:00Z","u":18446744073709551615,"j":{"x":[1]},"b":true}"#;
        let batch = Lines::new(columns, 1 << 20).take(line, true).unwrap().unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (1, 6));
        assert_eq!(batch.column(4).as_string::<i32>().value(0), r#"{"x":[1]}"#);
        for wrong in [json!({"a": "int"}), json!([{"name": "a"}]), json!({"a": "decimal(3,4)"})] {
            assert_eq!(declared(&wrong).unwrap_err().field.as_deref(), Some("columns"));
        }
    }
}
