use std::sync::Arc;

use hub_plugin_api::{
    CommitToken, Error, ErrorKind, Plan, PlanDescription, Result, SplitProgress, Value, WriterStart,
};

use super::{
    RunEvent,
    endpoint::{Endpoint, Purpose},
    held::Held,
    plan::{self, Lost, Repeats, SplitLanes},
    runner::{OnEvent, Run, next_generation},
    sides::{Sides, Writers},
    tokens::{Remembered, Situation, Start},
};
use crate::store::{LaneState, PipelineState, SourceIdentity, StoredPlan};

/// Everything that an attempt needs before its first row.
pub(crate) struct Prepared {
    pub(crate) source: Arc<Endpoint>,
    pub(crate) destination: Arc<Endpoint>,
    pub(crate) identity: SourceIdentity,
    pub(crate) plan: Held<Box<dyn Plan>>,
    pub(crate) description: PlanDescription,
    pub(crate) progress: SplitLanes,
    /// By lane, as its state.
    pub(crate) writers: Writers,
    pub(crate) states: Vec<LaneState>,
    pub(crate) lanes: u32,
    pub(crate) carry: Option<Value>,
}

/// Connects, compares what both sides remember, and makes the plan. `None` when the run was stopped meanwhile.
pub(crate) fn prepare(
    run: &mut Run<'_>,
    source: &Purpose<'_>,
    destination: &Purpose<'_>,
    on_event: OnEvent<'_>,
) -> Result<Option<Prepared>> {
    let sides = Sides::connect(run, source, destination)?;
    let mut carry_lost = false;
    // Each turn but the last raises or adopts a generation, and a generation is only ever raised.
    while !run.stop.is_requested() {
        if let Some(prepared) = turn(run, &sides, &mut carry_lost, on_event)? {
            return Ok(Some(prepared));
        }
    }
    Ok(None)
}

/// `None` when the pipeline's generation or run is another one now.
fn turn(
    run: &mut Run<'_>,
    sides: &Sides,
    carry_lost: &mut bool,
    on_event: OnEvent<'_>,
) -> Result<Option<Prepared>> {
    let (store, name) = (&run.host.store, &run.spec.name);
    let stored = store.pipeline(name)?;
    let known = stored.is_some();
    let mut state = stored.unwrap_or_else(|| PipelineState { generation: 1, ..next_generation(name, 0) });
    (run.generation, run.number) = (state.generation, state.completed_runs + 1);
    if !run.from_scratch {
        check_identity(&state, &sides.identity)?;
        check_start(run, known)?;
    }
    let interrupted = store.plan(name, run.generation, run.number)?;
    let lanes = sides.lanes(run, interrupted.as_ref(), on_event);
    let (writers, starts) = sides.take_lanes(run, lanes)?;
    let tokens: Vec<_> = starts.iter().filter_map(|start| start.last.clone()).collect();
    let first = starts.first().ok_or_else(|| Error::internal("A run has no lane"))?;
    let begin_again = |run: &mut Run<'_>| begin_again(run, sides, first, &tokens, known);
    if run.from_scratch && (known || !tokens.is_empty()) {
        begin_again(run)?;
        return Ok(None);
    }
    let states = match compare(run, &starts, known)? {
        Start::Continue(states) => states,
        Start::Adopt { generation, run: number } => {
            *carry_lost = number > 1 && (generation, number) != (state.generation, run.number);
            let carry = state.carry.take().filter(|_| !*carry_lost);
            store.save_pipeline(&PipelineState { generation, completed_runs: number - 1, carry, ..state })?;
            return Ok(None);
        }
        Start::Anew => {
            begin_again(run)?;
            return Ok(None);
        }
    };
    let progress = by_split(&states);
    let (plan, description) = sides.make_plan(run, &state, interrupted.as_ref())?;
    plan::check(&description)?;
    let before = interrupted.as_ref().map(|stored| &stored.description);
    let lost = plan::lost_snapshot(&description, before, &progress, run.spec.on_lost_snapshot)?;
    if lost == Lost::Restart {
        let message = "The interrupted run's snapshot is gone: everything is read again, in a new generation";
        on_event(RunEvent::Warning { message: message.into() });
        drop(plan);
        begin_again(run)?;
        return Ok(None);
    }
    let repeats = Repeats {
        spec: run.spec,
        plan: &description,
        writer: first,
        options: &sides.destination_options,
        tokens: &tokens,
        progress: &progress,
        generation: run.generation,
        run: run.number,
        carry_lost: *carry_lost,
    };
    repeats.check()?;
    let (guarantee, reasons) = plan::guarantee(&repeats, &lost);
    let reasons: Vec<_> = reasons.iter().map(|reason| run.masks.text(reason)).collect();
    state.source = Some(sides.identity.clone());
    let to_store = StoredPlan { lanes, description: description.clone() };
    remember(run, &state, &to_store, &states)?;
    store.describe_run(run.id, run.generation, run.number, guarantee, &reasons)?;
    run.guarantee = Some(guarantee);
    let (snapshot, parallel) = (description.snapshot, run.spec.parallel);
    on_event(RunEvent::Plan { splits: plan::summaries(&description, &progress), snapshot, lanes, parallel });
    on_event(RunEvent::Guarantee { guarantee, reasons });
    Ok(Some(Prepared {
        source: Arc::clone(&sides.source),
        destination: Arc::clone(&sides.destination),
        identity: sides.identity.clone(),
        plan,
        carry: description.carry.clone(),
        description,
        progress,
        writers,
        states,
        lanes,
    }))
}

