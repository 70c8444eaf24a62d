use std::time::{Duration, Instant};

use hub_plugin_api::{Guarantee, Snapshot};

use super::{Stage, StopSignal, memory::Source, numbers};
use crate::{
    pipeline::{Outcome, RunEvent, RunOptions},
    store::LaneState,
};

#[test]
fn second_run_moves_only_what_is_new() {
    let stage = Stage::new(Source::default());
    let first = stage.run().unwrap();
    assert_eq!((first.rows, first.run, first.guarantee), (100, 1, Some(Guarantee::EffectivelyOnce)));
    let second = stage.run().unwrap();
    assert_eq!((second.rows, second.run), (0, 2));
    stage.memory.source.lock().unwrap().rows = 120;
    let third = stage.run().unwrap();
    assert_eq!((third.rows, third.run), (20, 3));
    assert_eq!(stage.rows(), numbers(120));
    let runs = stage.hub().store().runs("numbers", 10).unwrap();
    assert_eq!(runs.iter().map(|run| run.rows).collect::<Vec<_>>(), [20, 0, 100]);
    assert_eq!(runs[0].guarantee.as_deref(), Some("effectively once"));
}

#[test]
fn from_scratch_reads_everything_again_in_a_new_generation() {
    let stage = Stage::new(Source::default());
    stage.memory.destination.lock().unwrap().idempotent = true;
    stage.run().unwrap();
    let options = RunOptions { from_scratch: true, ..RunOptions::default() };
    let summary = stage.run_with(&options).0.unwrap();
    assert_eq!((summary.rows, summary.generation, summary.run), (100, 2, 1));
    assert_eq!(stage.memory.destination.lock().unwrap().tokens[&0].generation, 2);
}

/// Every commit holds, of every split, exactly the rows up to the position in its token.
#[test]
fn commit_cuts_every_reader_at_a_boundary() {
    let mut stage = Stage::new(Source { splits: 3, batch: 4, rows: 200, ..Source::default() });
    stage.spec.commit.rows = Some(17);
    let (result, events) = stage.run_with(&RunOptions::default());
    result.unwrap();
    let (mut rows, mut commits) = (0, 0);
    for event in events {
        let RunEvent::Committed { rows: count, splits, .. } = event else { continue };
        rows += i64::try_from(count).unwrap();
        commits += 1;
        let at = |k: i64| {
            let split = splits.get(&format!("s{k}-1"));
            split
                .and_then(|split| split.position.as_ref())
                .map_or(0, |position| position.as_value()["at"].as_i64().unwrap())
        };
        let expected: i64 = (0..3).map(|k| (1..=at(k)).filter(|value| value % 3 == k).count() as i64).sum();
        assert_eq!(rows, expected, "commit {commits}");
    }
    assert!(commits > 3, "{commits}");
    assert_eq!(stage.rows(), numbers(200));
}

#[test]
fn reader_without_boundaries_becomes_visible_in_one_step() {
    let mut stage = Stage::new(Source { cursor: false, rows: 500, ..Source::default() });
    stage.spec.commit.rows = Some(10);
    let summary = stage.run().unwrap();
    assert_eq!((summary.rows, summary.commits), (500, 1));
}

#[test]
fn boundary_that_must_be_committed_is_committed_at_once() {
    let mut stage = Stage::new(Source { must_commit: true, ..Source::default() });
    stage.spec.commit.rows = None;
    assert_eq!(stage.run().unwrap().commits, 10);
}

#[test]
fn splits_share_the_lanes_and_every_lane_has_its_token() {
    let mut stage = Stage::new(Source { splits: 6, rows: 3000, ..Source::default() });
    (stage.spec.lanes, stage.spec.parallel) = (3, 6);
    stage.run().unwrap();
    assert_eq!(stage.rows(), numbers(3000));
    let destination = stage.memory.destination.lock().unwrap();
    assert_eq!(destination.finished.len(), 3);
    let splits: usize = destination.tokens.values().map(|token| token.splits.len()).sum();
    assert_eq!(splits, 6);
}

#[test]
fn stream_is_opened_when_its_snapshot_is_committed() {
    let mut stage = Stage::new(Source { splits: 2, stream: Some(vec![-1]), ..Source::default() });
    stage.spec.commit.rows = None;
    let stop = StopSignal::new();
    let (for_events, mut seen) = (stop.clone(), Vec::new());
    let summary = stage.hub().run(&stage.spec, &RunOptions::default(), &stop, |event| match event {
        RunEvent::Opened { split, .. } => {
            if split == "stream" {
                for_events.request();
            }
            seen.push(split);
        }
        RunEvent::Committed { n, .. } => seen.push(format!("commit {n}")),
        _ => {}
    });
    assert_eq!(summary.unwrap().outcome, Outcome::Stopped);
    assert_eq!(seen[..4], ["s0-1", "s1-1", "commit 1", "stream"]);
}

#[test]
fn idle_source_advances_in_the_store_without_a_commit() {
    let source = Source { splits: 0, stream: Some(Vec::new()), idle_positions: true, ..Source::default() };
    let mut stage = Stage::new(Source { snapshot: Snapshot::New, ..source });
    stage.spec.commit.every_ms = 50;
    let stop = StopSignal::new();
    let (for_events, hub, started) = (stop.clone(), stage.hub(), Instant::now());
    let on_event = move |_| {
        let is_stored = |lane: &LaneState| lane.splits.contains_key("stream");
        let stored = hub.store().lanes("numbers").unwrap().get(&0).is_some_and(is_stored);
        if (stored || started.elapsed() > Duration::from_secs(20)) && !for_events.is_requested() {
            for_events.request();
        }
    };
    stage.hub().run(&stage.spec, &RunOptions::default(), &stop, on_event).unwrap();
    assert!(started.elapsed() < Duration::from_secs(20), "the position was stored only at the end");
    let store = stage.hub().store().lanes("numbers").unwrap();
    let position = store[&0].splits["stream"].position.clone().unwrap();
    assert_eq!(position.as_value()["at"], 1000);
    // The one commit is the table's shape.
    let token = stage.memory.destination.lock().unwrap().tokens.get(&0).cloned();
    assert!(stage.commits() <= 1 && store[&0].token.n == token.map_or(0, |token| token.n));
}

#[test]
fn second_run_into_append_without_a_cursor_needs_permission() {
    let mut stage = Stage::new(Source { cursor: false, ..Source::default() });
    stage.run().unwrap();
    let error = stage.run().unwrap_err();
    assert_eq!(error.field.as_deref(), Some("allow_duplicates"));
    assert_eq!(stage.rows(), numbers(100));
    stage.spec.allow_duplicates = true;
    let summary = stage.run().unwrap();
    assert_eq!((summary.rows, summary.guarantee), (100, Some(Guarantee::AtLeastOnce)));
    assert_eq!(stage.rows().len(), 200);
    stage.spec.allow_duplicates = false;
    stage.memory.destination.lock().unwrap().idempotent = true;
    assert_eq!(stage.run().unwrap().rows, 100);
}

#[test]
fn reset_begins_again_and_release_forgets() {
    let stage = Stage::new(Source::default());
    stage.run().unwrap();
    let hub = stage.hub();
    hub.reset(&stage.spec).unwrap();
    assert_eq!(hub.store().pipeline("numbers").unwrap().unwrap().generation, 2);
    hub.release(&stage.spec).unwrap();
    assert!(hub.store().pipeline("numbers").unwrap().is_none());
    assert_eq!(stage.memory.source.lock().unwrap().released, ["numbers", "numbers"]);
}
