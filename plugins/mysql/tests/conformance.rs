//! The suite that every connector runs, on every server.

use std::{collections::BTreeMap, sync::Arc};

use connector_hub::plugins::{PluginFolder, Registry, RegistryOptions};
use hub_plugin_api::{
    CommitToken, Config, Connector, Error, ErrorKind, Result, Rows, Statement, StreamId, StreamSchema,
    WriterRequest,
    arrow::array::{Int64Array, RecordBatch},
    json,
    testing::{Broken, Destination, ReadBack, Rejecting, Source, Subject, Suite, Table},
    types::{Column, LogicalType, schema_of},
};
use tokio::runtime::Runtime;

use crate::support::{Server, Which};

struct Surroundings {
    server: Server,
    runtime: Runtime,
}

impl Surroundings {
    fn new(which: Which, name: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(Server::new(which, &format!("suite_{name}")));
        Self { server, runtime }
    }

    fn quoted(name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    fn drop_table(&self, name: &str) {
        self.runtime.block_on(self.server.run(&[&format!("DROP TABLE IF EXISTS {}", Self::quoted(name))]));
    }

    /// Fills a table through the connector's own writer.
    async fn fill(&self, table: &Table) -> Result<()> {
        let connection = self.server.connection().await;
        let request = WriterRequest {
            pipeline: format!("fill {}", table.name),
            lane: 0,
            generation: 1,
            run: 1,
            strategy: "write".into(),
            options: Config::new().with("table", table.name.clone()),
        };
        let mut writer = connection.writer(&request).await?;
        let (stream, last) = (StreamId::named(&table.name), writer.start().last);
        writer.schema(&StreamSchema::new(stream.clone(), 0, table.rows.schema())).await?;
        if table.rows.num_rows() > 0 {
            writer.write(Rows { stream, schema_id: 0, batch: table.rows.clone() }).await?;
        }
        if let Some(refused) = writer.flush().await?.rejected.first() {
            return Err(Error::new(ErrorKind::InvalidData, refused.reason.clone()));
        }
        let token = CommitToken {
            pipeline: request.pipeline,
            lane: 0,
            generation: 1,
            run: 1,
            n: CommitToken::next_n(last.as_ref(), 1),
            splits: BTreeMap::new(),
            applied_seq: None,
        };
        writer.commit(&token).await
    }
}

impl Subject for Surroundings {
    fn connector(&self) -> Arc<dyn Connector> {
        self.server.which.connector()
    }

    fn config(&self) -> Config {
        self.server.config.clone()
    }

    fn secrets(&self) -> Vec<(String, String)> {
        vec![("password".into(), self.server.password.clone())]
    }

    fn broken(&self) -> Vec<Broken> {
        let with = |id: &str, value: hub_plugin_api::Value| {
            let mut config = self.server.config.clone();
            config.set(id, value);
            config
        };
        let password = self.server.password.clone();
        vec![
            Broken::new("an unknown host", with("host", json!("nowhere.invalid")), "network", "host")
                .with_secret("password", password.clone()),
            Broken::new("a closed port", with("port", json!(1)), "network", "port")
                .with_secret("password", password.clone()),
            Broken::new("a wrong password", self.server.config.clone(), "authentication", "password")
                .with_secret("password", "not this one"),
            Broken::new(
                "a database that is not there",
                with("database", json!("none")),
                "access",
                "database",
            )
            .with_secret("password", password),
        ]
    }

    fn source(&self, table: &Table) -> Result<Source> {
        self.drop_table(&table.name);
        self.runtime.block_on(self.fill(table))?;
        let statement = format!("select * from {}", Self::quoted(&table.name));
        let options = Config::new().with("statement", statement).with("cursor", json!(["id"]));
        Ok(Source::new("query", options))
    }

    fn blocked_source(&self) -> Result<Source> {
        Ok(Source::new("query", Config::new().with("statement", "select sleep(30) as slept")))
    }

    fn destination(&self, table: &Table) -> Result<Destination> {
        let name = format!("{} to", table.name);
        self.drop_table(&name);
        let options = Config::new().with("table", name);
        Ok(Destination::new("write", options, StreamId::named(&table.name)))
    }

    fn read_back(&self, table: &Table) -> Result<ReadBack> {
        // Columns that are read as another meaning than they were written with are compared as the server's own text.
        let column = |column: &Column| {
            let name = Self::quoted(&column.name);
            match column.logical {
                LogicalType::Boolean | LogicalType::Time(_) | LogicalType::Timestamp { utc: true, .. } => {
                    format!("cast({name} as char) as {name}")
                }
                _ => name,
            }
        };
        let columns: Vec<_> = table.columns.iter().map(column).collect();
        let from = Self::quoted(&format!("{} to", table.name));
        let statement = format!("select {} from {from}", columns.join(", "));
        Ok(ReadBack::Query(Statement::Text(statement)))
    }

    fn rejecting(&self) -> Result<Rejecting> {
        let columns = vec![Column::new("id", LogicalType::Int64).not_null().key(0)];
        let rows =
            RecordBatch::try_new(schema_of(&columns), vec![Arc::new(Int64Array::from_iter_values(0..10))])?;
        let table = Table { name: "picky".into(), columns, rows };
        let destination = self.destination(&table)?;
        let create = "CREATE TABLE `picky to` (id bigint PRIMARY KEY, CHECK (id % 4 <> 3))";
        self.runtime.block_on(self.server.run(&[create]));
        Ok(Rejecting { table, destination, refused: vec![3, 7] })
    }
}

fn linked(which: Which) {
    Suite::new(Surroundings::new(which, "linked")).run().assert();
}

/// The same calls through the library, as the host opens it.
fn loaded(which: Which, name: &str) {
    let plugins = std::env::var_os("HUB_TEST_PLUGINS").expect("run `cargo xtask test`");
    let cache = tempfile::tempdir().unwrap();
    let folder = PluginFolder::given(std::path::Path::new(&plugins));
    let registry = Registry::open(RegistryOptions::new(vec![folder], cache.path().join("cache")));
    let loaded = registry.find(name).unwrap();
    Suite::new(Surroundings::new(which, "loaded")).loaded(Arc::clone(&loaded.connector)).run().assert();
}

#[test]
fn mysql_conforms() {
    linked(Which::MySql);
}

#[test]
fn mariadb_conforms() {
    linked(Which::MariaDb);
}

#[test]
fn a_newer_mariadb_conforms() {
    linked(Which::NewMariaDb);
}

#[test]
fn mysql_conforms_as_a_loaded_library() {
    loaded(Which::MySql, "mysql");
}

#[test]
fn mariadb_conforms_as_a_loaded_library() {
    loaded(Which::MariaDb, "mariadb");
}
