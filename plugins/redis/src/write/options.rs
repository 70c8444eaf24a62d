//! The options of the strategy: as a form shows them, and as the code uses them.

use hub_plugin_api::{Config, Error, Parameter, Result};
use serde::Deserialize;

use crate::types::Encoding;

/// What a row becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriteType {
    /// A hash, a field a column.
    #[default]
    Hash,
    /// A string.
    String,
    /// An element of a list.
    List,
    /// A member of a set.
    Set,
    /// A member of a sorted set.
    Zset,
    /// An entry of a stream.
    Stream,
    /// A document of the JSON module.
    Json,
    /// What the row says: rows of By Keys become the keys that they were.
    FromRows,
}

impl WriteType {
    /// As options write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::Zset => "zset",
            Self::Stream => "stream",
            Self::Json => "json",
            Self::FromRows => "from-rows",
        }
    }

    /// Whether a row has a key of its own: writing it again leaves the same.
    pub fn is_keyed(self) -> bool {
        matches!(self, Self::Hash | Self::String | Self::Json | Self::FromRows)
    }
}

/// A command of the user's own for one kind of row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandOption {
    /// `insert`, `update`, `delete` or `snapshot`.
    pub on: String,
    /// The command's name and its arguments.
    pub command: Vec<String>,
}

/// The options, all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WriteOptions {
    /// Default `hash`.
    #[serde(default, rename = "type")]
    pub kind: WriteType,
    /// Template of the key; absent: the stream's name and the columns of its key.
    #[serde(default)]
    pub key: Option<String>,
    /// Put before every key.
    #[serde(default)]
    pub key_prefix: String,
    /// The column that is stored; absent: the only one beside the key, or the row as JSON.
    #[serde(default)]
    pub value_column: Option<String>,
    /// For `zset`.
    #[serde(default)]
    pub score_column: Option<String>,
    /// For `stream`; absent: the server's.
    #[serde(default)]
    pub id_column: Option<String>,
    /// Milliseconds that keys live; 0: for ever.
    #[serde(default)]
    pub ttl_ms: u64,
    /// The column of the milliseconds that a key lives.
    #[serde(default)]
    pub ttl_column: Option<String>,
    /// For `from-rows`: what texts inside JSON are.
    #[serde(default)]
    pub encoding: Encoding,
    /// Commands instead of those by type.
    #[serde(default)]
    pub commands: Vec<CommandOption>,
    /// How many replicas must have a commit before it counts.
    #[serde(default)]
    pub wait_replicas: u32,
}

impl WriteOptions {
    /// Reads and checks the options of a request.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field.
    pub fn read(config: &Config) -> Result<Self> {
        let mut options: Self = config.parse()?;
        for text in [
            &mut options.key,
            &mut options.value_column,
            &mut options.score_column,
            &mut options.id_column,
            &mut options.ttl_column,
        ] {
            text.take_if(|text| text.is_empty());
        }
        let only_for = |field: &str, given: bool, kinds: &[WriteType]| {
            if !given || kinds.contains(&options.kind) {
                return Ok(());
            }
            let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
            Err(Error::config(field, format!("`{field}` is for type {} only", names.join(", "))))
        };
        only_for("score_column", options.score_column.is_some(), &[WriteType::Zset])?;
        only_for("id_column", options.id_column.is_some(), &[WriteType::Stream])?;
        only_for(
            "value_column",
            options.value_column.is_some(),
            &[WriteType::String, WriteType::List, WriteType::Set, WriteType::Zset, WriteType::Json],
        )?;
        if options.kind == WriteType::Zset && options.score_column.is_none() && options.commands.is_empty() {
            return Err(Error::config("score_column", "A sorted set needs the column of the score"));
        }
        if options.ttl_ms > 0 && options.ttl_column.is_some() {
            return Err(Error::config("ttl_ms", "`ttl_ms` and `ttl_column` exclude each other"));
        }
        Ok(options)
    }
}

/// The options, in the order in which a form shows them.
pub fn options() -> Vec<Parameter> {
    let types = [
        ("hash", "Hash"),
        ("string", "String"),
        ("list", "List"),
        ("set", "Set"),
        ("zset", "Sorted Set"),
        ("stream", "Stream"),
        ("json", "JSON"),
        ("from-rows", "From Rows"),
    ];
    vec![
        Parameter::dropdown("type", "Type", &types).default("hash").describe(
            "What a row becomes: a hash with a field a column, a string, an element of a list, a member of a set or a \
             sorted set, an entry of a stream, a JSON document; From Rows takes rows of By Keys and writes what they were",
        ),
        Parameter::text("key", "Key").describe(
            "Template of the key, such as `user:{{id}}`; when empty, the stream's name and the columns of its key, \
             joined by `:`, or the stream's name alone for lists, sets and streams",
        ),
        Parameter::text("key_prefix", "Key prefix").describe("Put before every key, as it is"),
        Parameter::text("value_column", "Value column")
            .describe("The column that is stored; when empty, the only one beside the key, or the whole row as JSON"),
        Parameter::text("score_column", "Score column").describe("For sorted sets: the column of the score"),
        Parameter::text("id_column", "Id column")
            .advanced()
            .describe("For streams: the column of the entry's id; when empty, the server makes one"),
        Parameter::number("ttl_ms", "Time to live")
            .default(0)
            .range(0, i64::from(i32::MAX) * 1000)
            .describe("Milliseconds after which a key goes; 0 keeps it"),
        Parameter::text("ttl_column", "Time to live column")
            .advanced()
            .describe("The column of the milliseconds after which the row's key goes; null keeps it"),
        Parameter::structured("commands", "Commands").advanced().describe(
            "List of {on: insert | update | delete | snapshot, command: [name, argument …]}: run in order for each row \
             instead of the type's own; `{{column}}` stands for a value, `{{__before.column}}` for the one before",
        ),
        Encoding::option()
            .advanced()
            .describe("For From Rows: the encoding that By Keys was told, so that base64 inside JSON is bytes again"),
        Parameter::number("wait_replicas", "Wait for replicas")
            .default(0)
            .range(0, 100)
            .advanced()
            .describe("How many replicas must have a commit before it counts as durable"),
    ]
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::json;

    use super::*;

    #[test]
    fn empty_options_are_the_defaults_of_the_form() {
        let read = WriteOptions::read(&Config::new()).unwrap();
        let mut config = Config::new();
        for option in options() {
            if let Some(default) = option.default {
                config.set(option.id, default);
            }
        }
        assert_eq!(WriteOptions::read(&config).unwrap(), read);
        assert_eq!(read.kind, WriteType::Hash);
    }

    #[test]
    fn what_does_not_fit_together_names_its_field() {
        for (config, field) in [
            (Config::new().with("type", "zset"), "score_column"),
            (Config::new().with("score_column", "s"), "score_column"),
            (Config::new().with("id_column", "i"), "id_column"),
            (Config::new().with("value_column", "v"), "value_column"),
            (Config::new().with("ttl_ms", 5).with("ttl_column", "t"), "ttl_ms"),
        ] {
            assert_eq!(WriteOptions::read(&config).unwrap_err().field.as_deref(), Some(field));
        }
        let commands = json!([{ "on": "insert", "command": ["SET", "a", "b"] }]);
        assert!(WriteOptions::read(&Config::new().with("type", "zset").with("commands", commands)).is_ok());
    }
}
