//! The suite that every connector runs.

use std::{collections::BTreeMap, sync::Arc};

use connector_hub::plugins::{PluginFolder, Registry, RegistryOptions};
use connector_postgres::Postgres;
use hub_plugin_api::{
    CommitToken, Config, Connector, Error, ErrorKind, Result, Rows, Statement, StreamId, StreamSchema,
    WriterRequest,
    arrow::array::{Int64Array, RecordBatch},
    json,
    testing::{Broken, Destination, ReadBack, Rejecting, Source, Subject, Suite, Table},
    types::{Column, LogicalType, schema_of},
};
use tokio::runtime::Runtime;

use crate::support::Server;

struct Surroundings {
    server: Server,
    runtime: Runtime,
    schema: String,
}

impl Surroundings {
    fn new(name: &str) -> Self {
        let schema = format!("suite_{name}_{}", std::process::id());
        let (server, runtime) = (Server::get(), Runtime::new().unwrap());
        runtime
            .block_on(server.run(&format!("drop schema if exists {schema} cascade; create schema {schema}")));
        Self { server, runtime, schema }
    }

    fn qualified(&self, name: &str) -> String {
        format!("{}.\"{}\"", self.schema, name.replace('"', "\"\""))
    }

    fn drop_table(&self, name: &str) {
        self.runtime
            .block_on(self.server.run(&format!("drop table if exists {} cascade", self.qualified(name))));
    }

    /// Fills a table through the connector's own writer.
    async fn fill(&self, table: &Table) -> Result<()> {
        let connection = self.server.connection().await;
        let options = Config::new().with("schema", self.schema.clone()).with("table", table.name.clone());
        let request = WriterRequest {
            pipeline: format!("fill {}", table.name),
            lane: 0,
            generation: 1,
            run: 1,
            strategy: "write".into(),
            options,
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
        Arc::new(Postgres)
    }

    fn config(&self) -> Config {
        self.server.config.clone()
    }

    fn secrets(&self) -> Vec<(String, String)> {
        self.server.password.iter().map(|password| ("password".into(), password.clone())).collect()
    }

    fn broken(&self) -> Vec<Broken> {
        let with = |id: &str, value: hub_plugin_api::Value| {
            let mut config = self.server.config.clone();
            config.set(id, value);
            config
        };
        let password = self.server.password.clone().unwrap_or_default();
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
        let statement = format!("select * from {}", self.qualified(&table.name));
        let options = Config::new().with("statement", statement).with("cursor", json!(["id"]));
        Ok(Source::new("query", options))
    }

    fn blocked_source(&self) -> Result<Source> {
        Ok(Source::new("query", Config::new().with("statement", "select pg_sleep(30) as slept")))
    }

    fn destination(&self, table: &Table) -> Result<Destination> {
        let name = format!("{} to", table.name);
        self.drop_table(&name);
        let options = Config::new().with("schema", self.schema.clone()).with("table", name);
        Ok(Destination::new("write", options, StreamId::named(&table.name)))
    }

    fn read_back(&self, table: &Table) -> Result<ReadBack> {
        let statement = format!("select * from {}", self.qualified(&format!("{} to", table.name)));
        Ok(ReadBack::Query(Statement::Text(statement)))
    }

    fn rejecting(&self) -> Result<Rejecting> {
        let columns = vec![Column::new("id", LogicalType::Int64).not_null().key(0)];
        let rows =
            RecordBatch::try_new(schema_of(&columns), vec![Arc::new(Int64Array::from_iter_values(0..10))])?;
        let table = Table { name: "picky".into(), columns, rows };
        let destination = self.destination(&table)?;
        let create = format!(
            "create table {} (id bigint primary key, check (id % 4 <> 3))",
            self.qualified("picky to")
        );
        self.runtime.block_on(self.server.run(&create));
        Ok(Rejecting { table, destination, refused: vec![3, 7] })
    }
}

#[test]
fn conforms() {
    Suite::new(Surroundings::new("linked")).run().assert();
}

#[test]
fn conforms_as_a_loaded_library() {
    let plugins = std::env::var_os("HUB_TEST_PLUGINS").expect("run `cargo xtask test`");
    let cache = tempfile::tempdir().unwrap();
    let folder = PluginFolder::given(std::path::Path::new(&plugins));
    let registry = Registry::open(RegistryOptions::new(vec![folder], cache.path().join("cache")));
    let loaded = registry.find("postgres").unwrap();
    Suite::new(Surroundings::new("loaded")).loaded(Arc::clone(&loaded.connector)).run().assert();
}
