//! Lists, structs and maps as JSON, and what MySQL keeps of a document.

use std::collections::HashSet;

use hub_plugin_api::{
    arrow::{
        array::{Array, AsArray},
        datatypes::DataType,
        util::display::FormatOptions,
    },
    types::cell_text,
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
    cell_text(array, row, &FormatOptions::new()).map_err(|error| error.to_string())
}

fn text(value: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(value).to_string());
}

/// Fails where MySQL's `json` would not keep a document as it is: it holds numbers as 64-bit integers or doubles, and of
/// a key that is there twice only the last value.
pub(super) fn check_kept(document: &str) -> Result<(), String> {
    let mut objects: Vec<Option<HashSet<&str>>> = Vec::new();
    let mut at = 0;
    while let Some(first) = document[at..].chars().next() {
        let rest = &document[at..];
        let length = match first {
            '{' => {
                objects.push(Some(HashSet::new()));
                1
            }
            '[' => {
                objects.push(None);
                1
            }
            '}' | ']' => {
                objects.pop();
                1
            }
            '"' => {
                let length = string(rest);
                let is_key = rest[length..].trim_start().starts_with(':');
                if let (true, Some(Some(keys))) = (is_key, objects.last_mut())
                    && !keys.insert(&rest[..length])
                {
                    return Err("has a key twice, of which the server keeps one".into());
                }
                length
            }
            '-' | '0'..='9' => {
                let is_part =
                    |next: char| next.is_ascii_digit() || matches!(next, '+' | '-' | '.' | 'e' | 'E');
                let length = rest.find(|next| !is_part(next)).unwrap_or(rest.len());
                if !is_exact(&rest[..length]) {
                    return Err(format!(
                        "holds the number `{}`, which the server would round",
                        &rest[..length]
                    ));
                }
                length
            }
            other => other.len_utf8(),
        };
        at += length;
    }
    Ok(())
}

/// The length of a quoted string.
fn string(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return at + 1,
            '\\' => drop(characters.next()),
            _ => {}
        }
    }
    rest.len()
}

/// Whether a number is a 64-bit integer, or has no more digits than the double nearest to it.
fn is_exact(number: &str) -> bool {
    if number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok() {
        return true;
    }
    let digits = |text: &str| {
        let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        digits.trim_matches('0').to_owned()
    };
    number
        .parse::<f64>()
        .is_ok_and(|double| double.is_finite() && digits(&format!("{double:e}")) == digits(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_that_the_server_would_change_are_found() {
        for kept in [
            r#"{"a": [1, 2.50, -1e300, 0.1], "b": {"a": 18446744073709551615}, "c": "\"1e400"}"#,
            r#"[{"a": 1}, {"a": 2}]"#,
            "-9223372036854775808",
            "0.0",
        ] {
            assert_eq!(check_kept(kept), Ok(()), "{kept}");
        }
        for changed in [
            "18446744073709551616",
            "0.12345678901234567890",
            "1e400",
            r#"{"a": 1, "a" : 2}"#,
            r#"[{"b": {"x":1,"x":1}}]"#,
        ] {
            assert!(check_kept(changed).is_err(), "{changed}");
        }
    }
}