fn compare(run: &Run<'_>, starts: &[WriterStart], known: bool) -> Result<Start> {
    let mut stored = run.host.store.lanes(&run.spec.name)?;
    let remembered = (0..).zip(starts).map(|(lane, start)| Remembered {
        lane,
        store: stored.remove(&lane),
        destination: start.last.clone(),
    });
    let situation = Situation {
        pipeline: &run.spec.name,
        generation: run.generation,
        run: run.number,
        known,
        trust: run.options.trust,
    };
    situation.compare(remembered.collect())
}

fn by_split(states: &[LaneState]) -> SplitLanes {
    let of_lane = |(lane, state): (u32, &LaneState)| {
        let entry = |(id, split): (&String, &SplitProgress)| (id.clone(), (lane, split.clone()));
        state.splits.iter().map(entry).collect::<Vec<_>>()
    };
    (0..).zip(states).flat_map(of_lane).collect()
}

/// Stores the plan before a split of it is opened, and what both sides agreed on.
fn remember(run: &Run<'_>, state: &PipelineState, plan: &StoredPlan, states: &[LaneState]) -> Result<()> {
    let (store, name) = (&run.host.store, &run.spec.name);
    store.save_pipeline(state)?;
    store.save_plan(name, run.generation, run.number, plan)?;
    let stored = store.lanes(name)?;
    for (lane, agreed) in (0..).zip(states) {
        store.drop_dead_letters_after(name, lane, run.generation, agreed.token.n)?;
        if let Some(source) = &state.source
            && agreed.token.n > 0
            && stored.get(&lane) != Some(agreed)
        {
            store.save_lane(name, lane, agreed, source)?;
        }
    }
    Ok(())
}

/// Positions mean nothing to another server, connector or strategy.
fn check_identity(state: &PipelineState, now: &SourceIdentity) -> Result<()> {
    let Some(before) = &state.source else { return Ok(()) };
    for (what, before, now) in [
        ("connector", &before.connector, &now.connector),
        ("strategy", &before.strategy, &now.strategy),
        ("server", &before.identity, &now.identity),
    ] {
        if before != now {
            return Err(Error::new(
                ErrorKind::PositionLost,
                format!("The positions of pipeline `{}` are of {what} `{before}`, the source is now `{now}`", state.name),
            )
            .with_hint(
                "Point the pipeline to the source that it had, read everything again with `--from-scratch`, or give \
                 the pipeline another name",
            ));
        }
    }
    Ok(())
}

fn check_start(run: &Run<'_>, known: bool) -> Result<()> {
    if run.options.start_at.is_none() || run.begun || !known || run.options.from_scratch {
        return Ok(());
    }
    Err(Error::config("start_at", format!("Pipeline `{}` has begun, so its start is fixed", run.spec.name))
        .with_hint("Add `--from-scratch` to begin again"))
}

/// A new generation, unless it would append rows that are there: what plans of older ones made on the server goes.
fn begin_again(
    run: &mut Run<'_>,
    sides: &Sides,
    writer: &WriterStart,
    tokens: &[CommitToken],
    known: bool,
) -> Result<()> {
    if !tokens.is_empty() {
        plan::check_again(run.spec, writer, &sides.destination_options)?;
    }
    let name = run.spec.name.clone();
    let before = tokens.iter().map(|token| token.generation).chain(known.then_some(run.generation)).max();
    let next = next_generation(&name, before.unwrap_or_default());
    sides.source.call("release", move |connection| async move { connection.release(&name).await })?;
    run.host.store.save_pipeline(&next)?;
    run.from_scratch = false;
    Ok(())
}
