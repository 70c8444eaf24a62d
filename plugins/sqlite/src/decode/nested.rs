use std::{fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, ListArray, MapArray, NullBufferBuilder, StructArray},
    buffer::{OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, FieldRef, Fields},
};
use hub_plugin_api::{
    Result, arrow,
    types::{Column, LogicalType},
};
use rusqlite::types::ValueRef;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{ColumnDecoder, Misfit};

const WRONG: &str = "The text is not what the hub writes for its type: cast the column to text";

/// Collects lists, structs and maps from their JSON texts.
pub struct NestedDecoder {
    shape: Shape,
    children: Vec<Child>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

enum Shape {
    List(FieldRef),
    Struct(Fields),
    Map(FieldRef),
}

struct Child {
    name: String,
    logical: LogicalType,
    length: i32,
    decoder: Box<ColumnDecoder>,
}

impl Child {
    fn new(column: Column) -> Result<Self> {
        let decoder = Box::new(ColumnDecoder::new(&column)?);
        Ok(Self { name: column.name, logical: column.logical, length: 0, decoder })
    }

    fn append(&mut self, raw: &RawValue) -> Result<(), Misfit> {
        self.length += 1;
        append_json(&mut self.decoder, &self.logical, raw)
    }
}

impl NestedDecoder {
    /// For a list, a struct or a map; an infinity mark is the items'.
    pub fn new(logical: &LogicalType, infinity: bool) -> Result<Self> {
        let DataTypeOf { shape, columns } = DataTypeOf::new(logical);
        let marked =
            columns.into_iter().map(|column| Column { infinity: column.infinity || infinity, ..column });
        let children = marked.map(Child::new).collect::<Result<_>>()?;
        Ok(Self { shape, children, offsets: vec![0], nulls: NullBufferBuilder::new(0) })
    }

    /// Takes one value's JSON.
    pub fn append(&mut self, json: &str) -> Result<(), Misfit> {
        let wrong = || Misfit::new("a text that is not JSON of its type", WRONG);
        match self.shape {
            Shape::List(_) => {
                let items: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| wrong())?;
                for item in items {
                    self.children[0].append(item)?;
                }
            }
            Shape::Struct(_) => {
                let Pairs(pairs) = serde_json::from_str(json).map_err(|_| wrong())?;
                if pairs.len() != self.children.len() {
                    return Err(wrong());
                }
                for ((name, value), child) in pairs.into_iter().zip(&mut self.children) {
                    if name != child.name {
                        return Err(wrong());
                    }
                    child.append(value)?;
                }
            }
            Shape::Map(_) => {
                let entries: Vec<(&RawValue, &RawValue)> = serde_json::from_str(json).map_err(|_| wrong())?;
                for (key, value) in entries {
                    self.children[0].append(key)?;
                    self.children[1].append(value)?;
                }
            }
        }
        self.close(true);
        Ok(())
    }

    /// Takes a NULL.
    pub fn append_null(&mut self) {
        if matches!(self.shape, Shape::Struct(_)) {
            for child in &mut self.children {
                child.decoder.append_null();
            }
        }
        self.close(false);
    }

    fn close(&mut self, valid: bool) {
        self.nulls.append(valid);
        self.offsets.push(self.children.first().map_or(0, |child| child.length));
    }

    /// The column of all values taken since the last call.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        let arrays: Vec<ArrayRef> =
            self.children.iter_mut().map(|child| child.decoder.finish()).collect::<Result<_>>()?;
        self.children.iter_mut().for_each(|child| child.length = 0);
        let rows = self.offsets.len() - 1;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.offsets, vec![0])));
        let nulls = self.nulls.finish();
        Ok(match &self.shape {
            Shape::List(item) => {
                Arc::new(ListArray::try_new(Arc::clone(item), offsets, Arc::clone(&arrays[0]), nulls)?)
            }
            Shape::Struct(fields) if fields.is_empty() => {
                Arc::new(StructArray::new_empty_fields(rows, nulls))
            }
            Shape::Struct(fields) => Arc::new(StructArray::try_new(fields.clone(), arrays, nulls)?),
            Shape::Map(entries) => {
                let DataType::Struct(fields) = entries.data_type() else {
                    unreachable!("a map's entries are a struct")
                };
                let pairs = StructArray::try_new(fields.clone(), arrays, None)?;
                Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, false)?)
            }
        })
    }
}

/// One JSON value as one of SQLite's: numbers stay whole, everything else is a text, bytes are hex.
fn append_json(decoder: &mut ColumnDecoder, logical: &LogicalType, raw: &RawValue) -> Result<(), Misfit> {
    let wrong = || Misfit::new("a text that is not JSON of its type", WRONG);
    let json = raw.get();
    if json == "null" {
        decoder.append_null();
        return Ok(());
    }
    if matches!(logical, LogicalType::List(_) | LogicalType::Struct(_) | LogicalType::Map(..)) {
        return decoder.append(ValueRef::Text(json.as_bytes()));
    }
    if let Ok(integer) = json.parse::<i64>() {
        return decoder.append(ValueRef::Integer(integer));
    }
    let text: String = serde_json::from_str(json).map_err(|_| wrong())?;
    match logical {
        LogicalType::Float32 | LogicalType::Float64 => match text.as_str() {
            "NaN" => decoder.append(ValueRef::Real(f64::NAN)),
            number => decoder.append(ValueRef::Real(number.parse().map_err(|_| wrong())?)),
        },
        LogicalType::Binary
        | LogicalType::FixedBinary(_)
        | LogicalType::Geometry
        | LogicalType::Opaque { binary: true, .. } => {
            decoder.append(ValueRef::Blob(&crate::text::parse_hex(&text).ok_or_else(wrong)?))
        }
        _ => decoder.append(ValueRef::Text(text.as_bytes())),
    }
}

/// What a nested type is made of.
struct DataTypeOf {
    shape: Shape,
    columns: Vec<Column>,
}

impl DataTypeOf {
    fn new(logical: &LogicalType) -> Self {
        let carried = Column::new("", logical.clone()).to_field().data_type().clone();
        match (logical, carried) {
            (LogicalType::List(item), DataType::List(field)) => {
                Self { shape: Shape::List(field), columns: vec![Column::new("item", (**item).clone())] }
            }
            (LogicalType::Map(key, value), DataType::Map(entries, _)) => Self {
                shape: Shape::Map(entries),
                columns: vec![Column::new("key", (**key).clone()), Column::new("value", (**value).clone())],
            },
            (LogicalType::Struct(columns), DataType::Struct(fields)) => {
                Self { shape: Shape::Struct(fields), columns: columns.clone() }
            }
            (other, carried) => unreachable!("{other:?} is carried as {carried}, which is not nested"),
        }
    }
}

/// An object's members in their order, a name perhaps twice.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Pairs<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members)
    }
}
