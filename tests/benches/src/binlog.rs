use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use connector_hub::plugins::{PluginFolder, Registry, RegistryOptions};
use hub_plugin_api::{
    Config, Connector, Context, Event, OpenRequest, Plan as ReadPlan, PlanRequest, Split, StartAt,
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

    /// How long the server's own tool takes to read all changes.
    fn decode(&self, file: &str, position: &str) -> Outcome<Duration> {
        let start = Instant::now();
        let mut tool = self.program("mysqlbinlog", "mariadb-binlog");
        tool.args(["--read-from-remote-server", "--start-position", position, file]);
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
    let source = Source::loaded(&server, &file, &position)?;
    compare(plan, || source.drain(), || server.decode(&file, &position))
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
            budgets: hub_plugin_api::Budgets::default(),
            peek: false,
        };
        let mut reader = self.runtime.block_on(self.plan.open(&request))?;
        let mut rows = 0;
        while rows < CHANGES {
            if start.elapsed() > LIMIT {
                return Err(format!("Only {rows} changes came").into());
            }
            if let Event::Rows(part) = self.runtime.block_on(reader.next(Duration::from_secs(1)))? {
                rows += part.batch.num_rows() as u64;
            }
        }
        let elapsed = start.elapsed();
        if rows != CHANGES {
            return Err(format!("{rows} changes came instead of {CHANGES}").into());
        }
        Ok(Ours { elapsed, rows, peak_mib: memory.mib() })
    }
}
