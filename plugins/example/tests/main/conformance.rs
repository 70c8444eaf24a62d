use std::{fmt::Write, fs, sync::Arc};

use connector_example::Ndjson;
use hub_plugin_api::{
    Config, Connector, Error, ErrorKind, Result, Value,
    arrow::{
        array::{Array, AsArray},
        datatypes::Int64Type,
    },
    testing::{self, Broken, Source, Subject, Table},
};
use tempfile::TempDir;

/// A directory whose files are the source's tables.
struct Files(TempDir);

impl Subject for Files {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(Ndjson)
    }

    fn config(&self) -> Config {
        Config::new().with("directory", self.0.path().to_string_lossy())
    }

    fn broken(&self) -> Vec<Broken> {
        let nowhere = self.0.path().join("nowhere");
        let config = Config::new().with("directory", nowhere.to_string_lossy());
        vec![Broken::new("a directory that is not there", config, "access", "directory")]
    }

    fn source(&self, table: &Table) -> Result<Source> {
        let name = format!("{}.ndjson", table.name);
        fs::write(self.0.path().join(&name), ndjson(table)?).map_err(|error| {
            Error::new(ErrorKind::Internal, "The file cannot be written").with_source(&error)
        })?;
        let mut options = Config::new().with("file", name);
        if table.rows.num_rows() == 0 {
            // An empty file does not tell its columns.
            options.set("columns", Value::from(vec!["id:integer", "note:text"]));
        }
        Ok(Source::new("query", options))
    }
}

/// The suite's tables have an `id` and texts.
fn ndjson(table: &Table) -> Result<String> {
    let mut file = String::new();
    for row in 0..table.rows.num_rows() {
        let mut object = serde_json::Map::new();
        for (column, array) in table.columns.iter().zip(table.rows.columns()) {
            let value = match array.as_string_opt::<i32>() {
                _ if array.is_null(row) => Value::Null,
                Some(texts) => texts.value(row).into(),
                None => array.as_primitive::<Int64Type>().value(row).into(),
            };
            object.insert(column.name.clone(), value);
        }
        writeln!(file, "{}", Value::Object(object)).map_err(|error| Error::internal(error.to_string()))?;
    }
    Ok(file)
}

#[test]
fn the_connector_conforms() {
    let subject = Files(tempfile::tempdir().unwrap());
    // It writes nothing and has no password.
    testing::run(subject).assert_except(&[
        "refuses_token_not_next",
        "refuses_commit_after_lane_taken",
        "every_type_row",
        "secrets_never_in_output",
        "rollback_on_drop",
        "rejected_rows",
    ]);
}
