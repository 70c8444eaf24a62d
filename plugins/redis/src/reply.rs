//! The server's answers as values of Rust. Both protocol versions are understood: where the third has a map, the
//! second has names and values in turns.

use hub_plugin_api::Result;
use redis::Value;

use crate::error;

/// Fails for an error that stands among the answers of a pipeline.
///
/// # Errors
/// That one.
pub fn checked(doing: &str, answer: Value) -> Result<Value> {
    match answer {
        Value::ServerError(refusal) => Err(error::from_answer(doing, &refusal)),
        other => Ok(other),
    }
}

/// The bytes of a string; nothing for nil.
///
/// # Errors
/// When it is neither.
pub fn bytes(doing: &str, answer: Value) -> Result<Option<Vec<u8>>> {
    match answer {
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        Value::VerbatimString { text, .. } => Ok(Some(text.into_bytes())),
        Value::Okay => Ok(Some(b"OK".to_vec())),
        Value::Int(number) => Ok(Some(number.to_string().into_bytes())),
        Value::Double(number) => Ok(Some(number.to_string().into_bytes())),
        Value::Nil => Ok(None),
        Value::ServerError(refusal) => Err(error::from_answer(doing, &refusal)),
        other => Err(error::unexpected(doing, &other)),
    }
}

/// A string that is text; empty for nil.
///
/// # Errors
/// When it is no string.
pub fn text(doing: &str, answer: Value) -> Result<String> {
    let bytes = bytes(doing, answer)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A whole number.
///
/// # Errors
/// When it is none.
pub fn integer(doing: &str, answer: Value) -> Result<i64> {
    match answer {
        Value::Int(number) => Ok(number),
        Value::BulkString(bytes) => {
            let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
            number.ok_or_else(|| error::unexpected(doing, &Value::BulkString(bytes)))
        }
        Value::ServerError(refusal) => Err(error::from_answer(doing, &refusal)),
        other => Err(error::unexpected(doing, &other)),
    }
}

/// The items of a list; none for nil.
///
/// # Errors
/// When it is no list.
pub fn items(doing: &str, answer: Value) -> Result<Vec<Value>> {
    match answer {
        Value::Array(items) | Value::Set(items) => Ok(items),
        Value::Map(pairs) => Ok(pairs.into_iter().flat_map(|(name, value)| [name, value]).collect()),
        Value::Nil => Ok(Vec::new()),
        Value::ServerError(refusal) => Err(error::from_answer(doing, &refusal)),
        other => Err(error::unexpected(doing, &other)),
    }
}

/// Names and values.
///
/// # Errors
/// When it is no list of pairs.
pub fn pairs(doing: &str, answer: Value) -> Result<Vec<(Value, Value)>> {
    if let Value::Map(pairs) = answer {
        return Ok(pairs);
    }
    let mut pairs = Vec::new();
    let mut items = items(doing, answer)?.into_iter();
    while let Some(name) = items.next() {
        let value = items.next().ok_or_else(|| error::unexpected(doing, &Value::Nil))?;
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// Pairs of bytes.
///
/// # Errors
/// When it is no list of pairs of strings.
pub fn byte_pairs(doing: &str, answer: Value) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let pairs = pairs(doing, answer)?.into_iter();
    pairs
        .map(|(name, value)| {
            Ok((bytes(doing, name)?.unwrap_or_default(), bytes(doing, value)?.unwrap_or_default()))
        })
        .collect()
}

/// The value of a name, where there is one.
///
/// # Errors
/// When it is no list of pairs.
pub fn field(doing: &str, answer: &Value, name: &str) -> Result<Option<Value>> {
    let mut pairs = pairs(doing, answer.clone())?.into_iter();
    Ok(pairs
        .find_map(|(key, value)| (bytes(doing, key).ok()??.as_slice() == name.as_bytes()).then_some(value)))
}

/// Two items.
///
/// # Errors
/// When it is no list of two.
pub fn two(doing: &str, answer: Value) -> Result<(Value, Value)> {
    match <[Value; 2]>::try_from(items(doing, answer)?) {
        Ok([first, second]) => Ok((first, second)),
        Err(items) => Err(error::unexpected(doing, &Value::Array(items))),
    }
}

/// What SCAN answers: the cursor to go on with, 0 at the end, and keys.
///
/// # Errors
/// When it is something else.
pub fn cursor(doing: &str, answer: Value) -> Result<(u64, Vec<Vec<u8>>)> {
    let (next, keys) = two(doing, answer)?;
    let next = bytes(doing, next)?.unwrap_or_default();
    let cursor = std::str::from_utf8(&next).ok().and_then(|text| text.parse().ok());
    let cursor = cursor.ok_or_else(|| error::unexpected(doing, &Value::BulkString(next)))?;
    let keys = items(doing, keys)?.into_iter();
    let keys = keys.map(|key| Ok(bytes(doing, key)?.unwrap_or_default()));
    Ok((cursor, keys.collect::<Result<_>>()?))
}
