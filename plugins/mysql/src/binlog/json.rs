//! MySQL's binary JSON, written as the server writes it: `{"a": 1, "b": [2.0, null]}`.
//!
//! Source: MySQL's documentation of `json_binary.h` (layout) and `Json_wrapper::to_string` (text).

use std::fmt::Write;

use hub_plugin_api::Result;

use super::{
    cursor::{Cursor, little, malformed, truncated},
    decimal,
};

/// The server refuses documents that are deeper.
const MAX_DEPTH: u32 = 128;

mod kind {
    pub const SMALL_OBJECT: u8 = 0;
    pub const LARGE_OBJECT: u8 = 1;
    pub const SMALL_ARRAY: u8 = 2;
    pub const LARGE_ARRAY: u8 = 3;
    pub const LITERAL: u8 = 4;
    pub const INT16: u8 = 5;
    pub const UINT16: u8 = 6;
    pub const INT32: u8 = 7;
    pub const UINT32: u8 = 8;
    pub const INT64: u8 = 9;
    pub const UINT64: u8 = 10;
    pub const DOUBLE: u8 = 11;
    pub const STRING: u8 = 12;
    pub const OPAQUE: u8 = 15;
}

/// Writes a document as text. An empty one, which a partial update of nothing leaves, is `null`.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::Protocol`] when the bytes are not as documented.
pub fn write_text(document: &[u8], into: &mut String) -> Result<()> {
    match document.split_first() {
        None => into.push_str("null"),
        Some((kind, rest)) => value(*kind, rest, 0, into)?,
    }
    Ok(())
}

fn value(kind: u8, bytes: &[u8], depth: u32, into: &mut String) -> Result<()> {
    let mut cursor = Cursor(bytes);
    let mut number = |count| cursor.take(count).map(little);
    match kind {
        kind::SMALL_OBJECT | kind::LARGE_OBJECT | kind::SMALL_ARRAY | kind::LARGE_ARRAY => {
            return container(kind, bytes, depth, into);
        }
        kind::LITERAL => into.push_str(literal(number(1)?)?),
        kind::INT16 => write_number(into, number(2)? as i16),
        kind::UINT16 => write_number(into, number(2)? as u16),
        kind::INT32 => write_number(into, number(4)? as i32),
        kind::UINT32 => write_number(into, number(4)? as u32),
        kind::INT64 => write_number(into, number(8)? as i64),
        kind::UINT64 => write_number(into, number(8)?),
        kind::DOUBLE => double(f64::from_bits(number(8)?), into),
        kind::STRING => string(text(varying(&mut cursor)?)?, into),
        kind::OPAQUE => {
            let of = cursor.u8()?;
            opaque(of, varying(&mut cursor)?, into)?;
        }
        other => return Err(malformed(format!("A JSON document holds a value of unknown kind {other}"))),
    }
    Ok(())
}

fn literal(value: u64) -> Result<&'static str> {
    match value {
        0 => Ok("null"),
        1 => Ok("true"),
        2 => Ok("false"),
        other => Err(malformed(format!("A JSON document holds the unknown literal {other}"))),
    }
}

fn write_number(into: &mut String, number: impl std::fmt::Display) {
    // Writing into a text does not fail.
    let _ = write!(into, "{number}");
}

/// A value: its kind and its bytes.
pub type Value<'a> = (u8, &'a [u8]);

/// What a value holds.
pub enum Children<'a> {
    /// It is no container.
    None,
    /// Its values.
    Array(Vec<Value<'a>>),
    /// Its keys and values.
    Object(Vec<(&'a [u8], Value<'a>)>),
}

