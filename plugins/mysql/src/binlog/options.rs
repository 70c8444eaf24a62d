//! The strategy's options: as a form shows them, and as the code uses them.

use std::time::Duration;

use hub_plugin_api::{Budgets, Config, Guarantee, Mode, Parameter, Result, Strategy};
use serde::Deserialize;

use super::{filter::TableFilter, follow::Wishes};
use crate::raw::column::ZeroDates;

/// Whether to read what is there before following.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotMode {
    /// When the pipeline starts for the first time.
    Initial,
    /// Only what changes from now on.
    Never,
}

/// The options, all defaults filled in.
#[derive(Clone, Debug, Deserialize)]
pub struct Options {
    /// Names of the tables to follow; empty: all of the database.
    #[serde(default)]
    pub tables: Vec<String>,
    /// Whether to read what is there before following. Default `initial`.
    pub snapshot: SnapshotMode,
    /// Names of tables to leave out.
    #[serde(default)]
    pub exclude_tables: Vec<String>,
    /// What becomes of dates that are none. Default `error`.
    pub zero_dates: ZeroDates,
    /// Hand over the whole row as it was. Default no.
    pub before_images: bool,
    /// Milliseconds after which a server without news says that it is there. Default 10,000.
    pub heartbeat_ms: u64,
}

impl Options {
    /// Reads the options.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`].
    pub fn read(config: &Config) -> Result<Self> {
        let mut complete = Config::new();
        for parameter in options() {
            if let Some(value) = config.get(&parameter.id).or(parameter.default.as_ref()) {
                complete.set(parameter.id, value.clone());
            }
        }
        complete.parse()
    }

    /// What the follower is to do.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] for a name that is none.
    pub fn wishes(&self, database: &str, budgets: Budgets) -> Result<Wishes> {
        Ok(Wishes {
            filter: TableFilter::new(database, &self.tables, &self.exclude_tables)?,
            zero_dates: self.zero_dates,
            whole_before: self.before_images,
            budgets,
        })
    }

    /// How often a server without news says that it is there.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }
}

/// What the connection test must know of the options.
pub struct SnapshotWish {
    /// Whether the rows that are there are read first.
    pub wants_rows: bool,
    filter: TableFilter,
}

impl SnapshotWish {
    /// Reads and checks the options.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field.
    pub fn read(database: &str, config: &Config) -> Result<Self> {
        let options = Options::read(config)?;
        let Wishes { filter, .. } = options.wishes(database, Budgets::default())?;
        Ok(Self { wants_rows: options.snapshot == SnapshotMode::Initial, filter })
    }

    /// The names of tables to follow that none of these has, on a server that keeps names in small letters or not.
    pub fn unmatched(&self, tables: &[(String, String)], small_letters: bool) -> Vec<String> {
        let filter = self.filter.clone();
        let filter = if small_letters { filter.in_small_letters() } else { filter };
        filter.unmatched(tables)
    }
}

/// The strategy as the manifest declares it.
pub fn strategy() -> Strategy {
    let mut strategy = Strategy::source("binlog", "By Bin Logs")
        .guarantee(Guarantee::EffectivelyOnce)
        .describe("Follows the changes of tables through the server's binary log");
    strategy.mode = Mode::Stream;
    strategy.options = options();
    strategy
}

/// The options of the strategy, in the order in which a form shows them.
fn options() -> Vec<Parameter> {
    vec![
        Parameter::list("tables", "Tables").describe(
            "Tables to follow, as `table` or `database.table`; `*` stands for any characters. Empty: all of the database",
        ),
        Parameter::dropdown("snapshot", "Snapshot", &[("initial", "Initial"), ("never", "Never")])
            .default("initial")
            .describe("Whether the rows that are there are read first, when the pipeline starts for the first time"),
        Parameter::list("exclude_tables", "Excluded tables")
            .advanced()
            .describe("Tables to leave out, written as in Tables"),
        Parameter::dropdown("zero_dates", "Zero dates", &[("error", "Error"), ("null", "Null")])
            .default("error")
            .advanced()
            .describe("What becomes of dates such as 0000-00-00: they stop the run, or become null"),
        Parameter::boolean("before_images", "Before images")
            .default(false)
            .advanced()
            .describe("Hand over the whole row as it was before an update, not only a key that changed"),
        Parameter::number("heartbeat_ms", "Heartbeat")
            .default(10_000)
            .range(100, 600_000)
            .advanced()
            .describe("Milliseconds after which a server without news says where its log stands"),
    ]
}
