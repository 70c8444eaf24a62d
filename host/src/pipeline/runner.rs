use std::{
    fs, io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use hub_plugin_api::{Error, ErrorKind, Guarantee, Result};

use super::{
    Outcome, PipelineSpec, RunEvent, RunOptions, RunSummary, Side, StopSignal,
    endpoint::{Host, Purpose},
    masks::Masks,
    prepare::{Prepared, prepare},
    progress::Progress,
    retry::Retry,
    supervise::{AttemptEnd, supervise},
};
use crate::store::{PipelineState, RunEnd};

/// Events that may wait for whoever started the run.
const MAX_EVENTS: usize = 256;

/// How often the run looks for a stop signal while it waits.
const NAP: Duration = Duration::from_millis(50);

/// Takes what a run tells.
pub(crate) type OnEvent<'a> = &'a mut dyn FnMut(RunEvent);

/// What stays the same over all attempts of a run.
pub(crate) struct Run<'a> {
    pub(crate) host: &'a Host,
    pub(crate) spec: &'a PipelineSpec,
    pub(crate) options: &'a RunOptions,
    pub(crate) stop: &'a StopSignal,
    pub(crate) id: i64,
    pub(crate) masks: Masks,
    pub(crate) progress: Arc<Progress>,
    /// Everything is still to be read again.
    pub(crate) from_scratch: bool,
    /// An attempt got as far as its first row.
    pub(crate) begun: bool,
    pub(crate) generation: u64,
    pub(crate) number: u64,
    pub(crate) guarantee: Option<Guarantee>,
}

/// Runs a pipeline to its end. See [`crate::Hub::run`].
pub(crate) fn run(
    host: &Host,
    spec: &PipelineSpec,
    options: &RunOptions,
    stop: &StopSignal,
    on_event: OnEvent<'_>,
) -> Result<RunSummary> {
    let result = run_locked(host, spec, options, stop, on_event);
    match &result {
        Ok(summary) => on_event(RunEvent::Finished { summary: summary.clone() }),
        Err(error) => on_event(RunEvent::Failed { error: error.clone() }),
    }
    result
}

fn run_locked(
    host: &Host,
    spec: &PipelineSpec,
    options: &RunOptions,
    stop: &StopSignal,
    on_event: OnEvent<'_>,
) -> Result<RunSummary> {
    let _lock = host.store.lock_pipeline(&spec.name)?;
    remove_spills(host, spec);
    let state = host.store.pipeline(&spec.name)?;
    let (generation, number) = state.map_or((1, 1), |state| (state.generation, state.completed_runs + 1));
    let resumed = !options.from_scratch && host.store.plan(&spec.name, generation, number)?.is_some();
    let id = host.store.begin_run(&spec.name, generation, number)?;
    on_event(RunEvent::Started { run_id: id, pipeline: spec.name.clone(), generation, run: number, resumed });
    let mut run = Run {
        host,
        spec,
        options,
        stop,
        id,
        masks: Masks::default(),
        progress: Arc::new(Progress::new()),
        from_scratch: options.from_scratch,
        begun: false,
        generation,
        number,
        guarantee: None,
    };
    let result = run.attempts(on_event).map_err(|error| error.with_context("pipeline", &spec.name));
    let counts = run.progress.counts();
    let outcome = match &result {
        Ok(Outcome::Completed) => "completed",
        Ok(Outcome::Stopped) => "stopped",
        Err(_) => "failed",
    };
    let end = RunEnd {
        outcome: outcome.into(),
        rows: counts.committed_rows,
        bytes: counts.committed_bytes,
        dead_letters: counts.dead_letters,
        error: result.as_ref().err().cloned(),
    };
    let noted = host.store.end_run(id, &end);
    let outcome = result?;
    noted?;
    Ok(RunSummary {
        run_id: id,
        pipeline: spec.name.clone(),
        generation: run.generation,
        run: run.number,
        outcome,
        rows: counts.committed_rows,
        bytes: counts.committed_bytes,
        commits: counts.commits,
        dead_letters: counts.dead_letters,
        guarantee: run.guarantee,
        streams: counts.streams,
        elapsed_ms: run.progress.elapsed_ms(),
    })
}

/// What a process that died has spilled is of no use to anyone.
fn remove_spills(host: &Host, spec: &PipelineSpec) {
    let directory = host.spill_dir(Some(&spec.name));
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(directory = %directory.display(), %error, "Spilled rows could not be removed");
        }
        _ => {}
    }
}

