use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender},
    },
    time::{Duration, Instant},
};

use hub_plugin_api::{Error, ErrorKind, Result};

use super::{
    RunEvent, StopSignal,
    channel::Doorbell,
    lane::{Attempt, Lane, LaneEnd},
    prepare::Prepared,
    reader::LateCanceller,
    runner::{OnEvent, Run, forward_next},
    schedule::Schedule,
    signals::Signals,
};
use crate::plugins::Task;

/// How often a run tells how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// How often events are looked for, and the stop signal.
const NAP: Duration = Duration::from_millis(20);

/// How long lanes that were cancelled are listened to, before they are given up one by one: longer than a lane itself
/// waits for its readers.
const CANCEL_GRACE: Duration = Duration::from_secs(15);

/// Bytes that may wait between all readers and their lanes. One batch a reader always may.
const QUEUE_BYTES: u64 = 8 << 20;

/// How an attempt ended without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    Completed,
    Stopped,
}

/// Runs the lanes on threads of their own, hands on what they tell, and stops all when one fails.
pub(crate) fn supervise(
    run: &Run<'_>,
    prepared: Prepared,
    lanes: u32,
    events: SyncSender<RunEvent>,
    received: &Receiver<RunEvent>,
    on_event: OnEvent<'_>,
) -> Result<AttemptEnd> {
    let gone = || Error::internal("What was prepared is gone");
    let plan = prepared.plan.into_inner().ok_or_else(gone)?;
    let writers = prepared.writers.into_inner().ok_or_else(gone)?;
    let stop = StopSignal::new();
    let doorbells: Vec<_> = (0..lanes).map(|_| Doorbell::default()).collect();
    let parallel = run.spec.parallel.max(1);
    let attempt = Arc::new(Attempt {
        spec: run.spec.clone(),
        generation: run.generation,
        run: run.number,
        plan: Arc::from(plan),
        source: prepared.source,
        destination: prepared.destination,
        store: Arc::clone(&run.host.store),
        identity: prepared.identity,
        schedule: Schedule::new(
            &prepared.description.splits,
            &prepared.progress,
            parallel,
            doorbells.clone(),
        ),
        signals: Signals::new(&prepared.description.splits),
        stop: stop.clone(),
        progress: Arc::clone(&run.progress),
        events,
        queue_bytes: QUEUE_BYTES / u64::from(parallel),
    });
    let supervisor = attempt.destination.resolved.supervisor.clone();
    let (mut tasks, mut registrations) = (Vec::new(), Vec::new());
    for (((lane, writer), state), doorbell) in (0..).zip(writers).zip(prepared.states).zip(doorbells) {
        let canceller = LateCanceller::default();
        canceller.set(writer.canceller());
        let attempt = Arc::clone(&attempt);
        let task = supervisor.spawn(format!("write lane {lane}"), canceller.canceller(), move || {
            Lane::new(attempt, lane, writer, state, doorbell).run()
        });
        registrations.push(stop.register(task.canceller()));
        tasks.push(task);
    }
    let result = watch(run, &attempt, tasks, received, on_event);
    drop(registrations);
    let source = Arc::clone(&attempt.source);
    let disposed = source.resolved.supervisor.dispose("drop the plan", attempt);
    let end = result?;
    disposed.map_err(|error| source.describe(error))?;
    on_event(run.progress.event());
    Ok(end)
}

fn watch(
    run: &Run<'_>,
    attempt: &Attempt,
    mut tasks: Vec<Task<LaneEnd>>,
    received: &Receiver<RunEvent>,
    on_event: OnEvent<'_>,
) -> Result<AttemptEnd> {
    let stop = &attempt.stop;
    let (mut end, mut failure) = (AttemptEnd::Completed, None);
    let mut last_progress = Instant::now();
    let mut cancelled_since: Option<Instant> = None;
    while !tasks.is_empty() {
        forward_next(received, NAP, on_event);
        if run.stop.is_requested() && !stop.is_requested() {
            stop.request();
        }
        if run.stop.is_cancelled() || failure.is_some() {
            // Again and again: a plugin may miss one that comes before it blocks.
            let since = *cancelled_since.get_or_insert_with(Instant::now);
            stop.cancel();
            if since.elapsed() > CANCEL_GRACE {
                break;
            }
        }
        if last_progress.elapsed() >= PROGRESS_EVERY {
            last_progress = Instant::now();
            on_event(run.progress.event());
            if let Err(error) = attempt.look_for_signals() {
                tracing::warn!(%error, "The hub could not look for signals");
            }
        }
        for index in (0..tasks.len()).rev() {
            if tasks[index].is_finished() {
                note(tasks.swap_remove(index), &mut end, &mut failure);
            }
        }
    }
    tasks.into_iter().for_each(|task| note(task, &mut end, &mut failure));
    match failure {
        // The user's own wish, however it came back.
        Some(_) if run.stop.is_cancelled() => Err(Error::new(ErrorKind::Cancelled, "The run was cancelled")
            .with_hint("What was committed stays; the next run goes on there")),
        Some(error) => Err(error),
        None => Ok(end),
    }
}

fn note(task: Task<LaneEnd>, end: &mut AttemptEnd, failure: &mut Option<Error>) {
    match task.wait(None) {
        Ok(LaneEnd::Completed) => {}
        Ok(LaneEnd::Stopped) => *end = AttemptEnd::Stopped,
        // The others are cancelled because of the first failure: theirs say nothing.
        Err(error) => match failure {
            None => *failure = Some(error),
            Some(first) if first.kind == ErrorKind::Cancelled => *first = error,
            Some(_) => {}
        },
    }
}
