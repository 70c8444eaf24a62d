use hub_plugin_api::{ErrorKind, Snapshot};

use super::{
    Stage,
    memory::{Fault, Source},
    numbers,
};
use crate::pipeline::{OnLostSnapshot, RetrySpec, RunEvent, RunOptions, Trust};

fn crash(step: &'static str, call: u32) -> Fault {
    Fault { step, call, kind: ErrorKind::Internal }
}

fn plan_fault(stage: &Stage, fault: &Fault) {
    stage.memory.source.lock().unwrap().faults.planned.push(fault.clone());
    stage.memory.destination.lock().unwrap().faults.planned.push(fault.clone());
}

fn forget_faults(stage: &Stage) {
    stage.memory.source.lock().unwrap().faults.planned.clear();
    stage.memory.destination.lock().unwrap().faults.planned.clear();
}

/// Runs with a fault at every call of every step, each followed by a run of a new hub: nothing may be lost or doubled.
fn survives_every_crash(make: impl Fn() -> Stage) {
    let steps = [
        "plan",
        "writer",
        "open",
        "next",
        "acknowledge",
        "write",
        "flush",
        "before commit",
        "after commit",
        "before finish",
        "after finish",
    ];
    let mut crashes = 0;
    for step in steps {
        for call in [1, 2, 3, 4, 5, 8, 13] {
            let stage = make();
            plan_fault(&stage, &crash(step, call));
            let first = stage.run();
            let failed = first.is_err();
            crashes += u32::from(failed);
            let fired = stage.memory.source.lock().unwrap().faults.planned.len()
                + stage.memory.destination.lock().unwrap().faults.planned.len()
                < 2;
            forget_faults(&stage);
            if failed {
                stage.run().unwrap_or_else(|error| panic!("after {step} {call}: {error:?}"));
            }
            assert_eq!(stage.rows(), numbers(100), "after {step} {call}");
            if !fired {
                break;
            }
        }
    }
    assert!(crashes >= 15, "{crashes} crashes are too few to show anything");
}

#[test]
fn rows_are_there_once_after_a_crash_at_every_step_with_a_cursor() {
    survives_every_crash(|| Stage::new(Source::default()));
}

#[test]
fn rows_are_there_once_after_a_crash_at_every_step_without_a_cursor() {
    survives_every_crash(|| Stage::new(Source { cursor: false, splits: 3, ..Source::default() }));
}

#[test]
fn rows_are_there_once_after_a_crash_at_every_step_over_several_lanes() {
    survives_every_crash(|| {
        let mut stage = Stage::new(Source { splits: 5, batch: 3, ..Source::default() });
        (stage.spec.lanes, stage.spec.parallel) = (2, 3);
        stage
    });
}

#[test]
fn rows_are_there_once_after_a_crash_at_every_step_when_the_end_stores_a_token() {
    survives_every_crash(|| {
        let stage = Stage::new(Source::default());
        stage.memory.destination.lock().unwrap().stores_at_finish = true;
        stage
    });
}

#[test]
fn failure_that_may_pass_is_tried_again_within_the_run() {
    let mut stage = Stage::new(Source { splits: 2, ..Source::default() });
    stage.spec.retry = RetrySpec { attempts: 3, first_delay_ms: 1, max_delay_ms: 5 };
    for (step, call) in [("next", 3), ("before commit", 2), ("after commit", 4), ("writer", 2), ("plan", 4)] {
        plan_fault(&stage, &Fault { step, call, kind: ErrorKind::Network });
    }
    let (result, events) = stage.run_with(&RunOptions::default());
    assert_eq!(result.unwrap().run, 1);
    assert_eq!(stage.rows(), numbers(100));
    let left = stage.memory.source.lock().unwrap().faults.planned.len()
        + stage.memory.destination.lock().unwrap().faults.planned.len();
    let retries = events.iter().filter(|event| matches!(event, RunEvent::Retrying { .. })).count();
    // Each fault is planned on both sides and happens on one; how many commits there are is a matter of time.
    assert!(retries >= 3 && retries == 10 - left, "{retries} retries, {left} faults left");
}

