//! The options of the strategy: as a form shows them, and as the code uses them.

use hub_plugin_api::{Config, Error, Parameter, Result, StreamId, WriteMode};
use serde::Deserialize;

/// What happens when a stream brings columns that the table does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SchemaGrowth {
    /// The table gets them.
    #[default]
    Evolve,
    /// They are left out.
    Ignore,
    /// The run stops.
    Fail,
}

/// How new rows get to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Load {
    /// By LOAD DATA LOCAL where the server allows it.
    #[default]
    Auto,
    /// By INSERT of many rows.
    Insert,
}

/// A statement of the user's own for one kind of row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TemplateOption {
    /// `insert`, `update`, `delete` or `snapshot`.
    pub on: String,
    /// One statement.
    pub statement: String,
}

/// The options, all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct WriteOptions {
    #[serde(default)]
    pub mode: WriteMode,
    #[serde(default)]
    pub table: Option<String>,
    #[serde(default = "yes")]
    pub create_table: bool,
    #[serde(default)]
    pub key: Vec<String>,
    #[serde(default)]
    pub schema_growth: SchemaGrowth,
    #[serde(default)]
    pub load: Load,
    #[serde(default)]
    pub statements: Vec<TemplateOption>,
}

fn yes() -> bool {
    true
}

impl WriteOptions {
    /// Reads and checks the options of a request.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field.
    pub(super) fn read(config: &Config) -> Result<Self> {
        let mut options: Self = config.parse()?;
        options.table.take_if(|table| table.is_empty());
        for (field, names) in [("table", options.table.as_slice()), ("key", options.key.as_slice())] {
            for name in names {
                check_name(field, name)?;
            }
        }
        if !options.statements.is_empty() && options.mode == WriteMode::Replace {
            return Err(Error::config(
                "statements",
                "Statements of your own and mode `replace` exclude each other",
            ));
        }
        Ok(options)
    }

    /// The name of a stream's table.
    pub(super) fn table_of<'a>(&'a self, stream: &'a StreamId) -> &'a str {
        self.table.as_deref().unwrap_or(&stream.name)
    }
}

/// The servers refuse longer names, and cut blanks at the end off.
pub(super) fn check_name(field: &str, name: &str) -> Result<()> {
    const MAX_NAME_CHARACTERS: usize = 64;
    if name.is_empty() || name.contains('\0') || name.ends_with(' ') {
        return Err(Error::config(
            field,
            format!("`{field}` holds a name that is empty, ends with a blank or has a NUL character"),
        ));
    }
    if name.chars().count() > MAX_NAME_CHARACTERS {
        return Err(Error::config(
            field,
            format!("Name `{name}` has more than {MAX_NAME_CHARACTERS} characters"),
        ));
    }
    Ok(())
}

/// The options, in the order in which a form shows them.
pub fn options() -> Vec<Parameter> {
    let modes = [
        ("append", "Append"),
        ("upsert", "Upsert"),
        ("apply-changes", "Apply Changes"),
        ("replace", "Replace"),
    ];
    let growth = [("evolve", "Evolve"), ("ignore", "Ignore"), ("fail", "Fail")];
    vec![
        Parameter::dropdown("mode", "Mode", &modes)
            .default("append")
            .describe("What happens to rows: inserted, put in place of those with the same key, applied as changes, or put in place of the whole table"),
        Parameter::text("table", "Table").describe("Name of the table; the stream's name when empty"),
        Parameter::boolean("create_table", "Create table")
            .default(true)
            .describe("Makes the table when it is missing, with the source's types and key"),
        Parameter::list("key", "Key").describe("Columns of the key; those that the source names when empty"),
        Parameter::dropdown("schema_growth", "Schema growth", &growth)
            .default("evolve")
            .advanced()
            .describe("Whether columns that the table does not have are added, left out, or stop the run"),
        Parameter::dropdown("load", "Load", &[("auto", "Automatic"), ("insert", "Insert")])
            .default("auto")
            .advanced()
            .describe("Whether new rows go by LOAD DATA LOCAL where the server allows it, or always by INSERT"),
        Parameter::structured("statements", "Statements").advanced().describe(
            "List of {on: insert | update | delete | snapshot, statement}: each one statement, run in order for each row \
             instead of the mode's own; `{{column}}` is a value",
        ),
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
        assert_eq!((read.mode, read.create_table, read.load), (WriteMode::Append, true, Load::Auto));
    }

    #[test]
    fn names_that_the_server_refuses_name_their_field() {
        for (config, field) in [
            (Config::new().with("table", "t".repeat(65)), "table"),
            (Config::new().with("table", "t "), "table"),
            (Config::new().with("key", json!(["a", ""])), "key"),
        ] {
            assert_eq!(WriteOptions::read(&config).unwrap_err().field.as_deref(), Some(field));
        }
    }
}
