mod crashes;
mod delivery;
mod memory;
mod refusals;
mod signals;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use hub_plugin_api::{Config, Result, Split, Value};

use self::memory::{Memory, Source};
use super::{
    CommitSpec, EndpointSpec, OnLostSnapshot, OnRejected, PipelineSpec, RetrySpec, RunEvent, RunOptions,
    RunSummary, StopSignal,
};
use crate::Hub;

/// A split that waits for others.
pub(super) fn split(id: &str, bounded: bool, after: &[&str]) -> Split {
    Split {
        id: id.into(),
        streams: Vec::new(),
        bounded,
        after: after.iter().map(|id| String::from(*id)).collect(),
        opaque: Value::Null,
        portable: false,
        estimated_rows: None,
    }
}

/// A pipeline in memory, whose hub can be thrown away and opened again.
struct Stage {
    memory: Memory,
    spec: PipelineSpec,
    home: tempfile::TempDir,
}

impl Stage {
    fn new(source: Source) -> Self {
        let endpoint = |strategy: &str| EndpointSpec {
            connector: "memory".into(),
            config: Config::new(),
            secrets: BTreeMap::new(),
            strategy: strategy.into(),
            options: Config::new(),
        };
        let spec = PipelineSpec {
            version: 1,
            name: "numbers".into(),
            source: endpoint("query"),
            destination: endpoint("write"),
            commit: CommitSpec { every_ms: 60_000, bytes: u64::MAX, rows: Some(30) },
            on_rejected: OnRejected::Stop,
            on_lost_snapshot: OnLostSnapshot::Stop,
            allow_duplicates: false,
            lanes: 1,
            parallel: 4,
            retry: RetrySpec { attempts: 0, first_delay_ms: 1, max_delay_ms: 2 },
        };
        Self { memory: Memory::new(source), spec, home: tempfile::tempdir().unwrap() }
    }

    fn hub(&self) -> Hub {
        hub(&self.memory, self.home.path())
    }

    /// Runs with a hub of its own, as a new process would.
    fn run_with(&self, options: &RunOptions) -> (Result<RunSummary>, Vec<RunEvent>) {
        let mut events = Vec::new();
        let result = self.hub().run(&self.spec, options, &StopSignal::new(), |event| events.push(event));
        (result, events)
    }

    fn run(&self) -> Result<RunSummary> {
        self.run_with(&RunOptions::default()).0
    }

    /// What is at the destination, sorted.
    fn rows(&self) -> Vec<i64> {
        let mut rows = self.memory.destination.lock().unwrap().rows.clone();
        rows.sort_unstable();
        rows
    }

    fn commits(&self) -> u32 {
        self.memory.destination.lock().unwrap().commits
    }
}

fn hub(memory: &Memory, home: &Path) -> Hub {
    Hub::builder().home(home).catalog(Arc::new(memory.clone())).build().unwrap()
}

fn numbers(to: i64) -> Vec<i64> {
    (1..=to).collect()
}
