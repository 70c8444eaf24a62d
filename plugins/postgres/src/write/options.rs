//! The options of the strategy: as a form shows them, and as the code uses them.

use hub_plugin_api::{Config, Error, Parameter, Result, StreamId, WriteMode};
use serde::Deserialize;

/// What happens when a stream brings columns that the table does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SchemaGrowth {
    /// The table gets them, and columns that became wider are widened.
    #[default]
    Evolve,
    /// They are left out.
    Ignore,
    /// The run stops.
    Fail,
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
    #[serde(default = "public")]
    pub schema: String,
    #[serde(default)]
    pub source_schemas: bool,
    #[serde(default = "yes")]
    pub create_table: bool,
    #[serde(default)]
    pub key: Vec<String>,
    #[serde(default)]
    pub schema_growth: SchemaGrowth,
    #[serde(default)]
    pub statements: Vec<TemplateOption>,
    #[serde(default)]
    pub commit_schema: Option<String>,
}

fn public() -> String {
    "public".into()
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
        options.commit_schema.take_if(|schema| schema.is_empty());
        for (field, names) in [
            ("table", options.table.as_slice()),
            ("schema", std::slice::from_ref(&options.schema)),
            ("commit_schema", options.commit_schema.as_slice()),
            ("key", options.key.as_slice()),
        ] {
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
        if options.source_schemas && options.mode == WriteMode::Replace {
            return Err(Error::config(
                "source_schemas",
                "Mode `replace` has one schema, and `source_schemas` many",
            ));
        }
        Ok(options)
    }

    /// The schema of a stream's table.
    pub(super) fn schema_of<'a>(&'a self, stream: &'a StreamId) -> &'a str {
        stream.namespace.last().filter(|_| self.source_schemas).unwrap_or(&self.schema)
    }

    /// The name of a stream's table.
    pub(super) fn table_of<'a>(&'a self, stream: &'a StreamId) -> &'a str {
        self.table.as_deref().unwrap_or(&stream.name)
    }

    /// The schema of the table of tokens.
    pub(super) fn commit_schema(&self) -> &str {
        self.commit_schema.as_deref().unwrap_or(&self.schema)
    }
}

/// The server cuts longer names without a word, and then two of them may be one.
pub(super) fn check_name(field: &str, name: &str) -> Result<()> {
    const MAX_NAME_BYTES: usize = 63;
    if name.is_empty() || name.contains('\0') {
        return Err(Error::config(
            field,
            format!("`{field}` holds a name that is empty or has a NUL character"),
        ));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(Error::config(field, format!("Name `{name}` has more than {MAX_NAME_BYTES} bytes")));
    }
    Ok(())
}

/// The options, in the order in which a form shows them.
pub(crate) fn options() -> Vec<Parameter> {
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
        Parameter::text("schema", "Schema").default("public").describe("Schema of the table"),
        Parameter::boolean("source_schemas", "Schemas of the source").default(false).describe(
            "Puts each table into a schema named as its schema or database at the source, which is made when missing; \
             `schema` is then for what has none",
        ),
        Parameter::boolean("create_table", "Create table")
            .default(true)
            .describe("Makes the table when it is missing, with the source's types and key"),
        Parameter::list("key", "Key").describe("Columns of the key; those that the source names when empty"),
        Parameter::dropdown("schema_growth", "Schema growth", &growth)
            .default("evolve")
            .advanced()
            .describe("Whether columns that the table does not have are added, left out, or stop the run"),
        Parameter::structured("statements", "Statements").advanced().describe(
            "List of {on: insert | update | delete | snapshot, statement}: each one statement, run in order for each row \
             instead of the mode's own; `{{column}}` is a bound value",
        ),
        Parameter::text("commit_schema", "Commit schema")
            .advanced()
            .describe("Schema of the table `__hub_commits`; the table's own when empty"),
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
        assert_eq!((read.mode, read.schema.as_str(), read.create_table), (WriteMode::Append, "public", true));
    }

    #[test]
    fn names_that_the_server_would_cut_name_their_field() {
        for (config, field) in [
            (Config::new().with("table", "t".repeat(64)), "table"),
            (Config::new().with("key", json!(["a", ""])), "key"),
            (Config::new().with("schema", "a\0"), "schema"),
        ] {
            assert_eq!(WriteOptions::read(&config).unwrap_err().field.as_deref(), Some(field));
        }
    }
}
