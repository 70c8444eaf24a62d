use mysql_async::{Conn, Opts, OptsBuilder, Row, Value, prelude::Queryable};
use tokio::{runtime::Runtime, time::timeout};

use std::{sync::Arc, time::Duration};

use super::{
    dialect::{Dialect, Failure, Rows, Session, Store},
    postgres::PostgresStore,
};

/// How long a statement may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A database of MySQL's or MariaDB's.
pub struct MySqlStore {
    opts: Opts,
    runtime: Arc<Runtime>,
}

impl MySqlStore {
    /// The database `name` on the server with this address, made anew.
    ///
    /// # Panics
    /// When the address is none, or the server refuses.
    pub fn create(url: &str, name: &str) -> Self {
        let store = Self::at(url, name);
        let opts = OptsBuilder::from_opts(store.opts.clone()).db_name(None::<String>).into();
        let server = Self { opts, runtime: Arc::clone(&store.runtime) };
        let made = server.open().and_then(|mut session| {
            session.run(&format!("drop database if exists {name}; create database {name}"))
        });
        if let Err(failure) = made {
            panic!("Database `{name}` cannot be made: {failure}");
        }
        store
    }

    /// The database `name` on the server with this address.
    ///
    /// # Panics
    /// When the address is none.
    pub fn at(url: &str, name: &str) -> Self {
        let opts = match Opts::from_url(url) {
            Ok(opts) => opts,
            Err(error) => panic!("`{url}` is no address: {error}"),
        };
        let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
        {
            Ok(runtime) => Arc::new(runtime),
            Err(error) => panic!("There is no runtime: {error}"),
        };
        Self { opts: OptsBuilder::from_opts(opts).db_name(Some(name)).into(), runtime }
    }
}

impl Store for MySqlStore {
    fn open(&self) -> Result<Box<dyn Session>, Failure> {
        let opening = async {
            let mut conn = Conn::new(self.opts.clone()).await?;
            conn.query_drop("set group_concat_max_len = 1073741824, sql_mode = 'STRICT_ALL_TABLES'").await?;
            Ok::<_, mysql_async::Error>(conn)
        };
        match self.runtime.block_on(async { timeout(LIMIT, opening).await }) {
            Ok(Ok(conn)) => Ok(Box::new(MySqlSession { conn, runtime: Arc::clone(&self.runtime) })),
            Ok(Err(error)) => Err(Failure { message: error.to_string(), is_lost: true }),
            Err(_) => Err(Failure { message: "No session came".into(), is_lost: true }),
        }
    }

    fn dialect(&self) -> &dyn Dialect {
        &MySql
    }
}

struct MySqlSession {
    conn: Conn,
    runtime: Arc<Runtime>,
}

impl Session for MySqlSession {
    fn run(&mut self, sql: &str) -> Result<Rows, Failure> {
        let conn = &mut self.conn;
        let query = async {
            let mut last = Vec::new();
            let mut result = conn.query_iter(sql).await?;
            while !result.is_empty() {
                let has_rows = result.columns().is_some_and(|columns| !columns.is_empty());
                let rows: Vec<Row> = result.collect().await?;
                if has_rows {
                    last = rows;
                }
            }
            Ok::<_, mysql_async::Error>(last)
        };
        let rows = match self.runtime.block_on(async { timeout(LIMIT, query).await }) {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => {
                // The server is about to stop, chose this session of two that waited for each other, or has altered a
                // table since its snapshot.
                const LOST: [u16; 6] = [1053, 1213, 1317, 1412, 1927, 4031];
                let is_lost = error.is_fatal()
                    || matches!(&error, mysql_async::Error::Server(answer) if LOST.contains(&answer.code));
                return Err(Failure { message: error.to_string(), is_lost });
            }
            Err(_) => return Err(Failure { message: "No answer came".into(), is_lost: true }),
        };
        let text = |value| match value {
            Value::NULL => None,
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            other => Some(other.as_sql(true)),
        };
        Ok(rows
            .into_iter()
            .map(|row| row.unwrap_raw().into_iter().map(|cell| cell.and_then(text)).collect())
            .collect())
    }
}

struct MySql;

impl Dialect for MySql {
    fn transaction(&self, tx: u64, statements: &str) -> String {
        match tx % 8 {
            0 => format!("xa start '{tx}'; {statements}; xa end '{tx}'; xa prepare '{tx}'; xa commit '{tx}'"),
            4 => format!("xa start '{tx}'; {statements}; xa end '{tx}'; xa commit '{tx}' one phase"),
            _ => format!("begin; {statements}; commit"),
        }
    }

