//! JSON documents that are logged as differences (`binlog_row_value_options = PARTIAL_JSON`): applied to the document
//! before.
//!
//! Source: MySQL's documentation of `Json_diff_vector::write_binary` and of JSON path expressions.

use hub_plugin_api::Result;

use super::{
    cursor::{Cursor, malformed},
    json,
};

/// A document that can be changed. What is not opened stays as it lies.
#[derive(Debug, PartialEq)]
enum Node<'a> {
    Leaf(u8, &'a [u8]),
    Array(Vec<Node<'a>>),
    Object(Vec<(&'a [u8], Node<'a>)>),
}

/// A step of a path.
#[derive(Debug, PartialEq)]
enum Leg {
    Member(Vec<u8>),
    Cell(usize),
}

mod operation {
    pub const REPLACE: u8 = 0;
    pub const INSERT: u8 = 1;
    pub const REMOVE: u8 = 2;
}

/// The text of `document` after `diffs`.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::Protocol`] when the differences do not fit the document.
pub fn patched(document: &[u8], diffs: &[u8]) -> Result<String> {
    let keys = keys_of(diffs)?;
    let mut root = read(document)?;
    let mut cursor = Cursor(diffs);
    let mut keys = keys.iter();
    while !cursor.is_empty() {
        let of = cursor.u8()?;
        cursor.packed_bytes()?;
        let legs = keys.next().ok_or_else(unfitting)?;
        let value = if of == operation::REMOVE { None } else { Some(read(cursor.packed_bytes()?)?) };
        apply(&mut root, of, legs, value)?;
    }
    let mut text = String::new();
    write(&root, &mut text)?;
    Ok(text)
}

/// The paths of the differences. They live longer than the document that keys are put into.
fn keys_of(diffs: &[u8]) -> Result<Vec<Vec<Leg>>> {
    let (mut cursor, mut paths) = (Cursor(diffs), Vec::new());
    while !cursor.is_empty() {
        let of = cursor.u8()?;
        paths.push(path(cursor.packed_bytes()?)?);
        if of != operation::REMOVE {
            cursor.packed_bytes()?;
        }
    }
    Ok(paths)
}

fn unfitting() -> hub_plugin_api::Error {
    malformed("A difference of a JSON document does not fit the document")
}

fn read(document: &[u8]) -> Result<Node<'_>> {
    let (kind, rest) = document.split_first().ok_or_else(unfitting)?;
    node(*kind, rest, 0)
}

fn node(kind: u8, bytes: &[u8], depth: u32) -> Result<Node<'_>> {
    match json::children(kind, bytes, depth)? {
        json::Children::None => Ok(Node::Leaf(kind, bytes)),
        json::Children::Array(cells) => {
            let cells = cells.into_iter().map(|(kind, bytes)| node(kind, bytes, depth + 1));
            Ok(Node::Array(cells.collect::<Result<_>>()?))
        }
        json::Children::Object(members) => {
            let members =
                members.into_iter().map(|(key, (kind, bytes))| Ok((key, node(kind, bytes, depth + 1)?)));
            Ok(Node::Object(members.collect::<Result<_>>()?))
        }
    }
}

fn write(node: &Node<'_>, into: &mut String) -> Result<()> {
    match node {
        Node::Leaf(kind, bytes) => json::write_value(*kind, bytes, into)?,
        Node::Array(cells) => {
            into.push('[');
            for (place, cell) in cells.iter().enumerate() {
                into.push_str(if place > 0 { ", " } else { "" });
                write(cell, into)?;
            }
            into.push(']');
        }
        Node::Object(members) => {
            into.push('{');
            for (place, (key, value)) in members.iter().enumerate() {
                into.push_str(if place > 0 { ", " } else { "" });
                json::write_string(key, into)?;
                into.push_str(": ");
                write(value, into)?;
            }
            into.push('}');
        }
    }
    Ok(())
}

/// `$.name."quoted name"[3]`.
fn path(text: &[u8]) -> Result<Vec<Leg>> {
    let text = std::str::from_utf8(text).map_err(|_| unfitting())?;
    let mut rest = text.strip_prefix('$').ok_or_else(unfitting)?;
    let mut legs = Vec::new();
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix('[') {
            let (number, behind) = behind.split_once(']').ok_or_else(unfitting)?;
            legs.push(Leg::Cell(number.trim().parse().map_err(|_| unfitting())?));
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('.') {
            if behind.starts_with('"') {
                let mut stream = serde_json::Deserializer::from_str(behind).into_iter::<String>();
                let key = stream.next().and_then(std::result::Result::ok).ok_or_else(unfitting)?;
                legs.push(Leg::Member(key.into_bytes()));
                rest = &behind[stream.byte_offset()..];
            } else {
                let end = behind.find(['.', '[']).unwrap_or(behind.len());
                legs.push(Leg::Member(behind.as_bytes()[..end].to_vec()));
                rest = &behind[end..];
            }
        } else {
            return Err(unfitting());
        }
    }
    Ok(legs)
}

