use std::{
    env,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use connector_hub::plugins::{PluginFolder, Registry, RegistryOptions};
use connector_postgres::Postgres;
use hub_plugin_api::{
    Config, Connection, Connector, Context, Event, OpenRequest, Plan, PlanRequest, Split,
    arrow::{
        array::{Array, AsArray, RecordBatch},
        datatypes::Int64Type,
    },
    testing::TestContext,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{Outcome, rounds::Ours, server::Server};

/// The PostgreSQL connector, whichever way it came here.
pub(crate) struct Source {
    connector: Arc<dyn Connector>,
    runtime: Arc<Runtime>,
    config: Config,
    password: String,
    /// Where the loaded library's copy lies.
    _cache: Option<TempDir>,
}

/// What was read, for comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub rows: u64,
    /// Sum of the first column.
    pub keys: i64,
    /// Values of all columns that are not null.
    pub values: u64,
}

impl Source {
    /// Through the plugin that was just built.
    pub(crate) fn loaded(server: &Server) -> Outcome<Self> {
        let folder =
            env::var_os("HUB_TEST_PLUGINS").ok_or("There are no plugins: run `cargo xtask bench`")?;
        let cache = tempfile::tempdir()?;
        let folders = vec![PluginFolder::given(PathBuf::from(folder))];
        let registry = Registry::open(RegistryOptions::new(folders, cache.path()));
        let found = registry.find("postgres")?;
        Self::new(server, found.connector, Some(cache))
    }

    /// The same connector as a part of this program.
    pub(crate) fn linked(server: &Server) -> Outcome<Self> {
        Self::new(server, Arc::new(Postgres), None)
    }

    fn new(server: &Server, connector: Arc<dyn Connector>, cache: Option<TempDir>) -> Outcome<Self> {
        let [host, port, user, password, database] = server.address()?;
        // As many threads as a loaded plugin's own runtime has.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let config = Config::new()
            .with("host", host)
            .with("port", port.parse::<u16>()?)
            .with("username", user)
            .with("database", database);
        Ok(Self { connector, runtime: Arc::new(runtime), config, password, _cache: cache })
    }

    /// Reads a statement's rows from connecting to the last row, each split on a thread of its own.
    pub(crate) fn read(&self, options: Config, splits: u32) -> Outcome<(Ours, Total)> {
        let memory = hub_tests::PeakMemory::of(std::process::id());
        let start = Instant::now();
        let context = self.context();
        let connection = self.runtime.block_on(self.connector.connect(&self.config, &context))?;
        let plan = self.plan(connection.as_ref(), "query", options, splits)?;
        let description = plan.description();
        if description.splits.len() != splits as usize {
            return Err(format!("{} splits instead of {splits}", description.splits.len()).into());
        }
        let (sender, receiver) = mpsc::channel();
        for split in description.splits {
            let (plan, runtime, sender) = (Arc::clone(&plan), Arc::clone(&self.runtime), sender.clone());
            // The receiver lives until every split has answered.
            thread::spawn(move || sender.send(drain(&runtime, plan.as_ref(), split)));
        }
        drop(sender);
        let mut total = Total::default();
        for part in receiver {
            let part = part?;
            total.rows += part.rows;
            total.keys += part.keys;
            total.values += part.values;
        }
        let elapsed = start.elapsed();
        Ok((Ours { elapsed, rows: total.rows, peak_mib: memory.mib() }, total))
    }

    fn context(&self) -> Context {
        Arc::new(TestContext::new().with_secret("password", self.password.as_str())).context()
    }

    /// Follows a stream of changes, from connecting until so many rows have come.
    pub(crate) fn follow(&self, options: Config, rows: u64, limit: Duration) -> Outcome<Ours> {
        let memory = hub_tests::PeakMemory::of(std::process::id());
        let start = Instant::now();
        let context = self.context();
        let connection = self.runtime.block_on(self.connector.connect(&self.config, &context))?;
        let plan = self.plan(connection.as_ref(), "wal", options, 1)?;
        let split = plan.description().splits.into_iter().find(|split| !split.bounded);
        let split = split.ok_or("The plan has no stream")?;
        // The last rows of the measurement are not to wait for more.
        let budgets = hub_plugin_api::Budgets { max_delay_ms: 20, ..hub_plugin_api::Budgets::default() };
        let request = OpenRequest { split, position: None, budgets, peek: false };
        let mut reader = self.runtime.block_on(plan.open(&request))?;
        let mut found = 0;
        while found < rows {
            match self.runtime.block_on(reader.next(Duration::from_secs(1)))? {
                Event::Rows(rows) => found += rows.batch.num_rows() as u64,
                Event::End => return Err("The stream ended".into()),
                _ => {}
            }
            if start.elapsed() > limit {
                return Err(format!("{found} of {rows} changes after {} s", limit.as_secs()).into());
            }
        }
        let elapsed = start.elapsed();
        if found > rows {
            return Err(format!("{found} changes instead of {rows}").into());
        }
        Ok(Ours { elapsed, rows, peak_mib: memory.mib() })
    }

    fn plan(
        &self,
        connection: &dyn Connection,
        strategy: &str,
        options: Config,
        splits: u32,
    ) -> Outcome<Arc<dyn Plan>> {
        let request = PlanRequest {
            pipeline: "bench".into(),
            generation: 1,
            run: 1,
            strategy: strategy.into(),
            options,
            parallel: splits,
            start_at: None,
            carry: None,
            interrupted: None,
            peek: false,
        };
        Ok(self.runtime.block_on(connection.plan(&request))?.into())
    }
}

fn drain(runtime: &Runtime, plan: &dyn Plan, split: Split) -> hub_plugin_api::Result<Total> {
    let request =
        OpenRequest { split, position: None, budgets: hub_plugin_api::Budgets::default(), peek: false };
    let mut reader = runtime.block_on(plan.open(&request))?;
    let mut total = Total::default();
    loop {
        match runtime.block_on(reader.next(Duration::from_secs(1)))? {
            Event::Rows(rows) => total.add(&rows.batch),
            Event::End => return Ok(total),
            _ => {}
        }
    }
}

impl Total {
    fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        if let Some(keys) = batch.column(0).as_primitive_opt::<Int64Type>() {
            self.keys += keys.values().iter().sum::<i64>();
        }
        let nulls = |column: &Arc<dyn Array>| (column.len() - column.null_count()) as u64;
        self.values += batch.columns().iter().map(nulls).sum::<u64>();
    }
}

/// Options of strategy `query`.
pub(crate) fn options(statement: &str, key: Option<&str>) -> Config {
    let options = Config::new().with("statement", statement);
    match key {
        Some(key) => options.with("cursor", json!([key])),
        None => options,
    }
}
