use hub_plugin_api::{Config, Error, Result, WriteMode, Value};
use serde::Deserialize;

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
    pub table: Option<String>,
    /// Makes the table when it is not there. Default true.
    #[serde(default = "default_create_table")]
    pub create_table: bool,
    /// Columns that say which row it is. Default: the stream's key.
    #[serde(default)]
    pub key: Vec<String>,
    /// What happens to columns that the table lacks. Default `evolve`.
    #[serde(default)]
    pub schema_growth: SchemaGrowth,
    /// Statements in place of the mode's own.
    pub statements: Option<Value>,
}

fn default_create_table() -> bool {
    true
}

impl WriteOptions {
    /// Reads the options.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`].
    pub fn new(options: &Config) -> Result<Self> {
        let parsed: Self = options.parse()?;
        if matches!(parsed.mode, WriteMode::Replace | WriteMode::ApplyChanges) || parsed.statements.is_some() {
            return Err(Error::unsupported("Any mode but append and upsert").with_field("mode"));
        }
        Ok(parsed)
    }
}