/// Takes an object or array apart: counts, then entries of keys and values, whose offsets start at the container.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::Protocol`] when the bytes are not as documented.
pub fn children(kind: u8, bytes: &[u8], depth: u32) -> Result<Children<'_>> {
    let (is_object, width) = match kind {
        kind::SMALL_OBJECT => (true, 2),
        kind::LARGE_OBJECT => (true, 4),
        kind::SMALL_ARRAY => (false, 2),
        kind::LARGE_ARRAY => (false, 4),
        _ => return Ok(Children::None),
    };
    if depth >= MAX_DEPTH {
        return Err(malformed("A JSON document is too deep"));
    }
    let mut entries = Cursor(bytes);
    let count = entries.uint(width)? as usize;
    entries.uint(width)?;
    let keys_size = if is_object { count.checked_mul(width + 2).ok_or_else(truncated)? } else { 0 };
    let mut keys = Cursor(entries.take(keys_size)?);
    let mut value = || {
        let kind = entries.u8()?;
        let entry = entries.take(width)?;
        let inline = match kind {
            kind::LITERAL | kind::INT16 | kind::UINT16 => true,
            kind::INT32 | kind::UINT32 => width == 4,
            _ => false,
        };
        let bytes = if inline { Some(entry) } else { bytes.get(little(entry) as usize..) };
        Ok((kind, bytes.ok_or_else(truncated)?))
    };
    if !is_object {
        return Ok(Children::Array((0..count).map(|_| value()).collect::<Result<_>>()?));
    }
    let member = |_| {
        let (offset, length) = (keys.uint(width)? as usize, usize::from(keys.u16()?));
        let key = bytes.get(offset..).and_then(|rest| rest.get(..length)).ok_or_else(truncated)?;
        Ok((key, value()?))
    };
    Ok(Children::Object((0..count).map(member).collect::<Result<_>>()?))
}

fn container(kind: u8, bytes: &[u8], depth: u32, into: &mut String) -> Result<()> {
    match children(kind, bytes, depth)? {
        Children::None => {}
        Children::Array(cells) => {
            into.push('[');
            for (place, (kind, bytes)) in cells.into_iter().enumerate() {
                into.push_str(if place > 0 { ", " } else { "" });
                value(kind, bytes, depth + 1, into)?;
            }
            into.push(']');
        }
        Children::Object(members) => {
            into.push('{');
            for (place, (key, (kind, bytes))) in members.into_iter().enumerate() {
                into.push_str(if place > 0 { ", " } else { "" });
                write_string(key, into)?;
                into.push_str(": ");
                value(kind, bytes, depth + 1, into)?;
            }
            into.push('}');
        }
    }
    Ok(())
}

/// Writes one value of a document.
///
/// # Errors
/// As [`write_text`].
pub fn write_value(kind: u8, bytes: &[u8], into: &mut String) -> Result<()> {
    value(kind, bytes, 0, into)
}

/// Writes a key.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::Protocol`] when it is not UTF-8.
pub fn write_string(bytes: &[u8], into: &mut String) -> Result<()> {
    string(text(bytes)?, into);
    Ok(())
}

/// Bytes behind a length of seven bits a byte.
fn varying<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8]> {
    let mut length = 0usize;
    for shift in 0..5 {
        let byte = cursor.u8()?;
        length |= usize::from(byte & 0x7f) << (7 * shift);
        if byte & 0x80 == 0 {
            return cursor.take(length);
        }
    }
    Err(truncated())
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| malformed("A text of a JSON document is not UTF-8"))
}

fn string(text: &str, into: &mut String) {
    into.push('"');
    for one in text.chars() {
        match one {
            '"' => into.push_str("\\\""),
            '\\' => into.push_str("\\\\"),
            '\u{8}' => into.push_str("\\b"),
            '\u{c}' => into.push_str("\\f"),
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\t' => into.push_str("\\t"),
            one if one < ' ' => {
                let _ = write!(into, "\\u{:04x}", u32::from(one));
            }
            one => into.push(one),
        }
    }
    into.push('"');
}

/// The shortest digits that give the number again: in full up to fifteen places, else with an exponent.
fn double(number: f64, into: &mut String) {
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number == 0.0 {
        into.push_str(if number.is_sign_negative() { "-0.0" } else { "0.0" });
    } else if (-15..15).contains(&exponent) {
        let full = format!("{number}");
        into.push_str(&full);
        if !full.contains('.') {
            into.push_str(".0");
        }
    } else {
        let _ = write!(into, "{mantissa}e{exponent}");
    }
}