impl Run<'_> {
    /// Attempts until one ends well, a failure is not worth another one, or there were enough.
    fn attempts(&mut self, on_event: OnEvent<'_>) -> Result<Outcome> {
        let mut retry = Retry::new(self.spec.retry);
        loop {
            let error = match self.attempt(on_event) {
                Ok(outcome) => return Ok(outcome),
                Err(error) => self.masks.error(error),
            };
            self.progress.rolled_back();
            if !error.kind.is_retryable() || self.stop.is_requested() {
                return Err(error);
            }
            let Some((attempt, delay)) = retry.after_failure(self.progress.counts().commits) else {
                return Err(error);
            };
            let (attempts, delay_ms) = (self.spec.retry.attempts, delay.as_millis() as u64);
            on_event(RunEvent::Retrying { attempt, attempts, delay_ms, error });
            let until = Instant::now() + delay;
            while Instant::now() < until {
                if self.stop.is_requested() {
                    return Ok(Outcome::Stopped);
                }
                thread::sleep(NAP.min(until.saturating_duration_since(Instant::now())));
            }
        }
    }

    /// Connects both sides, makes the plan, and moves rows until everything is committed.
    fn attempt(&mut self, on_event: OnEvent<'_>) -> Result<Outcome> {
        let (events, received) = sync_channel(MAX_EVENTS);
        let metrics = events.clone();
        let purpose = |side| Purpose {
            pipeline: Some(&self.spec.name),
            side,
            stop: self.stop,
            masks: self.masks.clone(),
            metrics: {
                let metrics = metrics.clone();
                // A measurement that nobody has time for is worth nothing.
                Arc::new(move |metric| {
                    let hub_plugin_api::Metric { name, value } = metric;
                    let _ = metrics.try_send(RunEvent::Metric { name, value });
                })
            },
        };
        let (source, destination) = (purpose(Side::Source), purpose(Side::Destination));
        let Some(prepared) = prepare(self, &source, &destination, on_event)? else {
            return Ok(Outcome::Stopped);
        };
        drop((source, destination));
        self.begun = true;
        let Prepared { carry, lanes, .. } = &prepared;
        let (carry, lanes) = (carry.clone(), *lanes);
        let end = supervise(self, prepared, lanes, events, &received, on_event)?;
        forward(&received, on_event);
        match end {
            AttemptEnd::Completed => {
                self.host.store.complete_run(
                    &self.spec.name,
                    self.generation,
                    self.number,
                    carry.as_ref(),
                )?;
                Ok(Outcome::Completed)
            }
            AttemptEnd::Stopped => Ok(Outcome::Stopped),
        }
    }
}

/// Hands on what is waiting.
pub(crate) fn forward(received: &Receiver<RunEvent>, on_event: OnEvent<'_>) {
    while let Ok(event) = received.try_recv() {
        on_event(event);
    }
}

/// Hands on the next event, waited for up to `timeout`.
pub(crate) fn forward_next(received: &Receiver<RunEvent>, timeout: Duration, on_event: OnEvent<'_>) {
    match received.recv_timeout(timeout) {
        Ok(event) => on_event(event),
        Err(RecvTimeoutError::Timeout) => {}
        Err(RecvTimeoutError::Disconnected) => thread::sleep(timeout),
    }
}

/// Drops what the pipeline's plans made on the source's server; then forgets the pipeline, or lets it begin again in
/// a new generation.
pub(crate) fn start_over(host: &Host, spec: &PipelineSpec, forget: bool) -> Result<()> {
    let _lock = host.store.lock_pipeline(&spec.name)?;
    let purpose = Purpose {
        pipeline: Some(&spec.name),
        side: Side::Source,
        stop: &StopSignal::new(),
        masks: Masks::default(),
        metrics: Arc::new(|_| {}),
    };
    let named = (!spec.source.strategy.is_empty()).then_some(spec.source.strategy.as_str());
    let source = host.connect(&spec.source, named, &purpose)?;
    let name = spec.name.clone();
    source.call("release", move |connection| async move { connection.release(&name).await })?;
    if forget {
        return host.store.forget_pipeline(&spec.name);
    }
    let Some(state) = host.store.pipeline(&spec.name)? else {
        return Err(Error::new(ErrorKind::NotFound, format!("Pipeline `{}` never ran", spec.name)));
    };
    host.store.save_pipeline(&next_generation(&state.name, state.generation))
}

/// A pipeline that begins again after `generation`.
pub(crate) fn next_generation(name: &str, generation: u64) -> PipelineState {
    PipelineState {
        name: name.to_owned(),
        generation: generation + 1,
        completed_runs: 0,
        carry: None,
        source: None,
    }
}
