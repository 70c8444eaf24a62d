use std::sync::Arc;

use connector_sqlite::Sqlite;
use hub_plugin_api::{
    Config, Connector, Error, ErrorKind, Result, Statement, StreamId,
    arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray},
    arrow::datatypes::Int64Type,
    json,
    testing::{Broken, Destination, ReadBack, Rejecting, Source, Subject, Table, run},
    types::{Column, LogicalType, schema_of},
};

/// One file, read and written.
struct OneFile(tempfile::TempDir);

impl OneFile {
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn sql(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.path("a.db")).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        connection
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The destination's table: the source's of the same name lies in the same file.
fn written(name: &str) -> String {
    format!("written {name}")
}

const REJECTING: &str = "hub_rejecting";

fn failed(error: rusqlite::Error) -> Error {
    Error::new(ErrorKind::Internal, "The table could not be made").with_source(&error)
}

impl Subject for OneFile {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(Sqlite)
    }

    fn config(&self) -> Config {
        Config::new().with("file", self.path("a.db")).with("busy_timeout_ms", 5000)
    }

    fn broken(&self) -> Vec<Broken> {
        std::fs::write(
            self.path("text.db"),
            "This is no database, but a text that is longer than its header.".repeat(20),
        )
        .unwrap();
        vec![
            Broken::new("a text file", Config::new().with("file", self.path("text.db")), "access", "file"),
            Broken::new("no file", Config::new().with("file", self.path("none.db")), "access", "file"),
            Broken::new("a directory", Config::new().with("file", self.path(".")), "access", "file"),
            Broken::new("no path", Config::new().with("file", ":memory:"), "access", "file"),
        ]
    }

    fn source(&self, table: &Table) -> Result<Source> {
        let connection = self.sql();
        let definitions: Vec<_> = table
            .columns
            .iter()
            .map(|column| {
                let declared = if column.logical == LogicalType::Int64 { "INTEGER" } else { "TEXT" };
                let key = if column.key.is_some() { " PRIMARY KEY" } else { "" };
                format!("{} {declared}{key}", quoted(&column.name))
            })
            .collect();
        let name = quoted(&table.name);
        let script =
            format!("DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({}); BEGIN", definitions.join(", "));
        connection.execute_batch(&script).map_err(failed)?;
        let marks = vec!["?"; definitions.len()].join(", ");
        let mut insert =
            connection.prepare(&format!("INSERT INTO {name} VALUES ({marks})")).map_err(failed)?;
        for row in 0..table.rows.num_rows() {
            for (index, array) in table.rows.columns().iter().enumerate() {
                let value = match array.as_primitive_opt::<Int64Type>() {
                    Some(numbers) => rusqlite::types::Value::Integer(numbers.value(row)),
                    None if array.is_null(row) => rusqlite::types::Value::Null,
                    None => rusqlite::types::Value::Text(array.as_string::<i32>().value(row).into()),
                };
                insert.raw_bind_parameter(index + 1, value).map_err(failed)?;
            }
            insert.raw_execute().map_err(failed)?;
        }
        connection.execute_batch("COMMIT").map_err(failed)?;
        let options = Config::new().with("table", table.name.as_str()).with("cursor", json!(["id"]));
        Ok(Source::new("query", options))
    }

    fn blocked_source(&self) -> Result<Source> {
        let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) \
            select cast(i as integer) as i from n where i < 0";
        Ok(Source::new("query", Config::new().with("statement", endless))
            .without_positions("it never answers"))
    }

    fn destination(&self, table: &Table) -> Result<Destination> {
        let name = written(&table.name);
        self.sql().execute(&format!("DROP TABLE IF EXISTS {}", quoted(&name)), []).map_err(failed)?;
        let options = Config::new().with("mode", "append").with("table", name);
        Ok(Destination::new("write", options, StreamId::named(&table.name)))
    }

    fn read_back(&self, table: &Table) -> Result<ReadBack> {
        let name = if table.name == REJECTING { REJECTING.to_owned() } else { written(&table.name) };
        // What was rolled back took its table with it.
        let count: i64 = self
            .sql()
            .query_row("SELECT count(*) FROM sqlite_schema WHERE name = ?1", [&name], |row| row.get(0))
            .map_err(failed)?;
        match count {
            0 => Ok(ReadBack::Rows(Vec::new())),
            _ => Ok(ReadBack::Query(Statement::Text(format!("SELECT * FROM {}", quoted(&name))))),
        }
    }

    fn rejecting(&self) -> Result<Rejecting> {
        let columns = vec![
            Column::new("id", LogicalType::Int64).not_null().key(0),
            Column::new("note", LogicalType::Text),
        ];
        let ids: ArrayRef = Arc::new(hub_plugin_api::arrow::array::Int64Array::from(vec![0, 1, 2, 1, 3]));
        let notes: ArrayRef =
            Arc::new(StringArray::from(vec![Some("a"), Some("b"), None, Some("twice"), Some("long")]));
        let rows = RecordBatch::try_new(schema_of(&columns), vec![ids, notes])?;
        let table = Table { name: REJECTING.into(), columns, rows };
        self.sql()
            .execute_batch(
                "drop table if exists hub_rejecting; \
                 create table hub_rejecting (id integer primary key, note text check (note <> 'long'))",
            )
            .map_err(failed)?;
        let destination =
            Destination::new("write", Config::new().with("mode", "append"), StreamId::named(REJECTING));
        Ok(Rejecting { table, destination, refused: vec![3, 4] })
    }
}

#[test]
fn keeps_every_rule_of_the_contract() {
    run(OneFile(tempfile::tempdir().unwrap())).assert();
}
