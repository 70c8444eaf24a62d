use arrow::{
    array::{ArrayRef, AsArray},
    buffer::OffsetBuffer,
};
use hub_plugin_api::{
    Result, arrow,
    types::{Column, LogicalType},
};
use rusqlite::types::ValueRef;

use super::ColumnEncoder;
use crate::text;

/// Lists, structs and maps as JSON: numbers up to 64 bits as numbers, everything else as texts, bytes as hex, a map
/// as a list of pairs, because its keys need not be texts.
pub struct NestedEncoder {
    shape: Shape,
    children: Vec<Child>,
}

enum Shape {
    List(OffsetBuffer<i32>),
    Struct,
    Map(OffsetBuffer<i32>),
}

struct Child {
    name: String,
    nested: bool,
    encoder: ColumnEncoder,
}

impl Child {
    fn new(column: &Column, infinity: bool, array: &ArrayRef) -> Result<Self> {
        let column = Column { infinity: infinity || column.infinity, ..column.clone() };
        let nested =
            matches!(column.logical, LogicalType::List(_) | LogicalType::Struct(_) | LogicalType::Map(..));
        Ok(Self { encoder: ColumnEncoder::new(&column, array)?, nested, name: column.name })
    }

    fn write(&self, row: usize, out: &mut String) -> Result<(), String> {
        let mut scratch = String::new();
        match self.encoder.value(row, &mut scratch)? {
            ValueRef::Null => out.push_str("null"),
            ValueRef::Integer(integer) => out.push_str(&integer.to_string()),
            ValueRef::Real(float) => push_text(out, &float.to_string()),
            ValueRef::Text(b"-zero") => push_text(out, "-0"),
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(json) if self.nested => out.push_str(json),
                Ok(text) => push_text(out, text),
                Err(_) => return Err("its text is not UTF-8".into()),
            },
            ValueRef::Blob(bytes) => {
                out.push('"');
                text::write_hex(out, bytes);
                out.push('"');
            }
        }
        Ok(())
    }
}

impl NestedEncoder {
    /// For an array of a list, a struct or a map; none when it is another.
    pub fn new(logical: &LogicalType, infinity: bool, array: &ArrayRef) -> Option<Result<Self>> {
        let (shape, parts): (_, Vec<(Column, ArrayRef)>) = match logical {
            LogicalType::List(item) => {
                let list = array.as_list_opt::<i32>()?;
                let item = (Column::new("item", (**item).clone()), list.values().clone());
                (Shape::List(list.offsets().clone()), vec![item])
            }
            LogicalType::Struct(columns) => {
                let parts = array.as_struct_opt()?;
                (Shape::Struct, columns.iter().cloned().zip(parts.columns().iter().cloned()).collect())
            }
            LogicalType::Map(key, value) => {
                let map = array.as_map_opt()?;
                let key = (Column::new("key", (**key).clone()), map.keys().clone());
                let value = (Column::new("value", (**value).clone()), map.values().clone());
                (Shape::Map(map.offsets().clone()), vec![key, value])
            }
            _ => return None,
        };
        let children =
            parts.iter().map(|(column, array)| Child::new(column, infinity, array)).collect::<Result<_>>();
        Some(children.map(|children| Self { shape, children }))
    }

    /// Writes a row's JSON.
    pub fn write(&self, row: usize, out: &mut String) -> Result<(), String> {
        match &self.shape {
            Shape::List(offsets) => {
                out.push('[');
                for (index, at) in range(offsets, row).enumerate() {
                    comma(out, index);
                    self.children[0].write(at, out)?;
                }
                out.push(']');
            }
            Shape::Struct => {
                out.push('{');
                for (index, child) in self.children.iter().enumerate() {
                    comma(out, index);
                    push_text(out, &child.name);
                    out.push(':');
                    child.write(row, out)?;
                }
                out.push('}');
            }
            Shape::Map(offsets) => {
                out.push('[');
                for (index, at) in range(offsets, row).enumerate() {
                    comma(out, index);
                    out.push('[');
                    self.children[0].write(at, out)?;
                    out.push(',');
                    self.children[1].write(at, out)?;
                    out.push(']');
                }
                out.push(']');
            }
        }
        Ok(())
    }
}

fn range(offsets: &OffsetBuffer<i32>, row: usize) -> std::ops::Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

fn comma(out: &mut String, index: usize) {
    if index > 0 {
        out.push(',');
    }
}

fn push_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}
