//! Values as JSON text: objects for hashes, lists for the others.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hub_plugin_api::{Value, json};
use serde_json::Map;

use super::fetch::{Content, Entry};
use crate::types::{Encoding, Kind};

/// Pairs of bytes.
type Pairs = [(Vec<u8>, Vec<u8>)];

/// The value of a key as JSON.
///
/// # Errors
/// Why it cannot be: it is not UTF-8 text, or of an unknown type.
pub fn value_json(entry: &Entry, encoding: Encoding) -> Result<Value, String> {
    let text = text_of(encoding);
    Ok(match &entry.content {
        Content::Bytes(bytes) if entry.kind == Kind::Json => serde_json::from_slice(bytes)
            .map_err(|error| format!("The module's answer is no JSON document: {error}"))?,
        Content::Unknown => {
            return Err(format!(
                "Type `{}` is of a module that the connector does not know",
                entry.kind.name()
            ));
        }
        content => written(content, &text)?,
    })
}

/// A key with its value for whoever looks at a rejected row; bytes that are not text are hex.
pub fn payload(entry: &Entry) -> String {
    let shown = |bytes: &[u8]| Ok(text_or_hex(bytes));
    let value = written(&entry.content, &shown).unwrap_or(Value::Null);
    json!({ "key": text_or_hex(&entry.key), "type": entry.kind.name(), "value": value }).to_string()
}

/// Fields of an entry or a hash for whoever looks at a rejected row; bytes that are not text are hex.
pub fn fields_payload(pairs: &Pairs) -> Value {
    object(pairs, &|bytes| Ok(text_or_hex(bytes))).unwrap_or(Value::Null)
}

/// An object; a list of pairs where a name is there twice, as entries of streams may have it.
///
/// # Errors
/// Why it cannot be: it is not UTF-8 text.
pub fn fields_json(pairs: &Pairs, encoding: Encoding) -> Result<Value, String> {
    object(pairs, &text_of(encoding))
}

fn written(content: &Content, text: &dyn Fn(&[u8]) -> Result<String, String>) -> Result<Value, String> {
    let list = |items: Result<Vec<Value>, String>| Ok(Value::Array(items?));
    match content {
        Content::Bytes(bytes) => Ok(Value::String(text(bytes)?)),
        Content::Pairs(pairs) => object(pairs, text),
        Content::Items(items) => list(items.iter().map(|item| Ok(Value::String(text(item)?))).collect()),
        Content::Scored(items) => list(
            items
                .iter()
                .map(|(member, score)| Ok(json!({ "member": text(member)?, "score": number(*score) })))
                .collect(),
        ),
        Content::Entries(entries) => list(
            entries
                .iter()
                .map(|(id, pairs)| {
                    let id = String::from_utf8_lossy(id);
                    Ok(json!({ "id": id, "fields": object(pairs, text)? }))
                })
                .collect(),
        ),
        Content::Unknown => Ok(Value::Null),
    }
}

fn object(pairs: &Pairs, text: &dyn Fn(&[u8]) -> Result<String, String>) -> Result<Value, String> {
    let mut object = Map::new();
    let mut list = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let (name, value) = (text(name)?, text(value)?);
        list.push(json!([name, value]));
        object.insert(name, Value::String(value));
    }
    Ok(if object.len() == list.len() { Value::Object(object) } else { Value::Array(list) })
}

/// JSON has no infinities: those are texts.
fn number(score: f64) -> Value {
    serde_json::Number::from_f64(score).map_or_else(|| Value::String(score.to_string()), Value::Number)
}

fn text_of(encoding: Encoding) -> impl Fn(&[u8]) -> Result<String, String> {
    move |bytes| match encoding {
        Encoding::Text => std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| "The value is not UTF-8 text; `encoding: binary` takes it".into()),
        Encoding::Binary => Ok(BASE64_STANDARD.encode(bytes)),
    }
}

/// Text as it is, other bytes as hex.
pub fn text_or_hex(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold(String::from("0x"), |mut hex, byte| {
            for digit in [byte >> 4, byte & 15] {
                hex.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
            hex
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind, content: Content) -> Entry {
        Entry { key: b"k".to_vec(), kind, ttl_ms: None, content }
    }

    #[test]
    fn values_are_written_by_their_type() {
        let pairs = vec![(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), "ü".into())];
        let twice = vec![(b"a".to_vec(), b"1".to_vec()), (b"a".to_vec(), b"2".to_vec())];
        for (entry, expected) in [
            (entry(Kind::String, Content::Bytes(b"x\"".to_vec())), json!("x\"")),
            (entry(Kind::Hash, Content::Pairs(pairs.clone())), json!({"a": "1", "b": "ü"})),
            (entry(Kind::List, Content::Items(vec![b"2".to_vec(), b"1".to_vec()])), json!(["2", "1"])),
            (
                entry(
                    Kind::SortedSet,
                    Content::Scored(vec![(b"m".to_vec(), 1.5), (b"n".to_vec(), f64::INFINITY)]),
                ),
                json!([{"member": "m", "score": 1.5}, {"member": "n", "score": "inf"}]),
            ),
            (
                entry(Kind::Stream, Content::Entries(vec![(b"1-0".to_vec(), twice)])),
                json!([{"id": "1-0", "fields": [["a", "1"], ["a", "2"]]}]),
            ),
        ] {
            assert_eq!(value_json(&entry, Encoding::Text).unwrap(), expected);
        }
        let bytes = entry(Kind::String, Content::Bytes(b"\xff".to_vec()));
        assert!(value_json(&bytes, Encoding::Text).unwrap_err().contains("not UTF-8"));
        assert_eq!(value_json(&bytes, Encoding::Binary).unwrap(), json!("/w=="));
        assert_eq!(payload(&bytes), r#"{"key":"k","type":"string","value":"0xff"}"#);
    }
}
