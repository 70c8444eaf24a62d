//! Whole pipelines through plugins that fail or change under them, in one process that goes on.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use connector_hub::{
    Hub,
    api::{Config, ErrorKind, Result},
    config,
    pipeline::{
        CommitSpec, EndpointSpec, OnLostSnapshot, OnRejected, PipelineSpec, RetrySpec, RunEvent, RunOptions,
        RunSummary, StopSignal,
    },
    plugins::{PluginFolder, Registry, RegistryOptions},
    secret,
};

use super::patch::Library;

/// A hub with one plugin, the fixture, whose calls are given up after 300 ms.
struct Stage {
    plugins: tempfile::TempDir,
    _home: tempfile::TempDir,
    hub: Hub,
}

impl Stage {
    fn new() -> Self {
        let (plugins, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Library::built().write(plugins.path(), "plugin.so");
        let mut options =
            RegistryOptions::new(vec![PluginFolder::given(plugins.path())], home.path().join("cache"));
        options.grace = Some(Duration::from_millis(300));
        let hub = Hub::builder().home(home.path()).registry(Registry::open(options)).build().unwrap();
        Self { plugins, _home: home, hub }
    }

    fn run(
        &self,
        spec: &PipelineSpec,
        stop: &StopSignal,
        on_event: impl FnMut(RunEvent),
    ) -> Result<RunSummary> {
        self.hub.run(spec, &RunOptions::default(), stop, on_event)
    }

    fn folder(&self) -> &Path {
        self.plugins.path()
    }
}

fn end(behaviour: &str, strategy: &str, options: Config) -> EndpointSpec {
    EndpointSpec {
        connector: "fixture".into(),
        config: Config::new().with("behaviour", behaviour),
        secrets: BTreeMap::new(),
        strategy: strategy.into(),
        options,
    }
}

/// 5,000 rows in batches of 100, committed every 500.
fn pipeline(name: &str, source: &str, destination: &str) -> PipelineSpec {
    PipelineSpec {
        version: 1,
        name: name.into(),
        source: end(source, "query", Config::new().with("rows", 5000).with("batch", 100)),
        destination: end(destination, "write", Config::new()),
        commit: CommitSpec { every_ms: 60_000, bytes: 1 << 30, rows: Some(500) },
        on_rejected: OnRejected::Stop,
        on_lost_snapshot: OnLostSnapshot::Stop,
        allow_duplicates: true,
        lanes: 1,
        parallel: 1,
        retry: RetrySpec { attempts: 1, first_delay_ms: 10, max_delay_ms: 10 },
    }
}

#[test]
fn pipeline_goes_on_while_a_newer_build_is_copied_over_its_plugin() {
    let stage = Stage::new();
    let newer = Library::built().note("\"version\":\"0.1.0\"", "\"version\":\"0.2.0\"");
    let mut commits = 0;
    let summary = stage.run(&pipeline("copied-over", "good", "slow-write"), &StopSignal::new(), |event| {
        if matches!(event, RunEvent::Committed { .. }) {
            commits += 1;
            if commits == 1 {
                // As `cp` does it: the same file is emptied and written again, while its code runs.
                newer.write(stage.folder(), "plugin.so");
                assert!(stage.hub.registry().rescan());
            }
        }
    });
    assert_eq!(summary.unwrap().rows, 5000);
    assert!(commits >= 2, "the file was replaced in the middle of the run");
    assert_eq!(stage.hub.registry().find("fixture").unwrap().plugin_version.to_string(), "0.2.0");
    let again = stage.run(&pipeline("copied-over-again", "good", "good"), &StopSignal::new(), drop).unwrap();
    assert_eq!(again.rows, 5000);
}

#[test]
fn pipeline_whose_plugin_panics_fails_by_name_and_the_next_one_runs() {
    let stage = Stage::new();
    for (source, destination) in
        [("panic-in-connect", "good"), ("panic-in-read", "good"), ("good", "panic-in-write")]
    {
        let name = format!("{source}-to-{destination}");
        let error = stage.run(&pipeline(&name, source, destination), &StopSignal::new(), drop).unwrap_err();
        assert_eq!(error.kind, ErrorKind::PluginPanicked, "{name}: {error}");
        assert!(error.message.starts_with("The plugin panicked: the fixture panics in "), "{name}: {error}");
        // The same pipeline, and with a plugin that behaves.
        let summary = stage.run(&pipeline(&name, "good", "good"), &StopSignal::new(), drop).unwrap();
        assert_eq!(summary.rows, 5000, "{name}");
    }
    let summary =
        stage.run(&pipeline("drop", "panic-in-drop", "panic-in-drop"), &StopSignal::new(), drop).unwrap();
    assert_eq!(summary.rows, 5000, "a panic in drop loses nothing");
}

#[test]
fn pipeline_whose_reader_hangs_ends_when_it_is_cancelled() {
    for (behaviour, kinds) in [
        ("wait-in-read", &[ErrorKind::Cancelled][..]),
        ("hang-in-read", &[ErrorKind::Cancelled, ErrorKind::PluginHung]),
    ] {
        let stage = Stage::new();
        let stop = StopSignal::new();
        let cancel = stop.clone();
        let cancelled_at = Arc::new(Mutex::new(None));
        let at = Arc::clone(&cancelled_at);
        let canceller = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(700));
            *at.lock().unwrap() = Some(Instant::now());
            cancel.cancel();
        });
        let result = stage.run(&pipeline(behaviour, behaviour, "good"), &stop, drop);
        canceller.join().unwrap();
        let took = cancelled_at.lock().unwrap().unwrap().elapsed();
        assert!(took < Duration::from_secs(2), "{behaviour}: {took:?}");
        if let Err(error) = result {
            assert!(kinds.contains(&error.kind), "{behaviour}: {error}");
        }
        let summary = stage.run(&pipeline("next", "good", "good"), &StopSignal::new(), drop).unwrap();
        assert_eq!(summary.rows, 5000, "after {behaviour}");
    }
}

#[test]
fn secret_in_the_error_of_a_plugin_is_masked() {
    let stage = Stage::new();
    let parameters = config! { "behaviour": "echo-secret", "password": secret("correct horse battery") };
    let error = stage.hub.connect("fixture", parameters).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Authentication);
    assert!(error.message.starts_with("The server refused password `"), "{error}");
    assert!(!format!("{error:?}").contains("horse"), "{error:?}");
}