/// A value of a type that JSON does not have.
fn opaque(type_code: u8, bytes: &[u8], into: &mut String) -> Result<()> {
    match (type_code, bytes) {
        // NEWDECIMAL: its digits before and behind the point, then packed.
        (246, [precision, scale, packed @ ..]) => {
            return decimal::write_text(packed, *precision, *scale, into)
                .ok_or_else(|| malformed("A decimal of a JSON document is not as documented"));
        }
        // DATE, TIMESTAMP, DATETIME: year, month, day, time and microseconds in bits.
        (7 | 10 | 12, bytes) if bytes.len() == 8 => {
            let packed = little(bytes) as i64;
            let (micros, whole) = (packed & 0xff_ffff, packed >> 24);
            let (time, day) = (whole & 0x1_ffff, whole >> 17);
            let (year, month) = ((day >> 5) / 13, (day >> 5) % 13);
            let _ = write!(into, "\"{year:04}-{month:02}-{:02}", day & 31);
            if type_code != 10 {
                let _ = write!(into, " {:02}:{:02}:{:02}.{micros:06}", time >> 12, time >> 6 & 63, time & 63);
            }
            into.push('"');
        }
        // TIME.
        (11, bytes) if bytes.len() == 8 => {
            let packed = little(bytes) as i64;
            let magnitude = packed.unsigned_abs();
            let (micros, whole) = (magnitude & 0xff_ffff, magnitude >> 24);
            let sign = if packed < 0 { "-" } else { "" };
            let (hour, minute, second) = (whole >> 12 & 0x3ff, whole >> 6 & 63, whole & 63);
            let _ = write!(into, "\"{sign}{hour:02}:{minute:02}:{second:02}.{micros:06}\"");
        }
        _ => {
            let _ = write!(into, "\"base64:type{type_code}:{}\"", base64(bytes));
        }
    }
    Ok(())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            if place <= chunk.len() {
                text.push(DIGITS[(bits >> (18 - 6 * place) & 63) as usize].into());
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(document: &[u8]) -> String {
        let mut text = String::new();
        write_text(document, &mut text).unwrap();
        text
    }

    #[test]
    fn scalars_and_containers_are_written_as_the_server_does() {
        assert_eq!(of(&[kind::LITERAL, 1]), "true");
        assert_eq!(of(&[kind::INT16, 0xff, 0xff]), "-1");
        assert_eq!(of(&[kind::STRING, 3, b'a', b'"', 1]), "\"a\\\"\\u0001\"");
        // {"a": 5, "b": [null]}: two keys, two entries, keys, then the array.
        let document =
            [0, 2, 0, 28, 0, 18, 0, 1, 0, 19, 0, 1, 0, 5, 5, 0, 2, 20, 0, b'a', b'b', 1, 0, 7, 0, 4, 0, 0];
        let mut fixed = document.to_vec();
        // Keys start behind the entries: 4 + 2 * 4 + 2 * 3 = 18.
        fixed[17] = 20;
        assert_eq!(of(&fixed), "{\"a\": 5, \"b\": [null]}");
        assert_eq!(of(&[kind::OPAQUE, 246, 4, 3, 2, 0x81, 0x05]), "1.05");
        assert_eq!(of(&[kind::OPAQUE, 252, 2, 1, 2]), "\"base64:type252:AQI=\"");
    }

    #[test]
    fn doubles_keep_their_point_and_large_ones_an_exponent() {
        for (number, expected) in [
            (1.0, "1.0"),
            (-0.5, "-0.5"),
            (1e14, "100000000000000.0"),
            (1e15, "1e15"),
            (1.5e300, "1.5e300"),
            (1e-5, "0.00001"),
            (2.5e-20, "2.5e-20"),
        ] {
            let mut text = String::new();
            double(number, &mut text);
            assert_eq!(text, expected);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = write_text(&bytes, &mut String::new());
        }
    }
}
