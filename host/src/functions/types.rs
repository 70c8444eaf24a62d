//! The contract's column types and the types of the boundary.

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::datatypes::SchemaRef,
    types::{Column, LogicalType, MAX_DECIMAL_PRECISION, Unit, schema_of},
};

use super::bindings::connector_hub::plugin::types::{ColumnType, Digits, Field};

/// The schema of rows that a function yields.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`] with the column's name.
pub(super) fn schema_from(fields: &[Field]) -> Result<SchemaRef> {
    for (index, field) in fields.iter().enumerate() {
        if fields[..index].iter().any(|other| other.name == field.name) {
            return Err(mismatch(format!("Column `{}` is there twice", field.name)));
        }
    }
    Ok(schema_of(&fields.iter().map(column_from).collect::<Result<Vec<_>>>()?))
}

fn column_from(field: &Field) -> Result<Column> {
    let micro = Unit::Microsecond;
    let logical = match field.column_type {
        ColumnType::Boolean => LogicalType::Boolean,
        ColumnType::Signed => LogicalType::Int64,
        ColumnType::Unsigned => LogicalType::UInt64,
        ColumnType::Float => LogicalType::Float64,
        ColumnType::Decimal(Digits { precision, scale })
            if (1..=MAX_DECIMAL_PRECISION).contains(&precision) && scale <= precision =>
        {
            LogicalType::Decimal { precision, scale }
        }
        ColumnType::Decimal(Digits { precision, scale }) => {
            return Err(mismatch(format!(
                "Column `{}` is a decimal of {precision} digits, {scale} of them behind the point",
                field.name
            ))
            .with_hint("A decimal needs 1 to 76 digits, and not more behind the point than it has"));
        }
        ColumnType::Text => LogicalType::Text,
        ColumnType::Bytes => LogicalType::Binary,
        ColumnType::Date => LogicalType::Date,
        ColumnType::Time => LogicalType::Time(micro),
        ColumnType::Timestamp => LogicalType::Timestamp { unit: micro, utc: false },
        ColumnType::Instant => LogicalType::Timestamp { unit: micro, utc: true },
        ColumnType::Json => LogicalType::Json,
    };
    let mut column = Column::new(&field.name, logical);
    column.nullable = field.nullable;
    column.key = field.key;
    Ok(column)
}

/// The contract's field for a column that a statement yields.
///
/// # Errors
/// [`ErrorKind::UnsupportedType`] with the column's name for what only `arrow-ipc` carries.
pub(super) fn field_of(column: &Column) -> Result<Field> {
    let column_type = match &column.logical {
        LogicalType::Boolean => ColumnType::Boolean,
        LogicalType::Int8 | LogicalType::Int16 | LogicalType::Int32 | LogicalType::Int64 => {
            ColumnType::Signed
        }
        LogicalType::UInt8 | LogicalType::UInt16 | LogicalType::UInt32 | LogicalType::UInt64 => {
            ColumnType::Unsigned
        }
        LogicalType::Float32 | LogicalType::Float64 => ColumnType::Float,
        LogicalType::Decimal { precision, scale } => {
            ColumnType::Decimal(Digits { precision: *precision, scale: *scale })
        }
        LogicalType::Text | LogicalType::Enum(_) | LogicalType::Uuid => ColumnType::Text,
        LogicalType::DecimalText { .. } => ColumnType::Text,
        LogicalType::Opaque { binary: false, .. } => ColumnType::Text,
        LogicalType::Binary | LogicalType::FixedBinary(_) | LogicalType::Geometry => ColumnType::Bytes,
        LogicalType::Date => ColumnType::Date,
        LogicalType::Time(Unit::Microsecond) => ColumnType::Time,
        LogicalType::Timestamp { unit: Unit::Microsecond, utc: false } => ColumnType::Timestamp,
        LogicalType::Timestamp { unit: Unit::Microsecond, utc: true } => ColumnType::Instant,
        LogicalType::Json => ColumnType::Json,
        other => {
            return Err(Error::new(
                ErrorKind::UnsupportedType,
                format!(
                    "Column `{}` is of a type that rows and columns do not carry: {other:?}",
                    column.name
                ),
            )
            .with_hint("Cast it to text in the statement, or ask for the encoding arrow-ipc"));
        }
    };
    Ok(Field { name: column.name.clone(), column_type, nullable: column.nullable, key: column.key })
}

pub(super) fn mismatch(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::SchemaMismatch, message)
}