#[test]
fn failure_that_goes_on_ends_the_run_after_its_attempts() {
    let mut stage = Stage::new(Source::default());
    stage.spec.retry = RetrySpec { attempts: 2, first_delay_ms: 1, max_delay_ms: 1 };
    for call in 1..10 {
        plan_fault(&stage, &Fault { step: "open", call, kind: ErrorKind::Unavailable });
    }
    let (result, events) = stage.run_with(&RunOptions::default());
    assert_eq!(result.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(events.iter().filter(|event| matches!(event, RunEvent::Retrying { .. })).count(), 2);
    assert!(matches!(events.last(), Some(RunEvent::Failed { .. })));
}

#[test]
fn source_hears_only_of_what_destination_and_store_have() {
    let stage = Stage::new(Source { splits: 2, ..Source::default() });
    let hub = stage.hub();
    let (destination, store_hub) = (stage.memory.destination.clone(), hub.clone());
    stage.memory.source.lock().unwrap().on_acknowledge = Some(std::sync::Arc::new(move || {
        // The store first: the lane goes on while this is looked at.
        let stored = store_hub.store().lanes("numbers").unwrap()[&0].token.n;
        let durable = destination.lock().unwrap().tokens[&0].n;
        assert!(stored >= 1 && durable >= stored, "store has {stored}, destination {durable}");
    }));
    hub.run(&stage.spec, &RunOptions::default(), &super::StopSignal::new(), |_| {}).unwrap();
    let acknowledged = stage.memory.source.lock().unwrap().acknowledged.clone();
    // The last boundary of each split: after five batches of ten, or after the end.
    assert!(
        acknowledged.contains(&("s0-1".into(), 6)) && acknowledged.contains(&("s1-1".into(), 6)),
        "{acknowledged:?}"
    );
}

#[test]
fn lost_snapshot_follows_the_policy() {
    let interrupted = |policy| {
        let mut stage = Stage::new(Source { snapshot: Snapshot::New, carries: false, ..Source::default() });
        stage.spec.on_lost_snapshot = policy;
        plan_fault(&stage, &crash("before commit", 2));
        assert!(stage.run().is_err());
        assert_eq!(stage.rows().len(), 30);
        stage
    };
    let error = interrupted(OnLostSnapshot::Stop).run().unwrap_err();
    assert_eq!(error.kind, ErrorKind::SnapshotLost);
    let mixed = interrupted(OnLostSnapshot::Mixed);
    mixed.run().unwrap();
    assert_eq!(mixed.rows(), numbers(100));
    // Into `append` everything again would double rows; nothing is given up for that.
    let restart = interrupted(OnLostSnapshot::Restart);
    assert_eq!(restart.run().unwrap_err().field.as_deref(), Some("allow_duplicates"));
    assert!(restart.memory.source.lock().unwrap().released.is_empty());
    restart.memory.destination.lock().unwrap().idempotent = true;
    let summary = restart.run().unwrap();
    assert_eq!((summary.generation, summary.rows), (2, 100));
    assert_eq!(restart.memory.source.lock().unwrap().released, ["numbers"]);
}

#[test]
fn disagreement_stops_and_the_user_chooses() {
    let disagree = || {
        let stage = Stage::new(Source::default());
        plan_fault(&stage, &crash("before commit", 3));
        assert!(stage.run().is_err());
        // The destination was restored from a backup of the time before the last commit.
        let mut destination = stage.memory.destination.lock().unwrap();
        let token = destination.tokens.get_mut(&0).unwrap();
        let position = hub_plugin_api::Position::from(serde_json::json!({"v": 1, "at": 30}));
        token.n = 1;
        token.splits.get_mut("s0-1").unwrap().position = Some(position);
        destination.rows.truncate(30);
        drop(destination);
        stage
    };
    let stage = disagree();
    let error = stage.run().unwrap_err();
    assert_eq!(error.kind, ErrorKind::TokenConflict);
    assert!(error.message.contains("the store has token 1.2, the destination 1.1"), "{error}");
    let trust = |trust| RunOptions { trust: Some(trust), ..RunOptions::default() };
    stage.run_with(&trust(Trust::Destination)).0.unwrap();
    assert_eq!(stage.rows(), numbers(100));
    let stage = disagree();
    stage.run_with(&trust(Trust::Store)).0.unwrap();
    // What the user asked for: the hub's own positions, although the rows before them are gone.
    assert_eq!(stage.rows(), [numbers(30), (61..=100).collect()].concat());
    let stage = disagree();
    stage.memory.destination.lock().unwrap().idempotent = true;
    let from_scratch = RunOptions { from_scratch: true, ..RunOptions::default() };
    assert_eq!(stage.run_with(&from_scratch).0.unwrap().rows, 100);
}

#[test]
fn store_that_is_lost_stops_and_the_destination_can_be_trusted() {
    let lose_store = || {
        let mut stage = Stage::new(Source::default());
        plan_fault(&stage, &crash("before commit", 3));
        assert!(stage.run().is_err());
        stage.home = tempfile::tempdir().unwrap();
        stage
    };
    let stage = lose_store();
    for _ in 0..2 {
        assert_eq!(stage.run().unwrap_err().kind, ErrorKind::TokenConflict);
    }
    let options = RunOptions { trust: Some(Trust::Destination), ..RunOptions::default() };
    stage.run_with(&options).0.unwrap();
    assert_eq!(stage.rows(), numbers(100));
    let stage = lose_store();
    stage.memory.destination.lock().unwrap().idempotent = true;
    let options = RunOptions { from_scratch: true, ..RunOptions::default() };
    let summary = stage.run_with(&options).0.unwrap();
    assert_eq!((summary.generation, summary.rows), (2, 100));
}

/// Runs until so many rows were taken from the source, and then asks to stop.
fn run_until(stage: &Stage, wanted: u64) -> crate::pipeline::RunSummary {
    let stop = super::StopSignal::new();
    let for_events = stop.clone();
    let on_event = move |event| {
        if matches!(event, RunEvent::Progress { rows, .. } if rows >= wanted) && !for_events.is_requested() {
            for_events.request();
        }
    };
    stage.hub().run(&stage.spec, &RunOptions::default(), &stop, on_event).unwrap()
}

#[test]
fn stop_signal_commits_what_was_read() {
    // A commit of the stream's rows is far from due.
    let stage = Stage::new(Source { stream: Some(vec![-1, -2, -3]), ..Source::default() });
    let summary = run_until(&stage, 103);
    assert_eq!((summary.outcome, summary.rows), (crate::pipeline::Outcome::Stopped, 103));
    stage.memory.source.lock().unwrap().stream = Some(vec![-1, -2, -3, -4]);
    let summary = run_until(&stage, 1);
    assert_eq!((summary.rows, summary.run), (1, 1), "a stopped run goes on as the same run");
    assert_eq!(stage.memory.source.lock().unwrap().opened, ["s0-1", "stream", "stream"]);
    assert_eq!(stage.rows(), [vec![-4, -3, -2, -1], numbers(100)].concat());
}
