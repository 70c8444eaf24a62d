use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use hub_plugin_api::{Split, StreamId};

use super::{RunEvent, SplitCount};

/// What a run counts, shared by all lanes and over all attempts.
pub(crate) struct Progress {
    started: Instant,
    counts: Mutex<Counts>,
}

/// What was counted so far.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    pub(crate) committed_rows: u64,
    pub(crate) committed_bytes: u64,
    pub(crate) commits: u64,
    pub(crate) dead_letters: u64,
    pub(crate) streams: BTreeMap<String, u64>,
    /// Read, but not yet committed, in this attempt.
    pending_rows: u64,
    pending_bytes: u64,
    splits: BTreeMap<String, SplitCount>,
}

/// What one commit made durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommitCount {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) dead_letters: u64,
    pub(crate) streams: BTreeMap<StreamId, u64>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), counts: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn opened(&self, split: &Split) {
        self.lock().splits.entry(split.id.clone()).or_insert_with(|| SplitCount {
            id: split.id.clone(),
            rows: 0,
            bytes: 0,
            finished: false,
            estimated_rows: split.estimated_rows,
        });
    }

    pub(crate) fn read(&self, split: &str, rows: u64, bytes: u64) {
        let mut counts = self.lock();
        counts.pending_rows += rows;
        counts.pending_bytes += bytes;
        if let Some(count) = counts.splits.get_mut(split) {
            count.rows += rows;
            count.bytes += bytes;
        }
    }

    pub(crate) fn finished(&self, split: &str) {
        if let Some(count) = self.lock().splits.get_mut(split) {
            count.finished = true;
        }
    }

    pub(crate) fn committed(&self, commit: &CommitCount) {
        let mut counts = self.lock();
        counts.commits += 1;
        counts.dead_letters += commit.dead_letters;
        counts.committed_rows += commit.rows;
        counts.committed_bytes += commit.bytes;
        counts.pending_rows = counts.pending_rows.saturating_sub(commit.rows + commit.dead_letters);
        counts.pending_bytes = counts.pending_bytes.saturating_sub(commit.bytes);
        for (stream, rows) in &commit.streams {
            *counts.streams.entry(stream.to_string()).or_default() += rows;
        }
    }

    /// What was read and not committed is read again.
    pub(crate) fn rolled_back(&self) {
        let mut counts = self.lock();
        (counts.pending_rows, counts.pending_bytes) = (0, 0);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn event(&self) -> RunEvent {
        let counts = self.counts();
        RunEvent::Progress {
            rows: counts.committed_rows + counts.pending_rows,
            bytes: counts.committed_bytes + counts.pending_bytes,
            committed_rows: counts.committed_rows,
            splits: counts.splits.into_values().collect(),
            elapsed_ms: self.elapsed_ms(),
        }
    }
}
