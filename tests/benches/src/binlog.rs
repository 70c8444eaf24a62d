use std::{
    env,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use connector_hub::plugins::{PluginFolder, Registry, RegistryOptions};
use hub_plugin_api::{
    Budgets, Config, Connector, Context, Event, OpenRequest, Plan as ReadPlan, PlanRequest, Split, StartAt,
    arrow::{
        array::{AsArray, RecordBatch},
        compute::sum,
        datatypes::{Int32Type, Int64Type},
    },
    testing::TestContext,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    Outcome,
    rounds::{Ours, Plan, Result, compare},
};

/// Changes of one drain: half of them inserts, half updates.
const CHANGES: u64 = 200_000;
/// Rows that one transaction changes.
const ROWS_A_TRANSACTION: u64 = 2_000;
/// Rows of a batch: the last one is full with the last change, so that no waiting for more is measured.
const ROWS_A_BATCH: u64 = 10_000;
/// How often the reference is run with the rows decoded, for comparison.
const DECODING_ROUNDS: usize = 3;
/// How long ours may take.
const LIMIT: Duration = Duration::from_secs(120);

/// By MySQL's log, against MySQL's own tool.
pub(crate) fn mysql(plan: Plan) -> Outcome<Result> {
    against("mysql", "HUB_TEST_MYSQL", plan)
}

/// By MariaDB's log, against MariaDB's own tool.
pub(crate) fn mariadb(plan: Plan) -> Outcome<Result> {
    against("mariadb", "HUB_TEST_MARIADB", plan)
}

/// A server, and the programs that came with it.
struct Server {
    id: &'static str,
    host: String,
    port: String,
    user: String,
    password: String,
    database: String,
    programs: PathBuf,
}

impl Server {
    fn get(id: &'static str, variable: &str) -> Outcome<Self> {
        let missing = "There is no server: run `cargo xtask bench`";
        let url = env::var(format!("{variable}_URL")).map_err(|_| missing)?;
        let programs = env::var_os(format!("{variable}_BIN")).ok_or(missing)?.into();
        let parts = || {
            let (login, place) = url.split_once("://")?.1.rsplit_once('@')?;
            let (user, password) = login.split_once(':')?;
            let (place, database) = place.split_once('/')?;
            let (host, port) = place.rsplit_once(':')?;
            Some([host, port, user, password, database].map(str::to_owned))
        };
        let [host, port, user, password, database] = parts().ok_or("The server's address is none")?;
        Ok(Self { id, host, port, user, password, database, programs })
    }

    /// One of the server's programs, told where the server is.
    fn program(&self, mysql: &str, mariadb: &str) -> Command {
        let name = if self.id == "mysql" { mysql } else { mariadb };
        let mut command = Command::new(self.programs.join(name));
        command.args([format!("--host={}", self.host), format!("--port={}", self.port)]);
        command.args([format!("--user={}", self.user), "--protocol=TCP".into()]);
        command.env("MYSQL_PWD", &self.password).stdin(Stdio::null());
        command
    }

    /// Runs statements; what the last one prints, with tabs between columns.
    fn run(&self, statements: &str) -> Outcome<String> {
        let mut client = self.program("mysql", "mariadb");
        client.args(["--batch", "--skip-column-names", "--execute", statements, &self.database]);
        let output = client.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("The server refuses: {statements}").into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Makes the changes; where in the log they begin.
    fn change(&self) -> Outcome<(String, String)> {
        let half = CHANGES / 2;
        self.run(
            "drop table if exists drained; create table drained (id bigint primary key, a int, b decimal(12,2), \
             c varchar(60), d datetime(6), e double)",
        )?;
        self.run("flush binary logs")?;
        let status = if self.id == "mysql" { "show binary log status" } else { "show master status" };
        let place = self.run(status)?;
        let mut place = place.split('\t').map(str::to_owned);
        let (Some(file), Some(position)) = (place.next(), place.next()) else {
            return Err("The server keeps no log".into());
        };
        let mut changes = String::from("set session cte_max_recursion_depth = 1000000;");
        if self.id != "mysql" {
            changes = String::from("set session max_recursive_iterations = 1000000;");
        }
        for first in (0..half).step_by(ROWS_A_TRANSACTION as usize) {
            let last = first + ROWS_A_TRANSACTION - 1;
            changes.push_str(&format!(
                "insert into drained with recursive n as (select {first} as i union all select i + 1 from n where \
                 i < {last}) select i, i % 1000, i * 0.25, concat('row number ', i, ' of the table'), \
                 timestampadd(second, i, '2020-01-01'), i / 7 from n;"
            ));
        }
        for first in (0..half).step_by(ROWS_A_TRANSACTION as usize) {
            let last = first + ROWS_A_TRANSACTION - 1;
            changes.push_str(&format!("update drained set a = a + 1 where id between {first} and {last};"));
        }
        self.run(&changes)?;
        Ok((file, position))
    }

    /// The tool's version; it must be of the server's vendor.
    fn tool(&self) -> Outcome<String> {
        let version = Command::new(self.programs.join(self.tool_name())).arg("--version").output()?;
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        // MariaDB's tools name their vendor in their own name, or in the version.
        let program = version.split_whitespace().next().and_then(|path| path.rsplit('/').next());
        let is_mariadb = version.contains("MariaDB") || program.is_some_and(|name| name.contains("mariadb"));
        if is_mariadb == (self.id == "mysql") {
            return Err(format!("The reference is the other vendor's: {version}").into());
        }
        Ok(version)
    }

    fn tool_name(&self) -> &'static str {
        if self.id == "mysql" { "mysqlbinlog" } else { "mariadb-binlog" }
    }

    /// The server's own tool, reading the log's file from a position to its end.
    fn tool_on(&self, file: &str, position: &str) -> Command {
        let mut tool = self.program("mysqlbinlog", "mariadb-binlog");
        tool.args(["--read-from-remote-server", "--start-position", position, file]);
        tool
    }

    /// Fails unless the tool reads every change: it is as fast as something that reads nothing.
    fn check_tool(&self, file: &str, position: &str) -> Outcome {
        let mut rows = self.tool_on(file, position).arg("--verbose").stdout(Stdio::piped()).spawn()?;
        let (mut inserts, mut updates) = (0, 0);
        for line in BufReader::new(rows.stdout.take().ok_or("The tool has no output")?).split(b'\n') {
            let line = line?;
            inserts += u64::from(line.starts_with(b"### INSERT INTO"));
            updates += u64::from(line.starts_with(b"### UPDATE"));
        }
        if !rows.wait()?.success() || (inserts, updates) != (CHANGES / 2, CHANGES / 2) {
            return Err(format!("The reference reads {inserts} inserts and {updates} updates").into());
        }
        let plain = self.tool_on(file, position).output()?.stdout.len();
        let size = self.run("show binary logs")?;
        let size = size.lines().filter_map(|line| line.strip_prefix(file)).next_back();
        let size: usize = size.and_then(|rest| rest.split('\t').nth(1)).unwrap_or_default().parse()?;
        // The events in base64, so more than what is read.
        if plain < size {
            return Err(format!("The reference prints {plain} bytes of a log of {size}").into());
        }
        eprintln!("Both read a log of {size} bytes; the reference prints {plain}, without rows decoded");
        Ok(())
    }

    /// How long the tool takes to read all changes.
    fn drain(&self, mut tool: Command) -> Outcome<Duration> {
        let start = Instant::now();
        if tool.stdout(Stdio::null()).status()?.success() {
            Ok(start.elapsed())
        } else {
            Err("The reference failed".into())
        }
    }
}

fn against(id: &'static str, variable: &str, plan: Plan) -> Outcome<Result> {
    let server = Server::get(id, variable)?;
    eprintln!("Reference: {}", server.tool()?);
    let (file, position) = server.change()?;
    server.check_tool(&file, &position)?;
    let source = Source::loaded(&server, &file, &position)?;
    let result = compare(plan, || source.drain(), || server.drain(server.tool_on(&file, &position)))?;
    for _ in 0..DECODING_ROUNDS {
        let mut decoding = server.tool_on(&file, &position);
        decoding.arg("--verbose");
        let (ours, theirs) = (source.drain()?.elapsed, server.drain(decoding)?);
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        println!("against the reference that decodes rows as ours does (--verbose): {ratio:.3}");
    }
    Ok(result)
}

/// The connector as a plugin, and where it is to begin.
struct Source {
    runtime: Arc<Runtime>,
    plan: Box<dyn ReadPlan>,
    split: Split,
    _cache: TempDir,
}

impl Source {
    fn loaded(server: &Server, file: &str, position: &str) -> Outcome<Self> {
        let folder =
            env::var_os("HUB_TEST_PLUGINS").ok_or("There are no plugins: run `cargo xtask bench`")?;
        let cache = tempfile::tempdir()?;
        let folders = vec![PluginFolder::given(PathBuf::from(folder))];
        let registry = Registry::open(RegistryOptions::new(folders, cache.path()));
        let connector: Arc<dyn Connector> = registry.find(server.id)?.connector;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let config = Config::new()
            .with("host", server.host.as_str())
            .with("port", server.port.parse::<u16>()?)
            .with("username", server.user.as_str())
            .with("database", server.database.as_str())
            .with("server_id", 90_001)
            .with("tls_mode", "disabled");
        let context: Context =
            Arc::new(TestContext::new().with_secret("password", server.password.as_str())).context();
        let connection = runtime.block_on(connector.connect(&config, &context))?;
        // The server's own id, as its positions hold it.
        let mut request = PlanRequest {
            pipeline: "bench".into(),
            generation: 1,
            run: 1,
            strategy: "binlog".into(),
            options: Config::new().with("tables", json!(["drained"])).with("snapshot", "never"),
            parallel: 1,
            start_at: Some(StartAt::Latest),
            carry: None,
            interrupted: None,
            peek: true,
        };
        let latest = runtime.block_on(connection.plan(&request))?.description();
        let mut start = latest.splits.first().map(|split| split.opaque["start"].clone()).unwrap_or_default();
        (start["file"], start["offset"]) = (json!(file), json!(position.parse::<u64>()?));
        if let Some(start) = start.as_object_mut() {
            start.remove("gtids");
        }
        request.start_at = Some(StartAt::Position(serde_json::from_value(start)?));
        let plan = runtime.block_on(connection.plan(&request))?;
        let split = plan.description().splits.pop().ok_or("The plan has no split")?;
        Ok(Self { runtime: Arc::new(runtime), plan, split, _cache: cache })
    }

    /// From connecting to the last change.
    fn drain(&self) -> Outcome<Ours> {
        let memory = hub_tests::PeakMemory::of(std::process::id());
        let start = Instant::now();
        let request = OpenRequest {
            split: self.split.clone(),
            position: None,
            budgets: Budgets { max_batch_rows: ROWS_A_BATCH, ..Budgets::default() },
            peek: false,
        };
        let mut reader = self.runtime.block_on(self.plan.open(&request))?;
        let mut found = Found::default();
        while found.rows < CHANGES {
            if start.elapsed() > LIMIT {
                return Err(format!("Only {found:?} came").into());
            }
            if let Event::Rows(part) = self.runtime.block_on(reader.next(Duration::from_secs(1)))? {
                found.add(&part.batch);
            }
        }
        let elapsed = start.elapsed();
        let expected = Found::expected();
        if found != expected {
            return Err(format!("{found:?} came instead of {expected:?}").into());
        }
        Ok(Ours { elapsed, rows: found.rows, peak_mib: memory.mib() })
    }
}

/// What came, for comparison.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    rows: u64,
    /// Sum of `id`.
    ids: i64,
    /// Sum of `a`, which an update makes greater by one.
    values: i64,
}

impl Found {
    fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        self.ids += sum(batch.column(0).as_primitive::<Int64Type>()).unwrap_or_default();
        let values = batch.column(1).as_primitive::<Int32Type>();
        self.values += values.values().iter().map(|value| i64::from(*value)).sum::<i64>();
    }

    /// Every row inserted and updated once.
    fn expected() -> Self {
        let rows = (CHANGES / 2) as i64;
        let values = (0..rows).map(|id| id % 1000).sum::<i64>();
        Self { rows: CHANGES, ids: rows * (rows - 1), values: 2 * values + rows }
    }
}
