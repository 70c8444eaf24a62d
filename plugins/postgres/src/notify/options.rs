use std::time::Duration;

use hub_plugin_api::{Config, Error, Parameter, Result, StreamId};
use serde::Deserialize;

/// The most bytes of a channel's name: the server cuts longer ones in LISTEN, and refuses them in NOTIFY.
const MAX_CHANNEL_BYTES: usize = 63;

/// What a notification's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Payload {
    /// Any text.
    Text,
    /// A JSON value; anything else is refused.
    Json,
}

/// Options of strategy `notify`.
#[derive(Clone, Debug, Deserialize)]
pub struct NotifyOptions {
    /// Channels, spelled as `pg_notify` spells them.
    pub channels: Vec<String>,
    /// Default `text`.
    pub payload: Payload,
    /// A table that holds what the notifications are about; absent: the notifications themselves are read.
    #[serde(default)]
    outbox: Option<String>,
    /// Default `public`.
    outbox_schema: String,
    /// Default `id`.
    outbox_key: String,
    /// The stream's name; absent: the outbox, else `notifications`.
    #[serde(default)]
    stream: Option<String>,
    /// Milliseconds after which an outbox is looked at without a notification. Default 30,000.
    poll_ms: u64,
    /// Milliseconds that a missing key of an outbox is waited for. Default 60,000.
    gap_wait_ms: u64,
    /// Milliseconds for which a lost session is opened again and again. Default 300,000.
    reconnect_timeout_ms: u64,
}

/// Which table is drained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxOptions {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// The column that it is read in the order of.
    pub key: String,
}

impl NotifyOptions {
    /// Reads and checks options.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field.
    pub fn read(options: &Config) -> Result<Self> {
        let mut complete = Config::new();
        for parameter in parameters() {
            if let Some(value) = options.get(&parameter.id).or(parameter.default.as_ref()) {
                complete.set(parameter.id, value.clone());
            }
        }
        if complete.list("channels").is_empty() {
            return Err(Error::config("channels", "`channels` names no channel"));
        }
        let mut options: Self = complete.parse()?;
        options.stream.take_if(|stream| stream.is_empty());
        options.outbox.take_if(|outbox| outbox.is_empty());
        for (index, channel) in options.channels.iter().enumerate() {
            let wrong = |what: &str| Error::config("channels", format!("Channel `{channel}` {what}"));
            if channel.is_empty() || channel.contains('\0') {
                return Err(wrong("is empty or holds a NUL character"));
            }
            if channel.len() > MAX_CHANNEL_BYTES {
                return Err(wrong("has more than the 63 bytes that a channel's name may have"));
            }
            if options.channels[..index].contains(channel) {
                return Err(wrong("is named twice"));
            }
        }
        for (field, text) in [("outbox_schema", &options.outbox_schema), ("outbox_key", &options.outbox_key)]
        {
            if text.is_empty() {
                return Err(Error::config(field, format!("`{field}` is empty")));
            }
        }
        Ok(options)
    }

    /// The table to drain, where there is one.
    pub fn outbox(&self) -> Option<OutboxOptions> {
        self.outbox.as_ref().map(|table| OutboxOptions {
            schema: self.outbox_schema.clone(),
            table: table.clone(),
            key: self.outbox_key.clone(),
        })
    }

    /// What the rows go under.
    pub fn stream(&self) -> StreamId {
        match (&self.stream, &self.outbox) {
            (Some(name), _) => StreamId::named(name),
            (None, Some(table)) => StreamId::new([self.outbox_schema.clone()], table),
            (None, None) => StreamId::named("notifications"),
        }
    }

    /// After how long an outbox is looked at without a notification.
    pub fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    /// How long a missing key is waited for.
    pub fn gap_wait(&self) -> Duration {
        Duration::from_millis(self.gap_wait_ms)
    }

    /// For how long a lost session is opened again and again.
    pub fn reconnect_timeout(&self) -> Duration {
        Duration::from_millis(self.reconnect_timeout_ms)
    }
}

/// The options of strategy `notify`, in the order in which a form shows them.
pub fn parameters() -> Vec<Parameter> {
    let milliseconds = |id: &str, label: &str, default: i64, least: i64| {
        Parameter::number(id, label).default(default).range(least, 86_400_000).advanced()
    };
    vec![
        Parameter::list("channels", "Channels")
            .required()
            .describe("Channels to listen on, spelled exactly as `pg_notify` spells them"),
        Parameter::dropdown("payload", "Payload", &[("text", "Text"), ("json", "JSON")])
            .default("text")
            .describe(
                "What notifications hold. The server takes less than 8,000 bytes each, and delivers equal ones of one \
                 transaction once",
            ),
        Parameter::text("outbox", "Outbox table").describe(
            "Table whose new rows are read on connect and on every notification, so that none is missed while nobody \
             listens; without it the notifications themselves are read, and those of such times are gone",
        ),
        Parameter::text("outbox_schema", "Outbox schema")
            .default("public")
            .advanced()
            .describe("Schema of the outbox table"),
        Parameter::text("outbox_key", "Outbox key")
            .default("id")
            .describe("Whole-number column that grows with each new row, such as an identity"),
        Parameter::text("stream", "Stream")
            .advanced()
            .describe("Name that the rows go under; without it the outbox table's own, or `notifications`"),
        milliseconds("poll_ms", "Poll interval", 30_000, 100)
            .describe("Milliseconds after which an outbox is looked at even without a notification"),
        milliseconds("gap_wait_ms", "Gap wait", 60_000, 0).describe(
            "Milliseconds that a key missing between others is waited for, in case its transaction is late",
        ),
        milliseconds("reconnect_timeout_ms", "Reconnect timeout", 300_000, 0)
            .describe("Milliseconds for which a lost session is opened again and again before the run fails"),
    ]
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::json;

    use super::*;

    #[test]
    fn options_that_make_no_sense_name_their_field() {
        let channels = |channels: hub_plugin_api::Value| Config::new().with("channels", channels);
        for (options, field) in [
            (Config::new(), "channels"),
            (channels(json!([])), "channels"),
            (channels(json!(["a", "a"])), "channels"),
            (channels(json!([""])), "channels"),
            (channels(json!(["x".repeat(64)])), "channels"),
            (channels(json!(["a"])).with("outbox_key", ""), "outbox_key"),
        ] {
            assert_eq!(NotifyOptions::read(&options).unwrap_err().field.as_deref(), Some(field));
        }
    }

    #[test]
    fn rows_go_under_the_outbox_unless_a_name_is_given() {
        let options = Config::new().with("channels", json!(["a"]));
        let read = |options: &Config| NotifyOptions::read(options).unwrap();
        assert_eq!(read(&options).stream(), StreamId::named("notifications"));
        let outbox = options.with("outbox", "events");
        assert_eq!(read(&outbox).stream(), StreamId::new(["public"], "events"));
        assert_eq!(read(&outbox.with("stream", "x")).stream(), StreamId::named("x"));
    }
}
