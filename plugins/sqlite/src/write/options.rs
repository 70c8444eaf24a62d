use hub_plugin_api::{Config, Result, Value, WriteMode};
use serde::Deserialize;

use super::template::{self, Template};

/// What happens to columns that the table lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchemaGrowth {
    /// They are added.
    #[default]
    Evolve,
    /// They are left out.
    Ignore,
    /// The run stops.
    Fail,
}

/// The options of By Write Operation.
#[derive(Clone, Debug, Deserialize)]
pub struct WriteOptions {
    /// What happens to rows. Default `append`.
    #[serde(default)]
    pub mode: WriteMode,
    /// The table. Default: the stream's name.
    #[serde(default)]
    table: String,
    /// Makes the table when it is not there. Default true.
    #[serde(default = "default_create_table")]
    pub create_table: bool,
    /// Columns that say which row it is. Default: the stream's key.
    #[serde(default)]
    pub key: Vec<String>,
    /// What happens to columns that the table lacks. Default `evolve`.
    #[serde(default)]
    pub schema_growth: SchemaGrowth,
    /// Statements in place of the mode's own, as given.
    #[serde(default)]
    statements: Option<Value>,
    /// The same, read.
    #[serde(skip)]
    pub templates: Vec<Template>,
}

fn default_create_table() -> bool {
    true
}

impl WriteOptions {
    /// Reads the options.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field.
    pub fn new(options: &Config) -> Result<Self> {
        let mut parsed: Self = options.parse()?;
        parsed.templates = template::read(parsed.statements.as_ref())?;
        Ok(parsed)
    }

    /// The table that a stream's rows go to.
    pub fn table_of(&self, stream: &str) -> String {
        if self.table.is_empty() { stream.to_owned() } else { self.table.clone() }
    }
}
