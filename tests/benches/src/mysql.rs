use std::{
    env,
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use connector_hub::plugins::{PluginFolder, Registry, RegistryOptions};
use hub_plugin_api::{
    CommitToken, Config, Connection, Connector, Event, OpenRequest, PlanRequest, Rows, StreamSchema,
    WriterRequest,
    arrow::{
        array::{AsArray, RecordBatch},
        ipc::{reader::StreamReader, writer::StreamWriter},
    },
    testing::TestContext,
};
use hub_tests::PeakMemory;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    Outcome,
    rounds::{Ours, Plan, Result, compare},
    server::{ROWS, Server},
};

const STATEMENT: &str = "select * from lineitem";

/// The types that `lineitem` has in both vendors' servers.
const COLUMNS: &str = "l_orderkey bigint NOT NULL, l_partkey int NOT NULL, l_suppkey int NOT NULL,
    l_linenumber int NOT NULL, l_quantity decimal(15,2) NOT NULL, l_extendedprice decimal(15,2) NOT NULL,
    l_discount decimal(15,2) NOT NULL, l_tax decimal(15,2) NOT NULL, l_returnflag varchar(1) NOT NULL,
    l_linestatus varchar(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL,
    l_receiptdate date NOT NULL, l_shipinstruct varchar(25) NOT NULL, l_shipmode varchar(10) NOT NULL,
    l_comment varchar(44) NOT NULL, PRIMARY KEY (l_orderkey, l_linenumber)";

/// A launched server, through its own vendor's client.
struct Vendor {
    connector: &'static str,
    client: PathBuf,
    /// Host, port, user, password and database.
    address: [String; 5],
}

impl Vendor {
    fn get(connector: &'static str) -> Outcome<Self> {
        let name = connector.to_uppercase();
        let missing = "There is no server: run `cargo xtask bench`";
        let url = env::var(format!("HUB_TEST_{name}_URL")).map_err(|_| missing)?;
        let programs = env::var_os(format!("HUB_TEST_{name}_BIN")).ok_or(missing)?;
        let parts = || {
            let (login, place) = url.split_once("://")?.1.rsplit_once('@')?;
            let (user, password) = login.split_once(':')?;
            let (host, database) = place.split_once('/')?;
            let (host, port) = host.rsplit_once(':')?;
            Some([host, port, user, password, database].map(str::to_owned))
        };
        let address =
            parts().ok_or("The server's address is not `mysql://user:password@host:port/database`")?;
        let vendor = Self { connector, client: PathBuf::from(programs).join(connector), address };
        let version = Command::new(&vendor.client).arg("--version").output()?.stdout;
        let version = String::from_utf8_lossy(&version).trim().to_owned();
        // The distribution's `mysql` is MariaDB's.
        if version.contains("MariaDB") != (connector == "mariadb") {
            return Err(format!("`{version}` is not the client of {connector}").into());
        }
        println!("reference: {version}");
        Ok(vendor)
    }

    fn client(&self, statement: &str) -> Command {
        let [host, port, user, password, database] = &self.address;
        let mut command = Command::new(&self.client);
        command.args(["--no-defaults", "--batch", "--quick", "--skip-column-names", "--local-infile=1"]);
        command.arg(format!("--host={host}")).arg(format!("--port={port}")).arg(format!("--user={user}"));
        command.arg(format!("--database={database}")).args(["--execute", statement]);
        command.env("MYSQL_PWD", password).stdin(Stdio::null());
        command
    }

    fn ask(&self, statement: &str) -> Outcome<String> {
        let output = self.client(statement).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("The client refuses: {statement}").into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Makes `lineitem` unless it is there.
    fn make_lineitem(&self) -> Outcome {
        if !self.ask("show tables like 'lineitem'")?.is_empty() {
            return Ok(());
        }
        self.ask(&format!("create table lineitem ({COLUMNS})"))?;
        let data = env::var_os("HUB_TEST_DATA").ok_or("There is no generator: run `cargo xtask bench`")?;
        let rows = ROWS.to_string();
        let mut generator =
            Command::new(data).args(["--rows", &rows, "--csv"]).stdout(Stdio::piped()).spawn()?;
        let load = "load data local infile '/dev/stdin' into table lineitem
            fields terminated by ',' optionally enclosed by '\"'";
        let loaded = self
            .client(load)
            .stdin(generator.stdout.take().ok_or("The generator has no output")?)
            .status()?;
        if !generator.wait()?.success() || !loaded.success() {
            return Err("The table was not loaded".into());
        }
        self.ask("analyze table lineitem").map(drop)
    }

    /// Count and sums, in one pass of the server's own.
    fn sums(&self, table: &str) -> Outcome<String> {
        self.ask(&format!(
            "select count(*), sum(l_orderkey * l_linenumber), sum(l_extendedprice * l_linenumber),
                    sum(datediff(l_shipdate, '1970-01-01')), sum(length(l_comment) * l_linenumber) from {table}"
        ))
    }

    fn config(&self, password: &str) -> Config {
        let [host, port, user, _, database] = &self.address;
        let config = Config::new().with("host", host.as_str()).with("username", user.as_str());
        let config =
            config.with("port", port.parse::<u16>().unwrap_or(3306)).with("database", database.as_str());
        if password.is_empty() { config } else { config.with("password", password) }
    }
}

/// The vendor's connector, as it was just built.
struct Loaded {
    connector: Arc<dyn Connector>,
    runtime: Runtime,
    config: Config,
    password: String,
    _cache: TempDir,
}

impl Loaded {
    fn of(vendor: &Vendor) -> Outcome<Self> {
        let folder =
            env::var_os("HUB_TEST_PLUGINS").ok_or("There are no plugins: run `cargo xtask bench`")?;
        let cache = tempfile::tempdir()?;
        let folders = vec![PluginFolder::given(PathBuf::from(folder))];
        let connector =
            Registry::open(RegistryOptions::new(folders, cache.path())).find(vendor.connector)?.connector;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (config, password) = (vendor.config(""), vendor.address[3].clone());
        Ok(Self { connector, runtime, config, password, _cache: cache })
    }

    fn connect(&self) -> Outcome<Box<dyn Connection>> {
        let context = Arc::new(TestContext::new().with_secret("password", self.password.as_str())).context();
        Ok(self.runtime.block_on(self.connector.connect(&self.config, &context))?)
    }

    /// Hands every batch of a statement to `each`, from connecting to the last row.
    fn read(&self, mut each: impl FnMut(&StreamSchema, RecordBatch)) -> Outcome {
        let connection = self.connect()?;
        let request = PlanRequest {
            pipeline: "bench".into(),
            generation: 1,
            run: 1,
            strategy: "query".into(),
            options: Config::new().with("statement", STATEMENT),
            parallel: 1,
            start_at: None,
            carry: None,
            interrupted: None,
            peek: false,
        };
        let plan = self.runtime.block_on(connection.plan(&request))?;
        let split = plan.description().splits.into_iter().next().ok_or("The plan has no split")?;
        let open =
            OpenRequest { split, position: None, budgets: hub_plugin_api::Budgets::default(), peek: false };
        let mut reader = self.runtime.block_on(plan.open(&open))?;
        let mut schema = None;
        loop {
            match self.runtime.block_on(reader.next(Duration::from_secs(1)))? {
                Event::Schema(first) => schema = Some(first),
                Event::Rows(rows) => each(schema.as_ref().ok_or("Rows came before their shape")?, rows.batch),
                Event::End => return Ok(()),
                _ => {}
            }
        }
    }

    /// Writes every batch of the table into a file, and answers their shape.
    fn save(&self, file: &Path) -> Outcome<StreamSchema> {
        let (mut shape, mut writer) = (None, None);
        let mut saved: Outcome = Ok(());
        self.read(|schema, batch| {
            shape.get_or_insert_with(|| schema.clone());
            let mut save = || -> Outcome {
                if writer.is_none() {
                    writer = Some(StreamWriter::try_new_buffered(File::create(file)?, &schema.arrow)?);
                }
                writer.iter_mut().try_for_each(|writer| Ok(writer.write(&batch)?))
            };
            if saved.is_ok() {
                saved = save();
            }
        })?;
        saved?;
        writer.ok_or("The table has no rows")?.finish()?;
        shape.ok_or_else(|| "The table has no shape".into())
    }
}

/// MariaDB to Arrow against its own client to nowhere.
pub(crate) fn read(plan: Plan) -> Outcome<Result> {
    let vendor = Vendor::get("mariadb")?;
    vendor.make_lineitem()?;
    let loaded = Loaded::of(&vendor)?;
    let expected = vendor.ask("select count(*), sum(l_orderkey) from lineitem")?;
    let ours = || {
        let memory = PeakMemory::of(std::process::id());
        let start = Instant::now();
        let (mut rows, mut keys) = (0_u64, 0_i64);
        loaded.read(|_, batch| {
            rows += batch.num_rows() as u64;
            let column = batch.column(0).as_primitive::<hub_plugin_api::arrow::datatypes::Int64Type>();
            keys += column.values().iter().sum::<i64>();
        })?;
        let elapsed = start.elapsed();
        same(&expected, &format!("{rows}\t{keys}"))?;
        Ok(Ours { elapsed, rows, peak_mib: memory.mib() })
    };
    let reference = || {
        let start = Instant::now();
        let status = vendor.client(STATEMENT).stdout(Stdio::null()).status()?;
        if status.success() { Ok(start.elapsed()) } else { Err("The client failed".into()) }
    };
    compare(plan, ours, reference)
}

/// Rows into MariaDB against LOAD DATA LOCAL INFILE. Both take them from a file: Arrow here, text there.
pub(crate) fn write(plan: Plan) -> Outcome<Result> {
    let vendor = Vendor::get("mariadb")?;
    vendor.make_lineitem()?;
    let loaded = Loaded::of(&vendor)?;
    let expected = vendor.sums("lineitem")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("lineitem.tsv");
    if !vendor.client(STATEMENT).stdout(File::create(&file)?).status()?.success() {
        return Err("The file was not made".into());
    }
    // Not in memory, where they would be taken for the connector's.
    let arrow = folder.path().join("lineitem.arrow");
    let shape = loaded.save(&arrow)?;

    let ours = || {
        vendor.ask("drop table if exists ours")?;
        vendor.ask(&format!("create table ours ({COLUMNS})"))?;
        let memory = PeakMemory::of(std::process::id());
        let start = Instant::now();
        let connection = loaded.connect()?;
        let request = WriterRequest {
            pipeline: "bench".into(),
            lane: 0,
            generation: 1,
            run: 1,
            strategy: "write".into(),
            options: Config::new().with("table", "ours").with("create_table", false),
        };
        let mut writer = loaded.runtime.block_on(connection.writer(&request))?;
        let last = writer.start().last;
        loaded.runtime.block_on(writer.schema(&shape))?;
        for batch in StreamReader::try_new(BufReader::new(File::open(&arrow)?), None)? {
            let rows = Rows { stream: shape.stream.clone(), schema_id: shape.id, batch: batch? };
            loaded.runtime.block_on(writer.write(rows))?;
        }
        let token = CommitToken {
            pipeline: "bench".into(),
            lane: 0,
            generation: 1,
            run: 1,
            n: CommitToken::next_n(last.as_ref(), 1),
            splits: Default::default(),
            applied_seq: None,
        };
        loaded.runtime.block_on(writer.commit(&token))?;
        let elapsed = start.elapsed();
        same(&expected, &vendor.sums("ours")?)?;
        Ok(Ours { elapsed, rows: ROWS, peak_mib: memory.mib() })
    };
    let reference = || {
        vendor.ask("drop table if exists theirs")?;
        vendor.ask(&format!("create table theirs ({COLUMNS})"))?;
        let start = Instant::now();
        vendor.ask(&format!("load data local infile '{}' into table theirs", file.display()))?;
        let elapsed = start.elapsed();
        same(&expected, &vendor.sums("theirs")?)?;
        Ok(elapsed)
    };
    compare(plan, ours, reference)
}

/// The program as a user runs it, MySQL to PostgreSQL, against a pipe between the two clients.
pub(crate) fn mysql_to_pg(plan: Plan) -> Outcome<Result> {
    to_pg(plan, "mysql")
}

/// The same from MariaDB.
pub(crate) fn mariadb_to_pg(plan: Plan) -> Outcome<Result> {
    to_pg(plan, "mariadb")
}

fn to_pg(plan: Plan, connector: &'static str) -> Outcome<Result> {
    let vendor = Vendor::get(connector)?;
    vendor.make_lineitem()?;
    let server = Server::get()?;
    let [host, port, user, password, database] = server.address()?;
    let folder = tempfile::tempdir()?;
    let pipeline = json!({
        "version": 1,
        "name": "bench",
        "source": {
            "connector": connector, "config": vendor.config("${env:HUB_BENCH_SOURCE}"), "strategy": "query",
            "options": { "statement": STATEMENT },
        },
        "destination": {
            "connector": "postgres",
            "config": {
                "host": host, "port": port.parse::<u16>()?, "username": user, "database": database,
                "password": "${env:HUB_BENCH_DESTINATION}",
            },
            "options": { "mode": "append", "table": "ours", "create_table": true },
        },
        "allow_duplicates": true,
    });
    let file = folder.path().join("bench.yaml");
    fs::write(&file, pipeline.to_string())?;
    let binary = env::var_os("HUB_TEST_BINARY").ok_or("There is no program: run `cargo xtask bench`")?;
    let plugins = env::var_os("HUB_TEST_PLUGINS").ok_or("There are no plugins: run `cargo xtask bench`")?;
    let expected =
        vendor.ask("select count(*), sum(l_orderkey * l_linenumber), sum(l_extendedprice) from lineitem")?;
    let expected = expected.replace('\t', ",");
    let sums = |table: &str| {
        server.ask(&format!(
            "select count(*), sum(l_orderkey * l_linenumber), sum(l_extendedprice) from {table}"
        ))
    };
    let ours = || {
        server.ask("drop table if exists ours")?;
        server.ask("checkpoint")?;
        let log = folder.path().join("log");
        let start = Instant::now();
        let mut child = Command::new(&binary)
            .args(["run", "--json", "--from-scratch", "--plugin-dir"])
            .arg(&plugins)
            .arg(&file)
            .env("CONNECTOR_HUB_HOME", folder.path().join("home"))
            .env("HUB_BENCH_SOURCE", &vendor.address[3])
            .env("HUB_BENCH_DESTINATION", &password)
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        let memory = PeakMemory::of(child.id());
        let status = child.wait()?;
        let elapsed = start.elapsed();
        if !status.success() {
            return Err(format!("The run ended with {status}: {}", fs::read_to_string(&log)?).into());
        }
        same(&expected, &sums("ours")?)?;
        Ok(Ours { elapsed, rows: ROWS, peak_mib: memory.mib() })
    };
    let reference = || {
        server.ask("drop table if exists theirs")?;
        // What ours makes by itself: types, NOT NULL and primary key.
        let columns = COLUMNS.replace("decimal", "numeric");
        server.ask(&format!("create table theirs ({columns})"))?;
        server.ask("checkpoint")?;
        let start = Instant::now();
        let mut from = vendor.client(STATEMENT).stdout(Stdio::piped()).spawn()?;
        let mut to = server.psql("copy theirs from stdin");
        let loaded = to.stdin(from.stdout.take().ok_or("The client has no output")?).status()?.success();
        if !from.wait()?.success() || !loaded {
            return Err("A client failed".into());
        }
        let elapsed = start.elapsed();
        same(&expected, &sums("theirs")?)?;
        Ok(elapsed)
    };
    compare(plan, ours, reference)
}

fn same(expected: &str, found: &str) -> Outcome {
    if expected == found { Ok(()) } else { Err(format!("The rows differ: {expected} and {found}").into()) }
}
