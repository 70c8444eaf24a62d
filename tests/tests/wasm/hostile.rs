//! Functions that do what no function should: each ends with an error of its own that says what to do, the host goes on,
//! and so does another pipeline beside it.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use connector_hub::{
    Hub,
    api::{Config, Error, Value, json},
    pipeline::{
        CommitSpec, EndpointSpec, OnLostSnapshot, OnRejected, Outcome, PipelineSpec, RetrySpec, RunEvent,
        RunOptions, StopSignal,
    },
};
use hub_tests::{Environment, skip};
use rusqlite::Connection;

use crate::{
    guests::{compile_once, guest},
    orders::{STATEMENT, differences_in_sqlite, in_sqlite},
};

/// What the guest can be asked for that ends in an error.
const MODES: [&str; 21] = [
    "spin",
    "allocate",
    "recurse",
    "recurse-by-calls",
    "panic",
    "exit",
    "open-file",
    "open-socket",
    "look-up-host",
    "read-environment",
    "write-statement",
    "huge-batch",
    "bad-utf8",
    "bad-utf8-rows",
    "other-columns",
    "other-values",
    "too-few-values",
    "lying-offsets",
    "lying-length",
    "lying-ipc",
    "no-ipc",
];

/// A hub in this process, and a folder for its databases.
struct Stage {
    folder: tempfile::TempDir,
    hub: Hub,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        crate::guests::share_compiled(&home);
        let hub = Hub::builder().home(home).plugin_dir(Environment::get().plugins).build().unwrap();
        Self { folder, hub }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A pipeline from `source.db` through a guest into a database of its own.
    fn pipeline(&self, name: &str, module: &Path, arguments: Value) -> PipelineSpec {
        let end = |file: &Path, strategy: &str, options: Config| EndpointSpec {
            connector: "sqlite".into(),
            config: Config::new().with("file", file.to_string_lossy()),
            secrets: BTreeMap::new(),
            strategy: strategy.into(),
            options,
        };
        let source = Config::new()
            .with("module", module.to_string_lossy())
            .with("arguments", arguments)
            .with("memory_mib", 128)
            .with("call_seconds", 2)
            .with("batch_mib", 32)
            .with("log_kib", 64);
        let destination =
            Config::new().with("mode", "append").with("table", "result").with("create_table", true);
        PipelineSpec {
            version: 1,
            name: name.into(),
            source: end(&self.path("source.db"), "custom-function", source),
            destination: end(&self.path(&format!("{name}.db")), "write", destination),
            commit: CommitSpec { every_ms: 1_000, bytes: 64 << 20, rows: Some(100) },
            on_rejected: OnRejected::Stop,
            on_lost_snapshot: OnLostSnapshot::Stop,
            allow_duplicates: true,
            lanes: 1,
            parallel: 1,
            retry: RetrySpec { attempts: 1, first_delay_ms: 10, max_delay_ms: 10 },
        }
    }

    fn run(
        &self,
        spec: &PipelineSpec,
        stop: &StopSignal,
        on_event: impl FnMut(RunEvent),
    ) -> Result<connector_hub::pipeline::RunSummary, Error> {
        self.hub.run(spec, &RunOptions::default(), stop, on_event)
    }
}

/// Rows of the table `result` of a database; none where it is not there.
fn rows(file: &Path) -> Option<i64> {
    let database = Connection::open(file).ok()?;
    database.query_row("select count(*) from result", [], |row| row.get(0)).ok()
}

/// An error as the command line shows it.
fn shown(error: &Error) -> String {
    let mut text = format!("{}: {error}\n", error.kind);
    for line in error.hint.iter().flat_map(|hint| hint.lines()) {
        writeln!(text, "hint: {line}").unwrap();
    }
    text
}

