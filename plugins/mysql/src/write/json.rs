//! Lists, structs and maps as JSON.

use hub_plugin_api::arrow::{
    array::{Array, AsArray},
    datatypes::DataType,
    util::display::{ArrayFormatter, FormatOptions},
};

/// Writes a value; `Err` says why it has no JSON.
pub(super) fn put(array: &dyn Array, row: usize, out: &mut String) -> Result<(), String> {
    if array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        number if number.is_integer() || number.is_floating() || number.is_decimal() => {
            let text = shown(array, row)?;
            if !text.ends_with(|last: char| last.is_ascii_digit()) {
                return Err(format!("holds `{text}`, which JSON has no number for"));
            }
            out.push_str(&text);
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            out.push('[');
            for item in 0..items.len() {
                if item > 0 {
                    out.push(',');
                }
                put(&items, item, out)?;
            }
            out.push(']');
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            out.push('{');
            for (index, (field, column)) in fields.iter().zip(columns).enumerate() {
                if index > 0 {
                    out.push(',');
                }
                text(field.name(), out);
                out.push(':');
                put(column, row, out)?;
            }
            out.push('}');
        }
        DataType::Map(_, _) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            out.push('{');
            for entry in 0..entries.len() {
                if entry > 0 {
                    out.push(',');
                }
                text(&shown(keys, entry)?, out);
                out.push(':');
                put(values, entry, out)?;
            }
            out.push('}');
        }
        // Bytes are written as hexadecimal digits.
        _ => text(&shown(array, row)?, out),
    }
    Ok(())
}

fn shown(array: &dyn Array, row: usize) -> Result<String, String> {
    let options = FormatOptions::new();
    let formatter = ArrayFormatter::try_new(array, &options).map_err(|error| error.to_string())?;
    formatter.value(row).try_to_string().map_err(|error| error.to_string())
}

fn text(value: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(value).to_string());
}
