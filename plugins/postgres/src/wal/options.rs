use hub_plugin_api::{Config, Error, Parameter, Result};
use serde::Deserialize;

use super::pattern::ColumnPattern;
use crate::query::Decimals;

/// What is read of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capture {
    /// The rows that are there, then every change.
    SnapshotAndStream,
    /// Every change from now on.
    StreamOnly,
    /// The rows that are there.
    SnapshotOnly,
}

impl Capture {
    /// Whether the rows that are there are read.
    pub fn snapshot(self) -> bool {
        self != Self::StreamOnly
    }
}

/// Options of strategy `wal`.
#[derive(Clone, Debug, Deserialize)]
pub struct WalOptions {
    /// Patterns of tables; empty: all.
    #[serde(default)]
    pub tables: Vec<String>,
    /// Patterns of tables that are left out.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Default `snapshot-and-stream`.
    pub capture: Capture,
    /// A publication of the user's own; absent: one is made.
    #[serde(default)]
    pub publication: Option<String>,
    /// A slot of the user's own; absent: one is made.
    #[serde(default)]
    pub slot: Option<String>,
    /// Default `number`.
    pub decimals: Decimals,
    /// Patterns of columns that are carried as the server writes them.
    #[serde(default)]
    pub as_text: Vec<String>,
    /// Milliseconds to wait for a lock; 0: for ever. Default 30,000.
    pub lock_timeout_ms: u64,
}

/// What is carried as text although its type has a form of its own.
#[derive(Clone, Debug, Default)]
pub struct AsText {
    /// Every numeric.
    pub decimals: bool,
    columns: Vec<ColumnPattern>,
}

impl AsText {
    /// Whether a column is named.
    pub fn names(&self, schema: &str, table: &str, column: &str) -> bool {
        self.columns.iter().any(|pattern| pattern.matches(schema, table, column))
    }
}

impl WalOptions {
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
        let mut options: Self = complete.parse()?;
        options.publication.take_if(|name| name.is_empty());
        options.slot.take_if(|name| name.is_empty());
        for (field, name) in [("publication", &options.publication), ("slot", &options.slot)] {
            if name.as_ref().is_some_and(|name| name.contains('\0') || name.len() > 63) {
                return Err(Error::config(field, format!("`{field}` is not a name of at most 63 bytes")));
            }
        }
        if options.slot.is_some() && options.capture == Capture::SnapshotAndStream {
            return Err(Error::config("slot", "A slot that is there already has no snapshot to begin with")
                .with_hint("Set `capture` to `stream-only`, or let the slot be made by leaving `slot` out"));
        }
        options.as_text()?;
        Ok(options)
    }

    /// What is carried as text.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] for what is no column's name.
    pub fn as_text(&self) -> Result<AsText> {
        let columns = self.as_text.iter().map(|text| ColumnPattern::parse("as_text", text));
        Ok(AsText { decimals: self.decimals == Decimals::Text, columns: columns.collect::<Result<_>>()? })
    }
}

/// The options of strategy `wal`, in the order in which a form shows them.
pub fn parameters() -> Vec<Parameter> {
    let capture = [
        ("snapshot-and-stream", "Snapshot, then changes"),
        ("stream-only", "Changes only"),
        ("snapshot-only", "Snapshot only"),
    ];
    vec![
        Parameter::list("tables", "Tables").describe(
            "Tables to capture, as `schema.table`, `table` in schema public, or with `*` for any text; all where \
             none is named",
        ),
        Parameter::list("exclude", "Exclude").describe("Tables to leave out, named as in `tables`"),
        Parameter::dropdown("capture", "Capture", &capture)
            .default("snapshot-and-stream")
            .describe("Whether the rows that are there are read, the changes from then on, or both without a gap"),
        Parameter::text("publication", "Publication").advanced().describe(
            "Publication that is there already; without it one is made for the pipeline, which needs ownership of \
             the tables, and dropped with it",
        ),
        Parameter::text("slot", "Replication slot").advanced().describe(
            "Logical slot of plugin pgoutput that is there already; without it one is made for the pipeline, and \
             dropped with it",
        ),
        Parameter::dropdown("decimals", "Decimals", &[("number", "Number"), ("text", "Text")])
            .default("number")
            .advanced()
            .describe("Whether numerics with declared digits are carried as numbers, which cannot be NaN or infinite"),
        Parameter::list("as_text", "As text").advanced().describe(
            "Columns that are carried as the server writes them, whatever they hold, as `schema.table.column`, \
             `table.column` in schema public, or with `*` for any text",
        ),
        Parameter::number("lock_timeout_ms", "Lock timeout")
            .default(30_000)
            .range(0, i64::from(i32::MAX))
            .advanced()
            .describe("Milliseconds to wait for a lock on a table; 0 waits for ever"),
    ]
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::json;

    use super::*;

    #[test]
    fn options_that_make_no_sense_name_their_field() {
        let long = "x".repeat(64);
        for (options, field) in [
            (Config::new().with("slot", "s"), "slot"),
            (Config::new().with("slot", long.as_str()).with("capture", "stream-only"), "slot"),
            (Config::new().with("publication", "a\0"), "publication"),
            (Config::new().with("as_text", json!(["t.a", "a"])), "as_text"),
        ] {
            assert_eq!(WalOptions::read(&options).unwrap_err().field.as_deref(), Some(field));
        }
        let options = WalOptions::read(&Config::new()).unwrap();
        assert_eq!((options.capture, options.slot), (Capture::SnapshotAndStream, None));
    }
}
