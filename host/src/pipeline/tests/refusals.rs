use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::datatypes::{DataType, Field, Schema};
use hub_plugin_api::{ErrorKind, Secret, StartAt};

use super::{
    Stage, StopSignal,
    memory::{Fault, Source},
    numbers,
};
use crate::{
    ConnectionConfig, Strategy,
    pipeline::{OnRejected, RunEvent, RunOptions, SecretReference, Side},
};

#[test]
fn refused_row_stops_the_run_by_default() {
    let stage = Stage::new(Source::default());
    stage.memory.destination.lock().unwrap().refuse.insert(42);
    let error = stage.run().unwrap_err();
    assert_eq!(error.kind, ErrorKind::ConstraintViolated);
    assert_eq!(
        error.message,
        "The destination refused row 11 since the last commit of `t`: 42 is not wanted"
    );
    assert_eq!(stage.rows(), numbers(30));
}

#[test]
fn refused_rows_are_kept_once_and_the_rest_goes_on() {
    let mut stage = Stage::new(Source { reject: Some(77), ..Source::default() });
    stage.spec.on_rejected = OnRejected::DeadLetter;
    stage.memory.destination.lock().unwrap().refuse.extend([42, 43]);
    // The crash comes when the refused rows are kept and their token is not durable.
    stage.memory.destination.lock().unwrap().faults.planned.push(Fault {
        step: "before commit",
        call: 2,
        kind: ErrorKind::Internal,
    });
    assert!(stage.run().is_err());
    let (summary, events) = stage.run_with(&RunOptions::default());
    let summary = summary.unwrap();
    assert_eq!((summary.rows, summary.dead_letters), (67, 3));
    let expected: Vec<i64> = numbers(100).into_iter().filter(|value| ![42, 43, 77].contains(value)).collect();
    assert_eq!(stage.rows(), expected);
    let letters = stage.hub().store().dead_letters("numbers", 0, 10).unwrap();
    let letters: Vec<_> = letters.into_iter().map(|(_, letter)| (letter.side, letter.payload)).collect();
    let expected = [("destination", r#"{"id":"42"}"#), ("destination", r#"{"id":"43"}"#), ("source", "77")];
    assert_eq!(letters, expected.map(|(side, payload)| (String::from(side), String::from(payload))));
    assert_eq!(events.iter().filter(|event| matches!(event, RunEvent::Rejected { .. })).count(), 3);
}

#[test]
fn row_that_the_source_gave_up_on_stops_the_run_by_default() {
    let stage = Stage::new(Source { reject: Some(5), ..Source::default() });
    assert_eq!(stage.run().unwrap_err().message, "The source refused a row of `t`: it is odd");
}

#[test]
fn type_outside_the_table_is_refused_by_name() {
    let schema = Schema::new(vec![Field::new("id", DataType::LargeUtf8, true)]);
    let stage = Stage::new(Source { schema: Some(Arc::new(schema)), ..Source::default() });
    let error = stage.run().unwrap_err();
    assert_eq!(error.kind, ErrorKind::UnsupportedType);
    assert!(error.message.starts_with("Column `id`: "), "{error}");
}

#[test]
fn rows_that_do_not_fit_their_schema_are_refused() {
    let schema = Schema::new(vec![Field::new("id", DataType::Utf8, true)]);
    let stage = Stage::new(Source { schema: Some(Arc::new(schema)), ..Source::default() });
    assert_eq!(stage.run().unwrap_err().kind, ErrorKind::Protocol);
}

#[test]
fn other_server_is_refused_unless_everything_is_read_again() {
    let stage = Stage::new(Source::default());
    stage.run().unwrap();
    stage.memory.source.lock().unwrap().identity = "server 2".into();
    let error = stage.run().unwrap_err();
    assert_eq!(error.kind, ErrorKind::PositionLost);
    assert!(error.message.contains("server `server 1`, the source is now `server 2`"), "{error}");
    stage.memory.destination.lock().unwrap().idempotent = true;
    let options = RunOptions { from_scratch: true, ..RunOptions::default() };
    stage.run_with(&options).0.unwrap();
}

#[test]
fn start_is_fixed_once_the_pipeline_has_begun() {
    let stage = Stage::new(Source::default());
    let options = RunOptions { start_at: Some(StartAt::Latest), ..RunOptions::default() };
    stage.run_with(&options).0.unwrap();
    assert_eq!(stage.run_with(&options).0.unwrap_err().field.as_deref(), Some("start_at"));
}

#[test]
fn secret_reaches_the_plugin_and_nobody_else() {
    let mut stage = Stage::new(Source::default());
    let secret = SecretReference::Literal(Secret::new("hunter2!"));
    stage.spec.source.secrets.insert("password".into(), secret);
    stage.memory.source.lock().unwrap().faults.planned.push(Fault {
        step: "connect",
        call: 1,
        kind: ErrorKind::Authentication,
    });
    let (result, events) = stage.run_with(&RunOptions::default());
    let shown = format!(
        "{result:?} {} {:?}",
        serde_json::to_string(&events).unwrap(),
        stage.hub().store().runs("numbers", 1)
    );
    assert!(shown.contains("Could not use ***") && !shown.contains("hunter2"), "{shown}");
    stage.run().unwrap();
}

#[test]
fn secret_that_cannot_be_found_names_the_parameter() {
    let mut stage = Stage::new(Source::default());
    let secret = SecretReference::Env("CONNECTOR_HUB_TEST_NO_SUCH_VARIABLE".into());
    stage.spec.source.secrets.insert("password".into(), secret);
    assert_eq!(stage.run().unwrap_err().field.as_deref(), Some("password"));
}

#[test]
fn pipeline_runs_once_at_a_time() {
    let stage = Stage::new(Source::default());
    let hub = stage.hub();
    let _held = hub.store().lock_pipeline("numbers").unwrap();
    assert_eq!(stage.run().unwrap_err().message, "Pipeline `numbers` is already running");
}

#[test]
fn plugin_that_panics_fails_the_run_only() {
    let stage = Stage::new(Source::default());
    stage.memory.source.lock().unwrap().faults.planned.push(Fault {
        step: "next",
        call: 5,
        kind: ErrorKind::PluginPanicked,
    });
    let error = stage.run().unwrap_err();
    assert_eq!(error.kind, ErrorKind::PluginPanicked);
    assert!(error.to_string().contains("Panic of the reader"), "{error}");
    stage.run().unwrap();
    assert_eq!(stage.rows(), numbers(100));
}

#[test]
fn second_request_ends_the_run_without_a_commit() {
    let stage = Stage::new(Source { splits: 0, stream: Some(vec![-1]), ..Source::default() });
    let stop = StopSignal::new();
    let for_events = stop.clone();
    let result = stage.hub().run(&stage.spec, &RunOptions::default(), &stop, move |event| {
        if matches!(event, RunEvent::Opened { .. }) {
            for_events.request();
            for_events.request();
        }
    });
    assert_eq!(result.unwrap_err().kind, ErrorKind::Cancelled);
    assert!(stage.rows().is_empty());
}

#[test]
fn reader_that_hangs_is_given_up_and_the_rest_goes_on() {
    let stage = Stage::new(Source { hang_at: Some(50), ..Source::default() });
    let stop = StopSignal::new();
    let (for_events, started) = (stop.clone(), Instant::now());
    let result = stage.hub().run(&stage.spec, &RunOptions::default(), &stop, move |event| {
        if matches!(event, RunEvent::Committed { .. }) {
            for_events.cancel();
        }
    });
    assert_eq!(result.unwrap_err().kind, ErrorKind::Cancelled);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(stage.memory.supervisor.abandoned(), 1);
    stage.memory.source.lock().unwrap().hang_at = None;
    stage.run().unwrap();
    assert_eq!(stage.rows(), numbers(100));
}

#[test]
fn spilled_rows_go_with_the_run_also_those_of_a_process_that_died() {
    let stage = Stage::new(Source::default());
    let spill = stage.hub().paths().spill_dir().join("numbers");
    std::fs::create_dir_all(spill.join("left")).unwrap();
    stage.run().unwrap();
    assert_eq!(spill.read_dir().map_or(0, Iterator::count), 0);
}

#[test]
fn run_whose_process_died_is_noted_by_the_next() {
    let stage = Stage::new(Source::default());
    stage.hub().store().begin_run("numbers", 1, 1).unwrap();
    stage.run().unwrap();
    let outcomes: Vec<_> =
        stage.hub().store().runs("numbers", 9).unwrap().into_iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, [Some("completed".into()), Some("interrupted".into())]);
}

#[test]
fn preview_and_read_take_rows_outside_a_pipeline() {
    let stage = Stage::new(Source { splits: 2, ..Source::default() });
    let hub = stage.hub();
    let preview = hub.preview(&stage.spec.source, 7).unwrap();
    assert!(preview.more);
    assert_eq!(preview.streams[0].batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 7);
    let connection = hub.connect("memory", ConnectionConfig::new()).unwrap();
    let batches = connection.read(Strategy::new("query")).unwrap();
    assert_eq!(batches.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 100);
    assert_eq!(stage.memory.source.lock().unwrap().released.len(), 1);
    let report = hub.check(&stage.spec.source, |_| {}).unwrap();
    assert!(report.passed() && report.steps.len() == 1);
    assert_eq!(Side::Source.as_str(), "source");
}
