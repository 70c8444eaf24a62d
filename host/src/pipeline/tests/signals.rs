use std::time::{Duration, Instant};

use hub_plugin_api::{
    Error, ErrorKind, Signal, Snapshot,
    types::{self, Column, LogicalType},
};

use super::{
    Stage, StopSignal,
    memory::{Fault, Source, schema},
};
use crate::{
    pipeline::{RunEvent, RunOptions},
    store::SignalState,
};

fn stage() -> Stage {
    let source = Source { splits: 0, stream: Some(Vec::new()), ..Source::default() };
    let mut stage = Stage::new(Source { snapshot: Snapshot::New, ..source });
    stage.spec.commit.every_ms = 50;
    stage
}

fn snapshot() -> Signal {
    Signal::snapshot(&["t".into()])
}

/// Runs until so many signals were answered.
fn answers(stage: &Stage, signals: &[Signal]) -> Vec<Option<Error>> {
    let (stop, hub, started) = (StopSignal::new(), stage.hub(), Instant::now());
    let (for_events, mut answers, mut given, mut stopping) = (stop.clone(), Vec::new(), false, false);
    let on_event = |event| {
        if let RunEvent::Opened { .. } = &event
            && !std::mem::replace(&mut given, true)
        {
            for signal in signals {
                hub.signal("numbers", signal).unwrap();
            }
        }
        if let RunEvent::Signal { refused, .. } = event {
            answers.push(refused);
        }
        // Asked for once: asked for twice, a run does not wait for its commit.
        let done = answers.len() >= signals.len() || started.elapsed() > Duration::from_secs(20);
        if done && !std::mem::replace(&mut stopping, true) {
            for_events.request();
        }
    };
    stage.hub().run(&stage.spec, &RunOptions::default(), &stop, on_event).unwrap();
    answers
}

#[test]
fn signal_is_taken_when_a_position_behind_it_is_durable() {
    let stage = stage();
    assert_eq!(stage.hub().signal("numbers", &snapshot()).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(answers(&stage, &[snapshot()]), [None]);
    let store = stage.hub();
    let store = store.store();
    assert_eq!(store.signals("numbers", None).unwrap()[0].state, SignalState::Taken);
    assert_eq!(
        store.lanes("numbers").unwrap()[&0].splits["stream"].position.as_ref().unwrap().as_value()["at"],
        1
    );
    // The next run is not given it again.
    answers(&stage, &[]);
    assert_eq!(stage.memory.source.lock().unwrap().signals.len(), 1);
}

#[test]
fn signal_is_given_again_when_the_reader_fails_before_its_position_is_durable() {
    let mut stage = stage();
    stage.spec.retry.attempts = 3;
    let fault = |step, call| Fault { step, call, kind: ErrorKind::Unavailable };
    stage.memory.source.lock().unwrap().faults.planned.push(fault("signal", 1));
    stage.memory.destination.lock().unwrap().faults.planned.push(fault("before commit", 2));
    stage.memory.source.lock().unwrap().faults.planned.push(fault("acknowledge", 2));
    assert_eq!(answers(&stage, &[snapshot()]), [None]);
    let given = stage.memory.source.lock().unwrap().signals.len();
    assert!(given >= 2, "given {given} times");
}

#[test]
fn signal_that_the_source_refuses_does_not_end_the_run() {
    let stage = stage();
    let unknown = Signal { kind: "dance".into(), arguments: serde_json::Value::Null };
    let answers = answers(&stage, &[unknown, snapshot()]);
    assert_eq!(answers[0].as_ref().unwrap().kind, ErrorKind::Unsupported);
    assert_eq!(answers[1], None);
    let records = stage.hub().store().signals("numbers", None).unwrap();
    assert!(records[0].reason.as_ref().unwrap().contains("`dance`"), "{records:?}");
}

#[test]
fn signal_to_a_pipeline_without_a_stream_is_refused() {
    let stage = Stage::new(Source { hang_at: None, ..Source::default() });
    stage.run().unwrap();
    stage.memory.source.lock().unwrap().rows = 200_000;
    let answers = answers(&stage, &[snapshot()]);
    assert_eq!(answers[0].as_ref().unwrap().kind, ErrorKind::Unsupported);
}

#[test]
fn shape_that_comes_back_after_another_one_is_told_again() {
    let wide = types::schema_of(&[
        Column::new("id", LogicalType::Int64).key(0),
        Column::new("more", LogicalType::Int64),
    ]);
    let stage = Stage::new(Source { shapes: vec![schema(), wide.clone()], ..Source::default() });
    stage.run().unwrap();
    assert_eq!(stage.memory.destination.lock().unwrap().shapes, [schema(), wide, schema()]);
    assert_eq!(stage.rows(), super::numbers(100));
}
