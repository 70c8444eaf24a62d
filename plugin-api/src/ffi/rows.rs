//! Rows and schemas to and from the C structs of the Arrow C data interface.

use std::mem::transmute;

use arrow::{
    array::{Array, ArrayData, RecordBatch, StructArray},
    datatypes::{DataType, Fields, Schema, SchemaRef},
    ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type},
};
use hub_plugin_abi::Rows;

use crate::{Error, ErrorKind, Result};

/// The words of an absent struct.
const NO_ARRAY: [u64; 10] = [0; 10];
const NO_SCHEMA: [u64; 9] = [0; 9];

/// A schema without rows.
pub(super) fn export_schema(schema: &Schema) -> Result<Rows> {
    let words = schema_words(schema)?;
    // SAFETY: the words are an owned C schema; the array is absent.
    Ok(unsafe { Rows::from_words(NO_ARRAY, words) })
}

/// Rows whose schema the other side knows.
pub(super) fn export_rows(batch: &RecordBatch) -> Rows {
    // SAFETY: the words are an owned C array; the schema is absent.
    unsafe { Rows::from_words(array_words(batch), NO_SCHEMA) }
}

/// Rows with their schema.
pub(super) fn export_batch(batch: &RecordBatch) -> Result<Rows> {
    let words = schema_words(batch.schema_ref())?;
    // SAFETY: both are owned C structs.
    Ok(unsafe { Rows::from_words(array_words(batch), words) })
}

/// The schema that a message carries.
pub(super) fn import_schema(rows: &mut Rows) -> Result<SchemaRef> {
    let words = rows.take_schema().ok_or_else(|| missing("a schema"))?;
    // SAFETY: `Rows` holds valid C structs, and `take_schema` gave this one away; the layouts are those of the
    // Arrow C data interface on both sides.
    let schema: FFI_ArrowSchema = unsafe { transmute::<[u64; 9], FFI_ArrowSchema>(words) };
    let schema = Schema::try_from(&schema).map_err(|error| {
        Error::new(ErrorKind::Protocol, "The other side sent an invalid Arrow schema").with_source(&error)
    })?;
    Ok(schema.into())
}

/// The rows that a message carries, of a known schema.
pub(super) fn import_rows(rows: &mut Rows, schema: &SchemaRef) -> Result<RecordBatch> {
    let words = rows.take_array().ok_or_else(|| missing("rows"))?;
    // SAFETY: as in `import_schema`.
    let array: FFI_ArrowArray = unsafe { transmute::<[u64; 10], FFI_ArrowArray>(words) };
    check_children(&array, schema.fields())?;
    // SAFETY: the array is valid by the contract of `Rows`, and of this schema by the contract of the call.
    let data = unsafe { from_ffi_and_data_type(array, DataType::Struct(schema.fields().clone())) }?;
    to_batch(data, schema)
}

/// The rows that a message carries together with their schema, if it carries any.
pub(super) fn import_batch(rows: &mut Rows) -> Result<Option<RecordBatch>> {
    let Ok(schema) = import_schema(rows) else {
        return Ok(None);
    };
    import_rows(rows, &schema).map(Some)
}

fn missing(what: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("The other side sent no {}", what.trim_start_matches("a ")))
}

/// Arrow's own import would read past the end of an array with fewer children than the schema.
fn check_children(array: &FFI_ArrowArray, fields: &Fields) -> Result<()> {
    if array.num_children() == fields.len() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Protocol,
        format!("The other side sent {} columns where its schema has {}", array.num_children(), fields.len()),
    ))
}

fn to_batch(data: ArrayData, schema: &SchemaRef) -> Result<RecordBatch> {
    let rows = StructArray::from(data);
    if rows.null_count() > 0 {
        return Err(Error::new(ErrorKind::Protocol, "The other side sent rows that are null as a whole"));
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let (_, columns, _) = rows.into_parts();
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|error| {
        Error::new(ErrorKind::Protocol, "The other side sent rows that do not fit their schema")
            .with_source(&error)
    })
}

fn array_words(batch: &RecordBatch) -> [u64; 10] {
    let rows = StructArray::from(batch.clone());
    let array = FFI_ArrowArray::new(&rows.into_data());
    // SAFETY: `FFI_ArrowArray` is the C struct: ten words, no padding; ownership moves into the words.
    unsafe { transmute::<FFI_ArrowArray, [u64; 10]>(array) }
}

fn schema_words(schema: &Schema) -> Result<[u64; 9]> {
    let schema = FFI_ArrowSchema::try_from(schema)?;
    // SAFETY: `FFI_ArrowSchema` is the C struct: nine words, no padding; ownership moves into the words.
    Ok(unsafe { transmute::<FFI_ArrowSchema, [u64; 9]>(schema) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray};

    use super::*;
    use crate::types::{Column, LogicalType, schema_of};

    #[test]
    fn batch_comes_back_with_its_metadata() {
        let schema = schema_of(&[
            Column::new("id", LogicalType::Int32).not_null().key(0),
            Column::new("name", LogicalType::Json).declared("postgres", "jsonb"),
        ]);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::new(StringArray::from(vec![Some("{}"), None]))];
        let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
        assert_eq!(import_batch(&mut export_batch(&batch).unwrap()).unwrap().unwrap(), batch);
        assert_eq!(import_rows(&mut export_rows(&batch.slice(1, 1)), &schema).unwrap(), batch.slice(1, 1));
        assert!(import_batch(&mut Rows::none()).unwrap().is_none());
    }

    #[test]
    fn rows_without_columns_keep_their_number() {
        let schema = schema_of(&[]);
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(3));
        let batch = RecordBatch::try_new_with_options(schema.clone(), vec![], &options).unwrap();
        assert_eq!(import_rows(&mut export_rows(&batch), &schema).unwrap().num_rows(), 3);
    }

    #[test]
    fn fewer_columns_than_the_schema_are_refused() {
        let one = schema_of(&[Column::new("a", LogicalType::Int32)]);
        let two = schema_of(&[Column::new("a", LogicalType::Int32), Column::new("b", LogicalType::Int32)]);
        let batch = RecordBatch::try_new(one, vec![Arc::new(Int32Array::from(vec![1]))]).unwrap();
        assert_eq!(import_rows(&mut export_rows(&batch), &two).unwrap_err().kind, ErrorKind::Protocol);
    }
}
