//! How the values of a column get into a column of the destination: decided once per shape, before the first row.

use arrow::datatypes::DataType;
use hub_plugin_api::{
    Error, ErrorKind, Result, arrow,
    types::{Column, LogicalType, Unit},
};

use super::{
    encode_json::has_text,
    encode_target::{Target, Wire},
};

/// The oid of text, for arrays that are cast from it.
const TEXT_OID: u32 = 25;

/// One column's way.
#[derive(Clone, Debug)]
pub(crate) struct ColumnPlan {
    /// Its place in the batch.
    pub index: usize,
    /// Its name at the destination.
    pub name: String,
    /// What its values mean.
    pub logical: LogicalType,
    /// Which Arrow type carries them.
    pub(super) carrier: DataType,
    pub(super) infinity: bool,
    pub(super) form: Form,
    /// Null is refused here already.
    pub required: bool,
    /// The destination's type.
    pub target: Target,
    /// What the wire carries, where that is text for the server to cast.
    pub via_text: Option<&'static str>,
}

/// The width of a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Two,
    Four,
    /// Unsigned.
    Oid,
    Eight,
}

/// What is written for a value.
#[derive(Clone, Debug)]
pub(super) enum Form {
    Bool,
    /// A whole number that has the column's width already.
    Same(Width),
    /// Any other whole number, checked.
    Integer(Width),
    IntegerNumeric,
    Decimal {
        scale: u8,
        kept: Option<i32>,
    },
    DecimalInteger {
        scale: u8,
        width: Width,
    },
    WideDecimal {
        scale: u8,
        kept: Option<i32>,
    },
    DecimalText {
        kept: Option<i32>,
    },
    Float4,
    Float8,
    Float4As8,
    /// Only values that come back the same.
    Float8As4,
    Text {
        limit: Option<usize>,
    },
    /// Text behind a version byte.
    Jsonb,
    Bytes,
    FixedBytes,
    Date,
    Time {
        unit: Unit,
        step: i64,
    },
    Timestamp {
        unit: Unit,
        step: i64,
    },
    WideTimestamp {
        step: i64,
        utc: bool,
    },
    OffsetTimestamp {
        unit: Unit,
        step: i64,
    },
    Duration {
        unit: Unit,
        step: i64,
    },
    Interval {
        step: i64,
    },
    List {
        item: Box<ColumnPlan>,
        oid: u32,
    },
    /// The exact text of any scalar.
    Rendered {
        limit: Option<usize>,
    },
    /// The JSON of any value; with a version byte for jsonb.
    RenderedJson {
        binary: bool,
    },
}

impl ColumnPlan {
    /// Decides for a column of a batch and a column of the destination.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`] when values of the one have no exact place in the other.
    pub(crate) fn new(index: usize, column: &Column, target: &Target) -> Result<Self> {
        let plan = |form, via_text| Self {
            index,
            name: column.name.clone(),
            logical: column.logical.clone(),
            carrier: column.to_field().data_type().clone(),
            infinity: column.infinity,
            form,
            required: false,
            target: target.clone(),
            via_text,
        };
        let declared_alike = column.engine.as_deref() == Some("postgres")
            && column.declared.as_deref() == Some(target.declared.as_str());
        if let Some(form) = form_of(column, target, declared_alike)? {
            return Ok(plan(form, None));
        }
        if let Some(type_name) = cast_from(&column.logical, &target.wire) {
            let form = match &column.logical {
                LogicalType::List(item) => {
                    let item = Column { logical: (**item).clone(), ..column.clone() };
                    let text = text_target();
                    let item = Self::new(0, &item, &text)?;
                    Form::List { item: Box::new(item), oid: TEXT_OID }
                }
                _ => Form::Text { limit: None },
            };
            return Ok(plan(form, Some(type_name)));
        }
        let what = describe(&column.logical);
        Err(Error::new(
            ErrorKind::SchemaMismatch,
            format!("Column `{}`: {what} has no exact place in `{}`", column.name, target.declared),
        )
        .with_hint("Change the column's type, or cast the value in option `statements`"))
    }

    /// The same plan for a column in which null cannot be.
    #[must_use]
    pub(crate) fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same plan for a batch that has the column at another place.
    #[must_use]
    pub(crate) fn at(&self, index: usize) -> Self {
        Self { index, ..self.clone() }
    }

    /// The type on the wire: of a staging table's column and of a bound value.
    pub(crate) fn wire_type(&self) -> &str {
        self.via_text.unwrap_or(&self.target.cast)
    }
}

fn text_target() -> Target {
    Target {
        wire: Wire::Text { limit: None },
        oid: TEXT_OID,
        declared: "text".into(),
        cast: "\"pg_catalog\".\"text\"".into(),
    }
}

/// A type of the boundary in words.
fn describe(logical: &LogicalType) -> String {
    match logical {
        LogicalType::Opaque { type_name, vendor_name, .. } => format!("`{type_name}` of {vendor_name}"),
        other => format!("a value of type `{}`", type_word(other)),
    }
}

