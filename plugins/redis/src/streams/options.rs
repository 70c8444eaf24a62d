//! The options of the strategy: as a form shows them, and as the code uses them.

use hub_plugin_api::{Config, Error, Parameter, Result};
use serde::Deserialize;

use crate::{fields::FieldOption, types::Encoding};

/// Where reading begins, when nothing was read before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// At the oldest entry.
    #[default]
    Earliest,
    /// Behind the newest entry.
    Latest,
}

/// What the columns are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// The id, and all fields as one JSON document.
    #[default]
    Json,
    /// The id, and a column a field.
    Fields,
}

/// What happens when entries were removed before they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnTrimmed {
    /// The run fails.
    #[default]
    Stop,
    /// It is written into the log.
    Warn,
}

/// The options, all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StreamsOptions {
    /// Keys of the streams.
    pub streams: Vec<String>,
    /// The consumer group; absent: the hub remembers by itself how far it is.
    #[serde(default)]
    pub group: Option<String>,
    /// The name in the group; absent: made of the pipeline's id.
    #[serde(default)]
    pub consumer: Option<String>,
    /// Makes the group when it is missing. Default yes.
    #[serde(default = "yes")]
    pub create_group: bool,
    /// Default `earliest`.
    #[serde(default)]
    pub start: Start,
    /// Default `json`.
    #[serde(default)]
    pub shape: Shape,
    /// For `fields`: the columns; empty: those that come.
    #[serde(default)]
    pub fields: Vec<FieldOption>,
    /// Default `text`.
    #[serde(default)]
    pub encoding: Encoding,
    /// The column of the entry's id. Default `entry_id`.
    #[serde(default = "entry_id")]
    pub id_column: String,
    /// Milliseconds after which what another consumer has not acknowledged is claimed; 0: never. Default 60,000.
    #[serde(default = "claim_idle_ms")]
    pub claim_idle_ms: u64,
    /// Deliveries after which an entry is rejected; 0: none. Default 100.
    #[serde(default = "max_deliveries")]
    pub max_deliveries: u64,
    /// Default `stop`.
    #[serde(default)]
    pub on_trimmed: OnTrimmed,
    /// Entries of one stream that are asked for at once. Default 1000.
    #[serde(default = "count")]
    pub count: u64,
}

fn yes() -> bool {
    true
}

fn entry_id() -> String {
    "entry_id".into()
}

fn claim_idle_ms() -> u64 {
    60_000
}

fn max_deliveries() -> u64 {
    100
}

fn count() -> u64 {
    1000
}

impl StreamsOptions {
    /// Reads and checks the options of a request.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field.
    pub fn read(config: &Config) -> Result<Self> {
        let mut options: Self = config.parse()?;
        options.group.take_if(|group| group.is_empty());
        options.consumer.take_if(|consumer| consumer.is_empty());
        if options.streams.is_empty() || options.streams.iter().any(String::is_empty) {
            return Err(Error::config("streams", "No stream is named, or one by an empty name"));
        }
        let mut names = options.streams.clone();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::config("streams", format!("Stream `{}` is named twice", twice[0])));
        }
        if options.consumer.is_some() && options.group.is_none() {
            return Err(Error::config("consumer", "A consumer belongs to a `group`, and none is given"));
        }
        if options.shape == Shape::Json && !options.fields.is_empty() {
            return Err(Error::config("fields", "Fields are the columns of shape `fields` only"));
        }
        if options.id_column.is_empty() || options.fields.iter().any(|field| field.name == options.id_column)
        {
            return Err(Error::config("id_column", "The entry's id needs a column of its own"));
        }
        Ok(options)
    }
}

/// The options, in the order in which a form shows them.
pub fn options() -> Vec<Parameter> {
    let starts = [("earliest", "Earliest"), ("latest", "Latest")];
    let shapes = [("json", "JSON"), ("fields", "Fields")];
    let trimmed = [("stop", "Stop"), ("warn", "Warn")];
    vec![
        Parameter::list("streams", "Streams").required().describe("Keys of the streams"),
        Parameter::text("group", "Consumer group").describe(
            "Group that shares the entries among its consumers; when empty, the hub reads all of them and remembers \
             by itself how far it is",
        ),
        Parameter::dropdown("start", "Start", &starts)
            .default("earliest")
            .describe("Where a new group, or a reader without one, begins"),
        Parameter::dropdown("shape", "Shape", &shapes)
            .default("json")
            .describe("Whether an entry's fields are one JSON document, or a column each"),
        FieldOption::option("For a column a field"),
        Encoding::option()
            .advanced()
            .describe("Whether values are text, so that others are rejected, or bytes (base64 inside JSON)"),
        Parameter::text("id_column", "Id column")
            .default("entry_id")
            .advanced()
            .describe("Name of the column of the entry's id"),
        Parameter::text("consumer", "Consumer")
            .advanced()
            .describe("Name in the group, the same for every run; made of the pipeline's id when empty"),
        Parameter::boolean("create_group", "Create group")
            .default(true)
            .advanced()
            .describe("Makes the group, and the stream, when they are missing"),
        Parameter::number("claim_idle_ms", "Claim after")
            .default(60_000)
            .range(0, 86_400_000)
            .advanced()
            .describe("Milliseconds after which entries that another consumer got and did not acknowledge are taken over; 0 never"),
        Parameter::number("max_deliveries", "Most deliveries")
            .default(100)
            .range(0, 1_000_000)
            .advanced()
            .describe("An entry that was delivered more often than this is rejected; 0 for no limit"),
        Parameter::dropdown("on_trimmed", "When entries were removed", &trimmed)
            .default("stop")
            .advanced()
            .describe("What happens when entries were trimmed or deleted before they were read"),
        Parameter::number("count", "Count")
            .default(1000)
            .range(1, 100_000)
            .advanced()
            .describe("Entries of one stream that are asked for at once"),
    ]
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::json;

    use super::*;

    #[test]
    fn empty_options_are_the_defaults_of_the_form() {
        let read = StreamsOptions::read(&Config::new().with("streams", json!(["s"]))).unwrap();
        let mut config = Config::new();
        for option in options() {
            if let Some(default) = option.default {
                config.set(option.id, default);
            }
        }
        config.set("streams", json!(["s"]));
        assert_eq!(StreamsOptions::read(&config).unwrap(), read);
    }

    #[test]
    fn what_does_not_fit_together_names_its_field() {
        let one = || Config::new().with("streams", json!(["s"]));
        for (config, field) in [
            (Config::new().with("streams", json!([])), "streams"),
            (Config::new().with("streams", json!(["s", "s"])), "streams"),
            (one().with("consumer", "c"), "consumer"),
            (one().with("fields", json!([{"name": "a"}])), "fields"),
            (one().with("shape", "fields").with("fields", json!([{"name": "entry_id"}])), "id_column"),
        ] {
            assert_eq!(StreamsOptions::read(&config).unwrap_err().field.as_deref(), Some(field));
        }
    }
}
