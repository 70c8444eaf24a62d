//! Cells as text.

use std::sync::Arc;

use arrow::{
    array::Array,
    compute::cast,
    datatypes::{DataType, Field, FieldRef},
    util::display::{ArrayFormatter, FormatOptions},
};

use crate::Result;

/// A cell as `arrow` writes it, instants among them: for those `arrow` alone wants a table of the world's time zones,
/// even where the zone is UTC.
///
/// # Errors
/// When the value has no text, such as a time stamp beyond the years that `arrow` can write.
pub fn cell_text(array: &dyn Array, row: usize, options: &FormatOptions<'_>) -> Result<String> {
    let one = array.slice(row, 1);
    let shown = match shown_as(array.data_type()) {
        Some(shown) => cast(&one, &shown)?,
        None => one,
    };
    Ok(ArrayFormatter::try_new(&shown, options)?.value(0).try_to_string()?)
}

/// The type with offsets in place of names of zones; `None` where it has none.
fn shown_as(data_type: &DataType) -> Option<DataType> {
    let item = |field: &FieldRef| {
        let shown = shown_as(field.data_type())?;
        Some(Arc::new(Field::clone(field).with_data_type(shown)))
    };
    Some(match data_type {
        DataType::Timestamp(unit, Some(zone)) if **zone == *"UTC" => {
            DataType::Timestamp(*unit, Some("+00:00".into()))
        }
        DataType::List(field) => DataType::List(item(field)?),
        DataType::Map(entries, sorted) => DataType::Map(item(entries)?, *sorted),
        DataType::Struct(fields) if fields.iter().any(|field| shown_as(field.data_type()).is_some()) => {
            DataType::Struct(
                fields.iter().map(|field| item(field).unwrap_or_else(|| Arc::clone(field))).collect(),
            )
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{ArrayRef, ListArray, StructArray, TimestampMicrosecondArray},
        buffer::OffsetBuffer,
    };

    use super::*;

    #[test]
    fn instants_are_written_wherever_they_stand() {
        let micros = [Some(1_500_000), Some(-1)];
        let instants: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter(micros).with_timezone("UTC"));
        let text = |array: &dyn Array, row| cell_text(array, row, &FormatOptions::new()).unwrap();
        assert_eq!(text(&instants, 0), "1970-01-01T00:00:01.500Z");
        assert_eq!(text(&instants, 1), "1969-12-31T23:59:59.999999Z");
        let item = Arc::new(Field::new("item", instants.data_type().clone(), true));
        let list = ListArray::new(item, OffsetBuffer::from_lengths([2]), Arc::clone(&instants), None);
        assert_eq!(text(&list, 0), "[1970-01-01T00:00:01.500Z, 1969-12-31T23:59:59.999999Z]");
        let fields = Field::new("at", instants.data_type().clone(), true);
        let structs = StructArray::from(vec![(Arc::new(fields), instants)]);
        assert_eq!(text(&structs, 1), "{at: 1969-12-31T23:59:59.999999Z}");
    }
}