fn type_word(logical: &LogicalType) -> String {
    let text = format!("{logical:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_lowercase()
}

/// The text type that the server casts to the column's type.
fn cast_from(logical: &LogicalType, wire: &Wire) -> Option<&'static str> {
    let written_by_a_server =
        |logical: &LogicalType| matches!(logical, LogicalType::Opaque { binary: false, .. });
    let text = |logical: &LogicalType| matches!(logical, LogicalType::Text | LogicalType::Enum(_));
    match (logical, wire) {
        (LogicalType::List(item), Wire::Array(element)) => {
            let castable = written_by_a_server(item) || (text(item) && element.wire == Wire::Other);
            castable.then_some("\"pg_catalog\".\"_text\"")
        }
        (_, Wire::Other) if text(logical) => Some("\"pg_catalog\".\"text\""),
        _ if written_by_a_server(logical) => Some("\"pg_catalog\".\"text\""),
        _ => None,
    }
}

fn form_of(column: &Column, target: &Target, declared_alike: bool) -> Result<Option<Form>> {
    use LogicalType as T;
    let logical = &column.logical;
    Ok(Some(match (logical, &target.wire) {
        (T::Boolean, Wire::Bool) => Form::Bool,
        (T::Int16, Wire::Int2) => Form::Same(Width::Two),
        (T::Int32, Wire::Int4) => Form::Same(Width::Four),
        (T::Int64, Wire::Int8) => Form::Same(Width::Eight),
        (_, Wire::Int2) if is_integer(logical) => Form::Integer(Width::Two),
        (_, Wire::Int4) if is_integer(logical) => Form::Integer(Width::Four),
        (_, Wire::Oid) if is_integer(logical) => Form::Integer(Width::Oid),
        (_, Wire::Int8) if is_integer(logical) => Form::Integer(Width::Eight),
        (_, Wire::Numeric { scale: None | Some(0..) }) if is_integer(logical) => Form::IntegerNumeric,
        (T::Decimal { precision: 0..=38, scale }, Wire::Numeric { scale: kept }) => {
            Form::Decimal { scale: *scale, kept: *kept }
        }
        (T::Decimal { scale, .. }, Wire::Numeric { scale: kept }) => {
            Form::WideDecimal { scale: *scale, kept: *kept }
        }
        (T::Decimal { precision: 0..=38, scale }, Wire::Int2) => {
            Form::DecimalInteger { scale: *scale, width: Width::Two }
        }
        (T::Decimal { precision: 0..=38, scale }, Wire::Int4) => {
            Form::DecimalInteger { scale: *scale, width: Width::Four }
        }
        (T::Decimal { precision: 0..=38, scale }, Wire::Int8) => {
            Form::DecimalInteger { scale: *scale, width: Width::Eight }
        }
        (T::DecimalText { .. }, Wire::Numeric { scale: kept }) => Form::DecimalText { kept: *kept },
        (T::Float32, Wire::Float4) => Form::Float4,
        (T::Float64, Wire::Float8) => Form::Float8,
        (T::Float32, Wire::Float8) => Form::Float4As8,
        (T::Float64, Wire::Float4) => Form::Float8As4,
        (T::Text | T::Enum(_) | T::Json | T::DecimalText { .. }, Wire::Text { limit }) => {
            Form::Text { limit: limit.filter(|_| !declared_alike) }
        }
        (T::Opaque { binary: false, .. }, Wire::Text { limit }) => Form::Text { limit: *limit },
        (T::Json | T::Text, Wire::Jsonb) => Form::Jsonb,
        (T::Binary | T::Geometry | T::Opaque { binary: true, .. }, Wire::Bytea) => Form::Bytes,
        (T::FixedBinary(_) | T::Uuid, Wire::Bytea) => Form::FixedBytes,
        (T::Uuid | T::FixedBinary(16), Wire::Uuid) => Form::FixedBytes,
        (T::Geometry, Wire::Other) if target.declared.starts_with("geometry") => Form::Bytes,
        (T::Date, Wire::Date) => Form::Date,
        (T::Time(unit), Wire::Time { step }) => Form::Time { unit: *unit, step: *step },
        (T::Timestamp { unit, utc }, Wire::Timestamp { step, utc: zoned }) if utc == zoned => {
            Form::Timestamp { unit: *unit, step: *step }
        }
        (T::WideTimestamp, Wire::Timestamp { step, utc }) => Form::WideTimestamp { step: *step, utc: *utc },
        // The instant is exact; the offset has no place in the column that the user chose for it.
        (T::OffsetTimestamp(unit), Wire::Timestamp { step, utc: true }) => {
            Form::OffsetTimestamp { unit: *unit, step: *step }
        }
        (T::Duration(unit), Wire::Interval { step, whole: true }) => {
            Form::Duration { unit: *unit, step: *step }
        }
        (T::Interval, Wire::Interval { step, whole }) if *whole || declared_alike => {
            Form::Interval { step: *step }
        }
        (T::List(item), Wire::Array(element)) => {
            let column = Column { logical: (**item).clone(), declared: None, ..column.clone() };
            match ColumnPlan::new(0, &column, element) {
                Ok(plan) if plan.via_text.is_none() => Form::List { item: Box::new(plan), oid: element.oid },
                Ok(_) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        (T::List(_) | T::Struct(_) | T::Map(..), Wire::Jsonb) => Form::RenderedJson { binary: true },
        (T::List(_) | T::Struct(_) | T::Map(..), Wire::Text { limit: None }) => {
            Form::RenderedJson { binary: false }
        }
        (_, Wire::Text { limit }) if has_text(logical) => Form::Rendered { limit: *limit },
        _ => return Ok(None),
    }))
}

fn is_integer(logical: &LogicalType) -> bool {
    use LogicalType as T;
    matches!(logical, T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64)
}
