//! The options of the strategy: as a form shows them, and as the code uses them.

use hub_plugin_api::{Config, Parameter, Result};
use serde::Deserialize;

use crate::{commands, types::Encoding};

/// The options, all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct KeyspaceOptions {
    /// Names of events; none: all.
    #[serde(default)]
    pub events: Vec<String>,
    /// Patterns of keys; none: all.
    #[serde(default)]
    pub patterns: Vec<String>,
    /// Whether the value is read. Default no.
    #[serde(default)]
    pub fetch_value: bool,
    /// Whether all keys are read after each interruption. Default no.
    #[serde(default)]
    pub reconcile: bool,
    /// Default `text`.
    #[serde(default)]
    pub encoding: Encoding,
    /// The rows' name. Default `keyspace`.
    #[serde(default = "keyspace")]
    pub stream: String,
    /// Milliseconds between two looks at who the masters are. Default 1000.
    #[serde(default = "topology_ms")]
    pub topology_ms: u64,
}

fn keyspace() -> String {
    "keyspace".into()
}

fn topology_ms() -> u64 {
    1000
}

impl KeyspaceOptions {
    /// Reads the options of a request.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`].
    pub fn read(config: &Config) -> Result<Self> {
        let mut options: Self = config.parse()?;
        if options.stream.is_empty() {
            options.stream = keyspace();
        }
        Ok(options)
    }

    /// Whether what happens to a key is wanted.
    pub fn wants_key(&self, key: &[u8]) -> bool {
        self.patterns.is_empty()
            || self.patterns.iter().any(|pattern| commands::matches(pattern.as_bytes(), key))
    }

    /// The channels of a database's events.
    pub fn channels(&self, database: u8) -> Vec<String> {
        let channel = |event: &str| format!("__keyevent@{database}__:{event}");
        match self.events.as_slice() {
            [] => vec![channel("*")],
            events => events.iter().map(|event| channel(event)).collect(),
        }
    }
}

/// The options, in the order in which a form shows them.
pub fn options() -> Vec<Parameter> {
    vec![
        Parameter::list("events", "Events")
            .describe("Names of events such as `set`, `del`, `expired`, `hset`, or patterns of them; all when empty"),
        Parameter::list("patterns", "Patterns").describe("Patterns of keys, such as `user:*`; all when empty"),
        Parameter::boolean("fetch_value", "Fetch value").default(false).describe(
            "Reads what the key holds now, which may be newer than the event; null where the key is gone",
        ),
        Parameter::boolean("reconcile", "Reconcile").default(false).describe(
            "Reads all keys after each interruption, as event `reconcile`: what was set meanwhile is found, what was \
             removed meanwhile is not",
        ),
        Encoding::option()
            .advanced()
            .describe("Whether keys and values are text, so that others are rejected, or bytes (base64 inside JSON)"),
        Parameter::text("stream", "Stream")
            .default("keyspace")
            .advanced()
            .describe("Name of the rows as a stream"),
        Parameter::number("topology_ms", "Topology interval")
            .default(1000)
            .range(100, 600_000)
            .advanced()
            .describe("Milliseconds between two looks at who the masters are"),
    ]
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::json;

    use super::*;

    #[test]
    fn empty_options_are_the_defaults_of_the_form() {
        let read = KeyspaceOptions::read(&Config::new()).unwrap();
        let mut config = Config::new();
        for option in options() {
            if let Some(default) = option.default {
                config.set(option.id, default);
            }
        }
        assert_eq!(KeyspaceOptions::read(&config).unwrap(), read);
        assert_eq!(read.channels(3), ["__keyevent@3__:*"]);
    }

    #[test]
    fn events_are_channels_and_patterns_pick_keys() {
        let config =
            Config::new().with("events", json!(["set", "del"])).with("patterns", json!(["a:*", "b"]));
        let options = KeyspaceOptions::read(&config).unwrap();
        assert_eq!(options.channels(0), ["__keyevent@0__:set", "__keyevent@0__:del"]);
        assert!(options.wants_key(b"a:1") && options.wants_key(b"b") && !options.wants_key(b"c"));
    }
}
