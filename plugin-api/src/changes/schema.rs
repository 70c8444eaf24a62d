use std::sync::Arc;

use arrow::datatypes::{Field, Fields, Schema, SchemaRef};

use super::{BEFORE, OP, PATCH, SEQ, TS, UNCHANGED};
use crate::types::{Column, LogicalType, META_CHANGE, Unit};

/// The schema of the changes of a table with `columns`: the columns, then `__op`, `__ts`, `__seq`, `__before` and
/// `__unchanged`. Every field is nullable; NOT NULL is in the metadata.
pub fn change_schema(columns: &[Column]) -> SchemaRef {
    build(columns, false)
}

/// As [`change_schema`], with `__patch` at the end, for documents whose source sends differences.
pub fn change_schema_with_patch(columns: &[Column]) -> SchemaRef {
    build(columns, true)
}

fn build(columns: &[Column], patch: bool) -> SchemaRef {
    let row: Vec<Field> = columns.iter().map(|column| column.to_field().with_nullable(true)).collect();
    let before = Field::new(BEFORE, arrow::datatypes::DataType::Struct(Fields::from(row.clone())), true);
    let logical = |name: &str, logical| Column::new(name, logical).to_field();
    let mut added = vec![
        logical(OP, LogicalType::Text),
        logical(TS, LogicalType::Timestamp { unit: Unit::Microsecond, utc: true }),
        logical(SEQ, LogicalType::UInt64),
        before,
        logical(UNCHANGED, LogicalType::Binary),
    ];
    if patch {
        added.push(logical(PATCH, LogicalType::Json));
    }
    let marked = added.into_iter().map(|field| {
        let mut metadata = field.metadata().clone();
        metadata.insert(META_CHANGE.into(), field.name().clone());
        field.with_metadata(metadata)
    });
    Arc::new(Schema::new(row.into_iter().chain(marked).collect::<Vec<_>>()))
}

/// The constant that names a change column; none for a column of the row, whatever it is called.
pub(super) fn role(field: &Field) -> Option<&str> {
    field.metadata().get(META_CHANGE).map(String::as_str)
}

/// Whether rows of this schema are changes.
pub fn is_change_schema(schema: &Schema) -> bool {
    schema.fields().iter().any(|field| role(field) == Some(OP))
}

/// The places of the row's own columns, in order. Bit `i` of `__unchanged` belongs to the `i`-th of them.
pub fn row_columns(schema: &Schema) -> Vec<usize> {
    places(schema, |field| role(field).is_none())
}

/// The places of the change columns, in order.
pub fn change_columns(schema: &Schema) -> Vec<usize> {
    places(schema, |field| role(field).is_some())
}

fn places(schema: &Schema, wanted: impl Fn(&Field) -> bool) -> Vec<usize> {
    (0..schema.fields().len()).filter(|place| wanted(schema.field(*place))).collect()
}

/// The schema without its change columns: the shape of the table behind it. Fields stay nullable for Arrow.
pub fn row_schema(schema: &Schema) -> SchemaRef {
    let fields: Fields = schema.fields().iter().filter(|field| role(field).is_none()).cloned().collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{columns_of, key_columns};

    #[test]
    fn change_columns_are_known_by_metadata_and_not_by_name() {
        let columns = [
            Column::new("id", LogicalType::Int64).not_null().key(0),
            // A user's own column may have any name.
            Column::new("__op", LogicalType::Text),
        ];
        let schema = change_schema(&columns);
        assert!(is_change_schema(&schema));
        assert_eq!(row_columns(&schema), [0, 1]);
        assert_eq!(change_columns(&schema), [2, 3, 4, 5, 6]);
        assert_eq!(change_columns(&change_schema_with_patch(&columns)).len(), 6);
        assert!(schema.fields().iter().all(|field| field.is_nullable()));
        assert!(!is_change_schema(&row_schema(&schema)));
        assert_eq!(columns_of(&row_schema(&schema)).unwrap(), columns);
        assert_eq!(key_columns(&row_schema(&schema)), ["id"]);
        assert_eq!(columns_of(&schema).unwrap().len(), 7, "every change column is of the table of types");
    }
}
