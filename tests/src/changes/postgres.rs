use tokio::{runtime::Runtime, time::timeout};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use std::{sync::Arc, time::Duration};

use super::dialect::{Dialect, Failure, Rows, Session, Store};

/// How long a statement may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A database of PostgreSQL's.
pub struct PostgresStore {
    config: Config,
    runtime: Arc<Runtime>,
}

impl PostgresStore {
    /// The database `name` on the server with this address.
    ///
    /// # Panics
    /// When the address is none.
    pub fn new(url: &str, name: &str) -> Self {
        let mut config: Config = match url.parse() {
            Ok(config) => config,
            Err(error) => panic!("`{url}` is no address: {error}"),
        };
        config.dbname(name);
        match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
            Ok(runtime) => Self { config, runtime: Arc::new(runtime) },
            Err(error) => panic!("There is no runtime: {error}"),
        }
    }
}

impl Store for PostgresStore {
    fn open(&self) -> Result<Box<dyn Session>, Failure> {
        let connect = async { timeout(LIMIT, self.config.connect(NoTls)).await };
        match self.runtime.block_on(connect) {
            Ok(Ok((client, connection))) => {
                self.runtime.spawn(connection);
                Ok(Box::new(PostgresSession { client, runtime: Arc::clone(&self.runtime) }))
            }
            Ok(Err(error)) => Err(failure(&error, true)),
            Err(_) => Err(Failure { message: "No session came".into(), is_lost: true }),
        }
    }

    fn dialect(&self) -> &dyn Dialect {
        &Postgres
    }
}

struct PostgresSession {
    client: Client,
    runtime: Arc<Runtime>,
}

impl Session for PostgresSession {
    fn run(&mut self, sql: &str) -> Result<Rows, Failure> {
        let query = async { timeout(LIMIT, self.client.simple_query(sql)).await };
        let messages = match self.runtime.block_on(query) {
            Ok(Ok(messages)) => messages,
            Ok(Err(error)) => return Err(failure(&error, self.client.is_closed())),
            Err(_) => return Err(Failure { message: "No answer came".into(), is_lost: true }),
        };
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }
}

fn failure(error: &tokio_postgres::Error, is_closed: bool) -> Failure {
    let code = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
    let message = error.as_db_error().map_or_else(|| error.to_string(), |answer| format!("{code} {answer}"));
    // The server was stopped or is about to, or chose this session of two that waited for each other.
    let is_lost =
        is_closed || error.as_db_error().is_none() || code.starts_with("57P") || code.starts_with("40");
    Failure { message, is_lost }
}

struct Postgres;

impl Dialect for Postgres {
    fn create_table(&self, name: &str) -> String {
        format!(
            "create table {name} (id bigint primary key, version bigint not null, filling bigint not null, \
             words text, large text)"
        )
    }

    fn create_ledger(&self, name: &str) -> String {
        format!("create table {name} (tx bigint primary key, state text not null, changes bigint not null)")
    }

    fn large_text(&self, number: u64) -> String {
        format!("(select string_agg(md5({number} || '-' || i), '') from generate_series(1, 120) i)")
    }

    fn begin_snapshot(&self) -> &'static str {
        "begin isolation level repeatable read read only"
    }

    fn hold(&self, tables: &[String]) -> Option<String> {
        Some(format!("lock table {} in access share mode", tables.join(", ")))
    }

    fn add_column(&self, table: &str, column: &str) -> String {
        format!("alter table {table} add column {column} bigint")
    }

    fn drop_column(&self, table: &str, column: &str) -> String {
        format!("alter table {table} drop column {column}")
    }

    fn truncate(&self, table: &str) -> String {
        format!("truncate {table}")
    }

    fn state(&self, table: &str) -> String {
        format!(
            "select concat_ws(',', count(*), coalesce(sum(id), 0), coalesce(sum(version), 0), \
             coalesce(sum(id::numeric * version), 0), coalesce(sum(id::numeric * filling), 0)) from {table}"
        )
    }

    fn digest(&self, table: &str, columns: &[String]) -> String {
        let columns = columns.join(", ");
        format!(
            "select count(*), md5(string_agg(md5(row({columns})::text), '' order by {first})) from {table}",
            first = columns.split(',').next().unwrap_or("1")
        )
    }

    fn token(&self, pipeline: &str) -> String {
        format!(
            "select token from __hub_commits where pipeline = '{pipeline}' and lane = 0 and token is not null"
        )
    }

    fn exists(&self, table: &str) -> String {
        format!("select 1 where to_regclass('{table}') is not null")
    }
}
