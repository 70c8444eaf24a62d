use std::{env, future::Future, time::Duration};

use serde_json::{Value, json};
use tokio::{runtime::Runtime, time::timeout};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, config::Host};

/// A database of a test's own on the launched server; dropped with it.
pub struct Database {
    name: String,
    client: Client,
    config: Config,
    runtime: Runtime,
    /// It goes with this.
    is_own: bool,
}

/// How long a statement of a test may take.
const LIMIT: Duration = Duration::from_secs(300);

impl Database {
    /// Makes it; nothing where there is no server.
    ///
    /// # Panics
    /// When there is one and it refuses.
    pub fn create(purpose: &str) -> Option<Self> {
        Some(Self::create_at(&env::var("HUB_TEST_POSTGRES_URL").ok()?, purpose))
    }

    /// Makes it on the server of version 18; nothing where there is none.
    ///
    /// # Panics
    /// When there is one and it refuses.
    pub fn create_on_18(purpose: &str) -> Option<Self> {
        Some(Self::create_at(&env::var("HUB_TEST_POSTGRES_18_URL").ok()?, purpose))
    }

    /// Makes it on the server with this address, for a role that may do everything.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn create_at(url: &str, purpose: &str) -> Self {
        let mut config: Config = match url.parse() {
            Ok(config) => config,
            Err(error) => panic!("`{url}` is no address: {error}"),
        };
        let name = format!("hub_{purpose}_{}", std::process::id());
        let runtime = runtime();
        let admin = connect(&runtime, &config);
        wait(&runtime, admin.batch_execute(&format!("drop database if exists {name} with (force)")));
        wait(&runtime, admin.batch_execute(&format!("create database {name}")));
        config.dbname(&name);
        let client = connect(&runtime, &config);
        Self { name, client, config, runtime, is_own: true }
    }

    /// One that is there, such as a standby's; it stays when this is dropped.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn at(url: &str, name: &str) -> Self {
        let mut config: Config = match url.parse() {
            Ok(config) => config,
            Err(error) => panic!("`{url}` is no address: {error}"),
        };
        config.dbname(name);
        let runtime = runtime();
        let client = connect(&runtime, &config);
        Self { name: name.to_owned(), client, config, runtime, is_own: false }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A session beside the database's own, for transactions that stay open.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn session(&self) -> DatabaseSession<'_> {
        DatabaseSession { client: connect(&self.runtime, &self.config), runtime: &self.runtime }
    }

    /// As a pipeline file's `config`; the program finds the password in its environment.
    pub fn config(&self) -> Value {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.to_string_lossy().into_owned(),
            None => "localhost".into(),
        };
        json!({
            "host": host,
            "port": self.config.get_ports().first().copied().unwrap_or(5432),
            "username": self.config.get_user(),
            "database": self.name,
            "password": "${env:HUB_E2E_PASSWORD}",
        })
    }

    /// Runs statements.
    ///
    /// # Panics
    /// When one fails.
    #[track_caller]
    pub fn execute(&self, sql: &str) {
        wait(&self.runtime, self.client.batch_execute(sql));
    }

    /// Runs statements in the server's database `postgres`.
    ///
    /// # Panics
    /// When one fails.
    #[track_caller]
    pub fn in_postgres(&self, sql: &str) {
        let mut config = self.config.clone();
        config.dbname("postgres");
        let client = connect(&self.runtime, &config);
        wait(&self.runtime, client.batch_execute(sql));
    }

    /// All rows of a query, every value as text.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let messages = wait(&self.runtime, self.client.simple_query(sql));
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect())
            }
            _ => None,
        });
        rows.collect()
    }

    /// The only row of a query, without nulls.
    ///
    /// # Panics
    /// When it is another number of rows, or a value is null.
    #[track_caller]
    pub fn row(&self, sql: &str) -> Vec<String> {
        let rows = self.rows(sql);
        let row = match rows.as_slice() {
            [row] => row.iter().cloned().collect::<Option<Vec<String>>>(),
            _ => None,
        };
        row.unwrap_or_else(|| panic!("Not one row without nulls: {rows:?}\n{sql}"))
    }

    /// A number.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn number(&self, sql: &str) -> u64 {
        let row = self.row(sql);
        row[0].parse().unwrap_or_else(|_| panic!("`{}` is no number", row[0]))
    }

    /// The rows of a table; 0 while there is none.
    pub fn count(&self, table: &str) -> u64 {
        let exists = self.rows(&format!("select 1 where to_regclass('{table}') is not null"));
        if exists.is_empty() { 0 } else { self.number(&format!("select count(*) from {table}")) }
    }

    /// How many rows of the one table are not in the other, both ways, duplicates counted.
    pub fn differences(&self, left: &str, right: &str) -> u64 {
        self.number(&format!(
            "select (select count(*) from (table {left} except all table {right}) a)
                  + (select count(*) from (table {right} except all table {left}) b)"
        ))
    }

    /// Loads CSV without a header.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn copy_csv(&self, table: &str, csv: &[u8]) {
        let copy = async {
            let sink = self.client.copy_in(&format!("copy {table} from stdin with (format csv)")).await?;
            let mut sink = std::pin::pin!(sink);
            for part in csv.chunks(1 << 20) {
                let part = bytes::Bytes::copy_from_slice(part);
                futures_util::SinkExt::send(&mut sink, part).await?;
            }
            sink.as_mut().finish().await
        };
        wait(&self.runtime, copy);
    }
}

/// One more session on a database; what it has not committed goes with it.
pub struct DatabaseSession<'a> {
    client: Client,
    runtime: &'a Runtime,
}

impl DatabaseSession<'_> {
    /// Runs statements.
    ///
    /// # Panics
    /// When one fails.
    #[track_caller]
    pub fn execute(&self, sql: &str) {
        wait(self.runtime, self.client.batch_execute(sql));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !self.is_own {
            return;
        }
        let mut config = self.config.clone();
        config.dbname("postgres");
        let (runtime, name) = (&self.runtime, &self.name);
        // A test that fails is no reason to panic again.
        let dropped = runtime.block_on(async {
            let drop_it = async {
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(connection);
                client.batch_execute(&format!("drop database {name} with (force)")).await
            };
            timeout(LIMIT, drop_it).await
        });
        if !matches!(dropped, Ok(Ok(()))) {
            eprintln!("warning: The database `{name}` was not dropped: {dropped:?}");
        }
    }
}

/// The password in `HUB_TEST_POSTGRES_URL`.
pub(crate) fn password() -> Option<String> {
    let config: Config = env::var("HUB_TEST_POSTGRES_URL").ok()?.parse().ok()?;
    Some(String::from_utf8_lossy(config.get_password()?).into_owned())
}

fn runtime() -> Runtime {
    match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("There is no runtime: {error}"),
    }
}

fn connect(runtime: &Runtime, config: &Config) -> Client {
    let (client, connection) = wait(runtime, config.connect(NoTls));
    runtime.spawn(connection);
    client
}

#[track_caller]
fn wait<T>(runtime: &Runtime, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> T {
    match runtime.block_on(async { timeout(LIMIT, work).await }) {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => match error.as_db_error() {
            Some(db) => panic!("PostgreSQL refuses: {} {db}", db.code().code()),
            None => panic!("PostgreSQL: {error}"),
        },
        Err(_) => panic!("PostgreSQL does not answer"),
    }
}
