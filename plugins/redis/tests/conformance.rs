//! The suite that every connector runs.

use std::{collections::BTreeMap, sync::Arc};

use connector_hub::plugins::{PluginFolder, Registry, RegistryOptions};
use connector_redis::Redis;
use hub_plugin_api::{
    CommitToken, Config, Connector, Error, ErrorKind, Result, Rows, StreamId, StreamSchema, WriterRequest,
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
}

impl Surroundings {
    fn new(database: u8) -> Self {
        let (server, runtime) = (Server::get().database(database), Runtime::new().unwrap());
        runtime.block_on(async {
            let mut client = server.client().await;
            redis::cmd("FLUSHDB").exec_async(&mut client).await.unwrap();
        });
        Self { server, runtime }
    }

    fn remove(&self, prefix: &str) {
        self.runtime.block_on(async {
            let mut client = self.server.client().await;
            let mut cursor = 0_u64;
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(pattern(prefix)).arg("COUNT").arg(1000);
                let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut client).await.unwrap();
                if !keys.is_empty() {
                    redis::cmd("DEL").arg(keys).exec_async(&mut client).await.unwrap();
                }
                cursor = next;
                if cursor == 0 {
                    return;
                }
            }
        });
    }

    /// Fills hashes through the connector's own writer.
    async fn fill(&self, table: &Table) -> Result<()> {
        let connection = self.server.connection().await;
        let request = WriterRequest {
            pipeline: format!("fill {}", table.name),
            lane: 0,
            generation: 1,
            run: 1,
            strategy: "write".into(),
            options: Config::new().with("key_prefix", "from:"),
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

    /// Reads the hashes below a prefix, each column as its own type where By Keys has it, and as text otherwise.
    fn read(&self, prefix: &str, table: &Table) -> Source {
        let fields: Vec<_> = table
            .columns
            .iter()
            .map(|column| {
                let field = match column.logical {
                    LogicalType::Int64 => "int64",
                    LogicalType::Boolean => "boolean",
                    LogicalType::Float64 => "float64",
                    LogicalType::Binary => "binary",
                    LogicalType::Json => "json",
                    // Bytes that no text can be.
                    LogicalType::FixedBinary(_)
                    | LogicalType::Geometry
                    | LogicalType::Opaque { binary: true, .. } => "binary",
                    _ => "text",
                };
                json!({ "name": column.name, "type": field })
            })
            .collect();
        let options = Config::new()
            .with("patterns", json!([pattern(prefix)]))
            .with("shape", "fields")
            .with("key_column", "")
            .with("ttl", false)
            .with("fields", fields);
        Source::new("keys", options)
    }
}

/// A pattern of all keys with a prefix, none of whose characters means anything else.
fn pattern(prefix: &str) -> String {
    let mut pattern = String::new();
    for character in prefix.chars() {
        if "*?[]^-\\".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern + "*"
}

impl Subject for Surroundings {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(Redis)
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
            Broken::new("no password", self.server.config.clone(), "authentication", "password"),
            Broken::new("TLS where there is none", with("tls_mode", json!("require")), "tls", "tls_mode")
                .with_secret("password", password),
        ]
    }

    fn source(&self, table: &Table) -> Result<Source> {
        let prefix = format!("from:{}:", table.name);
        self.remove(&prefix);
        self.runtime.block_on(self.fill(table))?;
        Ok(self.read(&prefix, table))
    }

    fn blocked_source(&self) -> Result<Source> {
        Ok(Source::new("streams", Config::new().with("streams", json!(["nothing comes here"]))))
    }

    fn destination(&self, table: &Table) -> Result<Destination> {
        self.remove(&format!("to:{}:", table.name));
        Ok(Destination::new("write", Config::new().with("key_prefix", "to:"), StreamId::named(&table.name)))
    }

    fn read_back(&self, table: &Table) -> Result<ReadBack> {
        Ok(ReadBack::Source(self.read(&format!("to:{}:", table.name), table)))
    }

    fn rejecting(&self) -> Result<Rejecting> {
        let columns = vec![Column::new("id", LogicalType::Int64).not_null().key(0)];
        let rows =
            RecordBatch::try_new(schema_of(&columns), vec![Arc::new(Int64Array::from_iter_values(0..10))])?;
        let table = Table { name: "picky".into(), columns, rows };
        let destination = self.destination(&table)?;
        // Where a list is, no hash can be written.
        self.runtime.block_on(async {
            let mut client = self.server.client().await;
            for id in [3, 7] {
                redis::cmd("RPUSH")
                    .arg(format!("to:picky:{id}"))
                    .arg("x")
                    .exec_async(&mut client)
                    .await
                    .unwrap();
            }
        });
        Ok(Rejecting { table, destination, refused: vec![3, 7] })
    }
}

#[test]
fn conforms() {
    Suite::new(Surroundings::new(1)).run().assert();
}

#[test]
fn conforms_as_a_loaded_library() {
    let plugins = std::env::var_os("HUB_TEST_PLUGINS").expect("run `cargo xtask test`");
    let cache = tempfile::tempdir().unwrap();
    let folder = PluginFolder::given(std::path::Path::new(&plugins));
    let registry = Registry::open(RegistryOptions::new(vec![folder], cache.path().join("cache")));
    let loaded = registry.find("redis").unwrap();
    Suite::new(Surroundings::new(2)).loaded(Arc::clone(&loaded.connector)).run().assert();
}