    fn decide(&self, tx: u64) -> Option<String> {
        tx.is_multiple_of(8).then(|| format!("xa commit '{tx}'"))
    }

    fn create_table(&self, name: &str) -> String {
        format!(
            "create table {name} (id bigint primary key, version bigint not null, filling bigint not null, \
             words text, large longtext) character set utf8mb4"
        )
    }

    fn create_ledger(&self, name: &str) -> String {
        format!(
            "create table {name} (tx bigint primary key, state text not null, changes bigint not null) \
             character set utf8mb4"
        )
    }

    fn large_text(&self, number: u64) -> String {
        let parts: Vec<_> = (1..=60).map(|part| format!("sha2('{number}-{part}', 256)")).collect();
        format!("concat({})", parts.join(", "))
    }

    fn begin_snapshot(&self) -> &'static str {
        "start transaction with consistent snapshot, read only"
    }

    fn add_column(&self, table: &str, column: &str) -> String {
        // It ends the transaction that it stands in.
        format!("alter table {table} add column {column} bigint; begin")
    }

    fn drop_column(&self, table: &str, column: &str) -> String {
        format!("alter table {table} drop column {column}; begin")
    }

    fn truncate(&self, table: &str) -> String {
        // TRUNCATE ends the transaction that it stands in.
        format!("delete from {table}")
    }

    fn changes_of_truncate(&self, rows: u64) -> u64 {
        rows
    }

    fn state(&self, table: &str) -> String {
        let product = |of: &str| format!("coalesce(sum(cast(id as decimal(30)) * {of}), 0)");
        format!(
            "select concat_ws(',', count(*), coalesce(sum(id), 0), coalesce(sum(version), 0), {}, {}) from {table}",
            product("version"),
            product("filling")
        )
    }

    fn digest(&self, table: &str, columns: &[String]) -> String {
        // Rows are written as PostgreSQL writes them, so that both can be compared.
        let cells: Vec<_> = columns
            .iter()
            .map(|column| {
                format!(
                    "coalesce(if({column} regexp '^$|[ ,()]', concat('\"', {column}, '\"'), {column}), '')"
                )
            })
            .collect();
        let row = format!("sha2(concat('(', {}, ')'), 256)", cells.join(", ',', "));
        let first = columns.first().map_or("1", String::as_str);
        format!("select count(*), sha2(group_concat({row} order by {first} separator ''), 256) from {table}")
    }

    fn token(&self, pipeline: &str) -> String {
        format!(
            "select token from __hub_commits where pipeline = '{pipeline}' and lane = 0 and token is not null"
        )
    }

    fn exists(&self, table: &str) -> String {
        format!(
            "select 1 from information_schema.tables where table_schema = database() and table_name = '{table}'"
        )
    }
}

/// PostgreSQL beside a source of MySQL's: rows are summed up by the one function that both have.
pub struct PostgresBesideMySql(pub PostgresStore);

impl Store for PostgresBesideMySql {
    fn open(&self) -> Result<Box<dyn Session>, Failure> {
        self.0.open()
    }

    fn dialect(&self) -> &dyn Dialect {
        self
    }
}

impl Dialect for PostgresBesideMySql {
    fn create_table(&self, name: &str) -> String {
        self.0.dialect().create_table(name)
    }

    fn create_ledger(&self, name: &str) -> String {
        self.0.dialect().create_ledger(name)
    }

    fn large_text(&self, number: u64) -> String {
        self.0.dialect().large_text(number)
    }

    fn begin_snapshot(&self) -> &'static str {
        self.0.dialect().begin_snapshot()
    }

    fn add_column(&self, table: &str, column: &str) -> String {
        self.0.dialect().add_column(table, column)
    }

    fn drop_column(&self, table: &str, column: &str) -> String {
        self.0.dialect().drop_column(table, column)
    }

    fn truncate(&self, table: &str) -> String {
        self.0.dialect().truncate(table)
    }

    fn state(&self, table: &str) -> String {
        self.0.dialect().state(table)
    }

    fn digest(&self, table: &str, columns: &[String]) -> String {
        let first = columns.first().map_or("1", String::as_str);
        let sum = |text: &str| format!("encode(sha256(convert_to({text}, 'UTF8')), 'hex')");
        let row = sum(&format!("row({})::text", columns.join(", ")));
        let all = sum(&format!("string_agg({row}, '' order by {first})"));
        format!("select count(*), {all} from {table}")
    }

    fn token(&self, pipeline: &str) -> String {
        self.0.dialect().token(pipeline)
    }

    fn exists(&self, table: &str) -> String {
        self.0.dialect().exists(table)
    }
}
