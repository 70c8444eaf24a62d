//! The options of the strategy: as a form shows them, and as the code uses them.

use hub_plugin_api::{Config, Error, Parameter, Result};
use serde::Deserialize;

use crate::{
    fields::FieldOption,
    types::{Encoding, Kind},
};

/// What a row is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A key.
    #[default]
    Value,
    /// A hash, a column a field.
    Fields,
    /// An element of a value.
    Elements,
}

/// The options, all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct KeysOptions {
    /// Keys by name.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Patterns of KEYS.
    #[serde(default)]
    pub patterns: Vec<String>,
    /// The only type that is read; absent: all.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Default `value`.
    #[serde(default)]
    pub shape: Shape,
    /// For `fields`: the columns; empty: those that come.
    #[serde(default)]
    pub fields: Vec<FieldOption>,
    /// Default `text`.
    #[serde(default)]
    pub encoding: Encoding,
    /// Whether the time to live is asked for. Default yes.
    #[serde(default = "yes")]
    pub ttl: bool,
    /// For `fields`: the column of the key; empty: none.
    #[serde(default = "key")]
    pub key_column: String,
    /// The rows' name.
    #[serde(default = "keys")]
    pub stream: String,
    /// Whether a key that SCAN brings twice is left out. Default yes.
    #[serde(default = "yes")]
    pub unique_keys: bool,
    /// How many keys the server looks at at a time. Default 1000.
    #[serde(default = "scan_count")]
    pub scan_count: u64,
}

fn yes() -> bool {
    true
}

fn key() -> String {
    "key".into()
}

fn keys() -> String {
    "keys".into()
}

fn scan_count() -> u64 {
    1000
}

impl KeysOptions {
    /// Reads and checks the options of a request.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field.
    pub fn read(config: &Config) -> Result<Self> {
        let mut options: Self = config.parse()?;
        options.kind.take_if(|kind| kind.is_empty() || kind == "any");
        if options.stream.is_empty() {
            options.stream = keys();
        }
        if options.keys.is_empty() && options.patterns.is_empty() {
            return Err(Error::config("patterns", "Neither keys nor patterns are given")
                .with_hint("Pattern `*` reads every key"));
        }
        if options.shape == Shape::Fields {
            match options.kind.as_deref() {
                None => options.kind = Some("hash".into()),
                Some("hash") => {}
                Some(other) => {
                    return Err(Error::config("shape", format!("A `{other}` has no fields"))
                        .with_hint("Use shape `value` or `elements`, or type `hash`"));
                }
            }
        } else if !options.fields.is_empty() {
            return Err(Error::config("fields", "Fields are the columns of shape `fields` only"));
        }
        let mut names: Vec<&str> = options.fields.iter().map(|field| field.name.as_str()).collect();
        names.extend(options.own_columns());
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::config("fields", format!("Column `{}` would be there twice", twice[0]))
                .with_hint(
                    "`key_column` renames or removes the column of the key, `ttl` that of the time to live",
                ));
        }
        Ok(options)
    }

    /// All keys that patterns find, with their values.
    pub fn of_patterns(patterns: Vec<String>) -> Self {
        Self {
            keys: Vec::new(),
            patterns,
            kind: None,
            shape: Shape::Value,
            fields: Vec::new(),
            encoding: Encoding::Text,
            ttl: true,
            key_column: key(),
            stream: keys(),
            unique_keys: true,
            scan_count: scan_count(),
        }
    }

    /// The columns of shape `fields` that are no fields.
    pub fn own_columns(&self) -> Vec<&str> {
        let mut names = Vec::new();
        if self.shape == Shape::Fields {
            names.extend(Some(self.key_column.as_str()).filter(|name| !name.is_empty()));
            names.extend(self.ttl.then_some("ttl_ms"));
        }
        names
    }

    /// The only type that is read.
    pub fn kind(&self) -> Option<Kind> {
        self.kind.as_deref().and_then(Kind::of_option)
    }

    /// What SCAN is told, where one pattern says it all.
    pub fn scan_pattern(&self) -> Option<&[u8]> {
        match self.patterns.as_slice() {
            [one] if one != "*" => Some(one.as_bytes()),
            _ => None,
        }
    }
}

/// The options, in the order in which a form shows them.
pub fn options() -> Vec<Parameter> {
    let mut kinds = vec![("any", "Any")];
    kinds.extend(Kind::KNOWN);
    let shapes = [("value", "Value"), ("fields", "Fields of Hashes"), ("elements", "Elements")];
    vec![
        Parameter::list("patterns", "Patterns")
            .describe("Patterns of keys, such as `user:*`; a key that several match is read once"),
        Parameter::list("keys", "Keys").describe("Keys by name, read besides those of the patterns"),
        Parameter::dropdown("type", "Type", &kinds)
            .default("any")
            .describe("The only type of value that is read; keys of other types are left out"),
        Parameter::dropdown("shape", "Shape", &shapes).default("value").describe(
            "A row is a key with its whole value (strings as they are, others as JSON), a hash with a column a field, \
             or an element of a value",
        ),
        FieldOption::option("For hashes"),
        Encoding::option()
            .describe("Whether keys and values are text, so that others are rejected, or bytes (base64 inside JSON)"),
        Parameter::boolean("ttl", "Time to live")
            .default(true)
            .advanced()
            .describe("Reads how many milliseconds each key has left; without it reading is faster"),
        Parameter::text("key_column", "Key column")
            .default("key")
            .advanced()
            .describe("For hashes with a column a field: the column of the key; empty leaves it out"),
        Parameter::text("stream", "Stream").default("keys").advanced().describe("Name of the rows as a stream"),
        Parameter::boolean("unique_keys", "Unique keys").default(true).advanced().describe(
            "Leaves out a key that the server brings twice because it shrinks its table of keys meanwhile; remembers \
             16 bytes a key, above 64 MiB on disk",
        ),
        Parameter::number("scan_count", "Scan count")
            .default(1000)
            .range(1, 100_000)
            .advanced()
            .describe("How many keys the server looks at in one step, during which it answers nobody else"),
    ]
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::json;

    use super::*;

    #[test]
    fn empty_options_are_the_defaults_of_the_form() {
        let read = KeysOptions::read(&Config::new().with("patterns", json!(["*"]))).unwrap();
        let mut config = Config::new();
        for option in options() {
            if let Some(default) = option.default {
                config.set(option.id, default);
            }
        }
        config.set("patterns", json!(["*"]));
        assert_eq!(KeysOptions::read(&config).unwrap(), read);
    }

    #[test]
    fn what_does_not_fit_together_names_its_field() {
        let all = || Config::new().with("patterns", json!(["*"]));
        for (config, field) in [
            (Config::new(), "patterns"),
            (all().with("shape", "fields").with("type", "list"), "shape"),
            (all().with("fields", json!([{"name": "a"}])), "fields"),
            (all().with("shape", "fields").with("fields", json!([{"name": "key"}])), "fields"),
        ] {
            assert_eq!(KeysOptions::read(&config).unwrap_err().field.as_deref(), Some(field));
        }
    }
}
