//! Rows of By Keys become the keys that they were: type, value and time to live.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hub_plugin_api::{Error, Result, Value, types::LogicalType};

use super::{
    options::WriteOptions,
    row::{Batch, Refused},
    target::Action,
};
use crate::{
    text::TextColumn,
    types::{Encoding, Kind},
};

/// Where the columns of By Keys are.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    key: usize,
    kind: usize,
    value: usize,
    value_is_json: bool,
    ttl: Option<usize>,
}

impl Columns {
    /// Finds them.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] where one is missing.
    pub fn of(columns: &[TextColumn]) -> Result<Self> {
        let find = |name: &str| columns.iter().position(|column| column.column().name == name);
        let must = |name: &str| {
            find(name).ok_or_else(|| {
                Error::config(
                    "type",
                    format!("The rows have no column `{name}`, so they are none of By Keys"),
                )
                .with_hint("`from-rows` takes rows of By Keys in shape `value`")
            })
        };
        let value = must("value")?;
        Ok(Self {
            key: must("key")?,
            kind: must("type")?,
            value,
            value_is_json: columns[value].column().logical == LogicalType::Json,
            ttl: find("ttl_ms"),
        })
    }
}

/// What puts the key in the place of whatever has its name.
///
/// # Errors
/// Why the row cannot be written; the others can.
pub fn actions(
    columns: &Columns,
    options: &WriteOptions,
    batch: &Batch<'_>,
    row: usize,
    out: &mut Vec<Action>,
) -> Result<(), Refused> {
    let must = |column: usize, name: &str| {
        batch.value(column, row)?.ok_or_else(|| Refused::new(format!("Column `{name}` is null")))
    };
    let mut key = options.key_prefix.clone().into_bytes();
    key.extend(must(columns.key, "key")?);
    let kind = String::from_utf8_lossy(&must(columns.kind, "type")?).into_owned();
    let kind =
        Kind::of_option(&kind).ok_or_else(|| Refused::new(format!("Type `{kind}` cannot be written")))?;
    let stored = must(columns.value, "value")?;
    let value = if columns.value_is_json {
        serde_json::from_slice(&stored)
            .map_err(|error| Refused::new(format!("Column `value` is no JSON: {error}")))?
    } else {
        Value::Null
    };
    let bytes = |value: &Value| -> Result<Vec<u8>, Refused> {
        let text =
            value.as_str().ok_or_else(|| Refused::new(format!("`{value}` in column `value` is no text")))?;
        match options.encoding {
            Encoding::Text => Ok(text.as_bytes().to_vec()),
            Encoding::Binary => BASE64_STANDARD.decode(text).map_err(|_| {
                Refused::new("A text in column `value` is no base64, as `encoding: binary` has it")
            }),
        }
    };
    let mut add = |name: &str, arguments: Vec<Vec<u8>>| {
        let mut command = redis::cmd(name);
        command.arg(&key);
        arguments.iter().for_each(|argument| {
            command.arg(argument);
        });
        out.push(Action::Run { key: key.clone(), command, expects: None });
    };
    let list = || value.as_array().ok_or_else(|| Refused::new("Column `value` is no JSON list"));
    add("UNLINK", Vec::new());
    match kind {
        Kind::String => {
            let stored = if columns.value_is_json { bytes(&value)? } else { stored };
            add("SET", vec![stored]);
        }
        Kind::Json => add("JSON.SET", vec![b"$".to_vec(), stored]),
        Kind::List | Kind::Set => {
            let items = list()?.iter().map(bytes).collect::<Result<Vec<_>, _>>()?;
            let name = if kind == Kind::List { "RPUSH" } else { "SADD" };
            items.chunks(CHUNK).for_each(|part| add(name, part.to_vec()));
        }
        Kind::Hash => {
            let pairs = pairs(&value, &bytes)?;
            pairs.chunks(CHUNK).for_each(|part| add("HSET", part.iter().flatten().cloned().collect()));
        }
        Kind::SortedSet => {
            let mut members = Vec::new();
            for member in list()? {
                let score = match &member["score"] {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                members.push([score.into_bytes(), bytes(&member["member"])?]);
            }
            members.chunks(CHUNK).for_each(|part| add("ZADD", part.iter().flatten().cloned().collect()));
        }
        Kind::Stream => {
            for entry in list()? {
                let id =
                    entry["id"].as_str().ok_or_else(|| Refused::new("An entry of the stream has no id"))?;
                let mut arguments = vec![id.as_bytes().to_vec()];
                arguments.extend(pairs(&entry["fields"], &bytes)?.into_iter().flatten());
                add("XADD", arguments);
            }
        }
        Kind::Other(name) => return Err(Refused::new(format!("Type `{name}` cannot be written"))),
    }
    if let Some(ttl) = columns.ttl.map(|column| batch.value(column, row)).transpose()?.flatten() {
        add("PEXPIRE", vec![ttl]);
    }
    Ok(())
}

/// Elements of one command.
const CHUNK: usize = 1000;

type Bytes<'a> = &'a dyn Fn(&Value) -> Result<Vec<u8>, Refused>;

/// An object's names and values, or those of a list of pairs. Names are encoded as values are.
fn pairs(value: &Value, bytes: Bytes<'_>) -> Result<Vec<[Vec<u8>; 2]>, Refused> {
    match value {
        Value::Object(object) => object
            .iter()
            .map(|(name, value)| Ok([bytes(&Value::String(name.clone()))?, bytes(value)?]))
            .collect(),
        Value::Array(list) => list.iter().map(|pair| Ok([bytes(&pair[0])?, bytes(&pair[1])?])).collect(),
        _ => Err(Refused::new("Column `value` is neither an object nor a list of pairs")),
    }
}
