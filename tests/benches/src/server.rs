use std::{
    env,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::Outcome;

/// The launched server, through its own `psql`.
pub(crate) struct Server {
    url: String,
    psql: PathBuf,
    libraries: Option<String>,
}

/// Rows of every table but the one of wide types.
pub(crate) const ROWS: u64 = 1_000_000;

impl Server {
    /// The one that was handed over.
    pub(crate) fn get() -> Outcome<Self> {
        let url =
            env::var("HUB_TEST_POSTGRES_URL").map_err(|_| "There is no server: run `cargo xtask bench`")?;
        let psql = env::var_os("HUB_TEST_POSTGRES_BIN").map(|folder| PathBuf::from(folder).join("psql"));
        let psql = psql.unwrap_or_else(|| "psql".into());
        Ok(Self { url, psql, libraries: env::var("HUB_TEST_POSTGRES_LIBRARIES").ok() })
    }

    /// Host, port, user, password and database.
    pub(crate) fn address(&self) -> Outcome<[String; 5]> {
        let answer = || {
            let rest = self.url.split_once("://")?.1;
            let (login, place) = rest.rsplit_once('@')?;
            let (user, password) = login.split_once(':')?;
            let (host, database) = place.split_once('/')?;
            let (host, port) = host.rsplit_once(':')?;
            Some([host, port, user, password, database].map(str::to_owned))
        };
        answer().ok_or_else(|| {
            "The server's address is not `postgresql://user:password@host:port/database`".into()
        })
    }

    /// Where it is, with user and password.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Another of its own programs.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.psql.with_file_name(name));
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }

    pub(crate) fn psql(&self, statement: &str) -> Command {
        let mut command = self.program("psql");
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--field-separator=,"]);
        command.args(["--set=ON_ERROR_STOP=1", "--command", statement, &self.url]);
        command.env("PGOPTIONS", "-c client_min_messages=warning").stdin(Stdio::null());
        command
    }

    /// Runs a statement; what it prints.
    pub(crate) fn ask(&self, statement: &str) -> Outcome<String> {
        let output = self.psql(statement).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("psql refuses: {statement}").into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Makes `lineitem` unless it is there.
    pub(crate) fn make_lineitem(&self) -> Outcome {
        if self.ask("select to_regclass('lineitem') is not null")? == "t" {
            return Ok(());
        }
        let data = env::var_os("HUB_TEST_DATA").ok_or("There is no generator: run `cargo xtask bench`")?;
        let ddl = Command::new(&data).args(["--postgres-ddl", "lineitem"]).output()?.stdout;
        self.ask(&String::from_utf8_lossy(&ddl))?;
        let rows = ROWS.to_string();
        let mut generator =
            Command::new(&data).args(["--rows", &rows, "--csv"]).stdout(Stdio::piped()).spawn()?;
        let mut copy = self.psql("copy lineitem from stdin with (format csv)");
        copy.stdin(generator.stdout.take().ok_or("The generator has no output")?);
        let loaded = copy.status()?.success();
        if !generator.wait()?.success() || !loaded {
            return Err("The table was not loaded".into());
        }
        self.ask("vacuum (analyze, freeze) lineitem").map(drop)
    }

    /// `psql` copies a query's rows in binary form to nowhere.
    pub(crate) fn copy_to_nowhere(&self, query: &str) -> Outcome<Child> {
        let statement = format!("copy ({query}) to stdout with (format binary)");
        Ok(self.psql(&statement).stdout(Stdio::null()).spawn()?)
    }

    /// How long it takes until all of them are through.
    pub(crate) fn time_to_nowhere(&self, queries: &[String]) -> Outcome<Duration> {
        let start = Instant::now();
        let children =
            queries.iter().map(|query| self.copy_to_nowhere(query)).collect::<Outcome<Vec<_>>>()?;
        for mut child in children {
            if !child.wait()?.success() {
                return Err("psql failed".into());
            }
        }
        Ok(start.elapsed())
    }
}