fn apply<'a>(root: &mut Node<'a>, of: u8, legs: &'a [Leg], value: Option<Node<'a>>) -> Result<()> {
    let Some((last, parents)) = legs.split_last() else {
        let (operation::REPLACE, Some(value)) = (of, value) else { return Err(unfitting()) };
        *root = value;
        return Ok(());
    };
    let mut parent = root;
    for leg in parents {
        parent = child(parent, leg).ok_or_else(unfitting)?;
    }
    match (of, last, parent, value) {
        (operation::REPLACE, leg, parent, Some(value)) => {
            *child(parent, leg).ok_or_else(unfitting)? = value;
        }
        (operation::INSERT, Leg::Cell(place), Node::Array(cells), Some(value)) => {
            cells.insert((*place).min(cells.len()), value);
        }
        (operation::INSERT, Leg::Member(key), Node::Object(members), Some(value)) => {
            // Keys are kept by length, then by their bytes.
            let order = |one: &[u8]| (one.len(), one.to_vec());
            let place = members.partition_point(|(one, _)| order(one) < order(key));
            members.insert(place, (key, value));
        }
        (operation::REMOVE, Leg::Cell(place), Node::Array(cells), None) if *place < cells.len() => {
            cells.remove(*place);
        }
        (operation::REMOVE, Leg::Member(key), Node::Object(members), None) => {
            let place = members.iter().position(|(one, _)| *one == key.as_slice()).ok_or_else(unfitting)?;
            members.remove(place);
        }
        _ => return Err(unfitting()),
    }
    Ok(())
}

fn child<'b, 'a>(node: &'b mut Node<'a>, leg: &Leg) -> Option<&'b mut Node<'a>> {
    match (node, leg) {
        (Node::Array(cells), Leg::Cell(place)) => cells.get_mut(*place),
        (Node::Object(members), Leg::Member(key)) => {
            members.iter_mut().find(|(one, _)| *one == key.as_slice()).map(|(_, value)| value)
        }
        // A scalar is an array of itself.
        (node @ Node::Leaf(..), Leg::Cell(0)) => Some(node),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"a": 5, "b": [null]}`, as in the tests of `json`.
    const DOCUMENT: &[u8] =
        &[0, 2, 0, 28, 0, 18, 0, 1, 0, 19, 0, 1, 0, 5, 5, 0, 2, 20, 0, b'a', b'b', 1, 0, 7, 0, 4, 0, 0];

    fn diff(of: u8, path: &str, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![of, path.len() as u8];
        bytes.extend_from_slice(path.as_bytes());
        if of != operation::REMOVE {
            bytes.push(value.len() as u8);
            bytes.extend_from_slice(value);
        }
        bytes
    }

    #[test]
    fn differences_are_applied_in_their_order() {
        let diffs = [
            diff(operation::REPLACE, "$.a", &[12, 1, b'x']),
            diff(operation::INSERT, "$.b[0]", &[5, 7, 0]),
            diff(operation::INSERT, "$.\"a b\"", &[4, 1]),
            diff(operation::REMOVE, "$.b[1]", &[]),
        ]
        .concat();
        assert_eq!(patched(DOCUMENT, &diffs).unwrap(), "{\"a\": \"x\", \"b\": [7], \"a b\": true}");
        assert_eq!(patched(DOCUMENT, &[]).unwrap(), "{\"a\": 5, \"b\": [null]}");
    }

    #[test]
    fn differences_that_do_not_fit_are_refused() {
        for wrong in [
            diff(operation::REPLACE, "$.c", &[4, 0]),
            diff(operation::REMOVE, "$.b[7]", &[]),
            diff(operation::REMOVE, "$", &[]),
            diff(operation::INSERT, "$.a.x", &[4, 0]),
            diff(9, "$.a", &[4, 0]),
            diff(operation::REPLACE, "a", &[4, 0]),
            vec![0],
        ] {
            assert!(patched(DOCUMENT, &wrong).is_err(), "{wrong:?}");
        }
    }
}