#[test]
fn each_misdeed_ends_with_its_own_error_while_another_pipeline_goes_on() {
    let (Some(hostile), Some(honest)) = (guest("hostile"), guest("orders-rust")) else {
        return skip("no guests in Rust");
    };
    ["hostile", "orders-rust"].iter().for_each(|name| compile_once(name));
    let stage = Stage::new();
    in_sqlite(&stage.path("source.db"), 3_000);
    let mut report = String::new();
    let (stop, done) = (StopSignal::new(), StopSignal::new());
    thread::scope(|scope| {
        // Pages of a row each, so that it goes on as long as the others do; then it is stopped in good order.
        let beside = scope.spawn(|| {
            let mut runs = 0;
            while !done.is_requested() {
                let arguments = json!({ "statement": STATEMENT, "page_rows": 1 });
                let spec = stage.pipeline(&format!("honest-{runs}"), &honest, arguments);
                let summary = stage.run(&spec, &stop, |_| {}).unwrap();
                assert!(summary.rows > 0 || stop.is_requested());
                runs += 1;
            }
            runs
        });
        for mode in MODES {
            let spec = stage.pipeline(mode, &hostile, json!({ "mode": mode }));
            let started = Instant::now();
            let outcome = stage.run(&spec, &StopSignal::new(), |_| {});
            write!(
                report,
                "== {mode}\n{}",
                outcome.map_or_else(|error| shown(&error), |run| format!("{run:?}\n"))
            )
            .unwrap();
            assert!(started.elapsed() < Duration::from_secs(60), "{mode}: {:?}", started.elapsed());
            let committed = rows(&stage.path(&format!("{mode}.db")));
            assert!(committed.is_none_or(|rows| rows == 0), "{mode}: {committed:?} rows were committed");
        }
        done.request();
        stop.request();
        assert!(beside.join().unwrap() > 0);
    });
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.add_filter(r"0x[0-9a-f]+", "[address]");
    settings.bind(|| insta::assert_snapshot!("hostile", report));

    // The host is as it was: the same functions run once more, from beginning to end.
    let spec = stage.pipeline("after", &honest, json!({ "statement": STATEMENT, "page_rows": 500 }));
    assert_eq!(stage.run(&spec, &StopSignal::new(), |_| {}).unwrap().rows, 3_005);
    assert_eq!(differences_in_sqlite(&stage.path("source.db"), &stage.path("after.db")), 0);
}

#[test]
fn a_stream_without_an_end_is_committed_on_the_way_and_stops_when_it_is_asked_to() {
    let Some(hostile) = guest("hostile") else { return skip("no guests in Rust") };
    compile_once("hostile");
    let stage = Stage::new();
    in_sqlite(&stage.path("source.db"), 1);
    let spec = stage.pipeline("endless", &hostile, json!({ "mode": "never-ending" }));
    let stop = StopSignal::new();
    let mut commits = 0;
    let summary = stage
        .run(&spec, &stop, |event| {
            if matches!(event, RunEvent::Committed { .. }) {
                commits += 1;
                if commits == 3 {
                    stop.request();
                }
            }
        })
        .unwrap();
    assert_eq!(summary.outcome, Outcome::Stopped);
    assert!(summary.rows >= 3, "{summary:?}");
    assert_eq!(rows(&stage.path("endless.db")), i64::try_from(summary.rows).ok());

    // The next run goes on where this one stopped.
    let (stop, mut commits) = (StopSignal::new(), 0);
    let again = stage.run(&spec, &stop, |event| {
        commits += u64::from(matches!(event, RunEvent::Committed { .. }));
        if commits == 1 {
            stop.request();
        }
    });
    let database = Connection::open(stage.path("endless.db")).unwrap();
    let [all, distinct]: [i64; 2] = database
        .query_row("select count(*), count(distinct id) from result", [], |row| {
            Ok([row.get(0)?, row.get(1)?])
        })
        .unwrap();
    assert_eq!(all, distinct, "rows came twice");
    assert_eq!(u64::try_from(all).unwrap(), summary.rows + again.unwrap().rows);
}

#[test]
fn a_flood_of_log_lines_is_cut_and_harms_nobody() {
    let Some(hostile) = guest("hostile") else { return skip("no guests in Rust") };
    compile_once("hostile");
    let stage = Stage::new();
    in_sqlite(&stage.path("source.db"), 1);
    let spec = stage.pipeline("flood", &hostile, json!({ "mode": "log-flood" }));
    assert_eq!(stage.run(&spec, &StopSignal::new(), |_| {}).unwrap().rows, 1);
}
