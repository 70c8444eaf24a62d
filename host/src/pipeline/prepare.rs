use std::sync::Arc;

use hub_plugin_api::{
    Config, Error, ErrorKind, Mode, Plan, PlanDescription, PlanRequest, Result, Value, Writer, WriterRequest,
    WriterStart,
};

use super::{
    RunEvent, Trust,
    endpoint::{Endpoint, Purpose, strategy},
    held::Held,
    plan::{self, Lost, Repeats, SplitLanes},
    runner::{OnEvent, Run, next_generation},
    tokens::{Remembered, Situation, Start},
};
use crate::store::{LaneState, PipelineState, SourceIdentity, StoredPlan};

/// One writer a lane.
pub(crate) type Writers = Held<Vec<Box<dyn Writer>>>;

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

/// The two sides, connected, with their checked strategies.
struct Sides {
    source: Arc<Endpoint>,
    destination: Arc<Endpoint>,
    identity: SourceIdentity,
    source_options: Config,
    destination_strategy: String,
    destination_options: Config,
    source_mode: Mode,
}

/// Connects, compares what both sides remember, and makes the plan. `None` when the run was stopped meanwhile.
pub(crate) fn prepare(
    run: &mut Run<'_>,
    source: &Purpose<'_>,
    destination: &Purpose<'_>,
    on_event: OnEvent<'_>,
) -> Result<Option<Prepared>> {
    let sides = connect(run, source, destination)?;
    let mut from_scratch = run.options.from_scratch && !run.begun;
    let mut carry_lost = false;
    // Each turn but the last raises or adopts a generation, and a generation is only ever raised.
    loop {
        if run.stop.is_requested() {
            return Ok(None);
        }
        let store = &run.host.store;
        let name = &run.spec.name;
        let stored = store.pipeline(name)?;
        if let (true, Some(state)) = (from_scratch, &stored) {
            start_again(run, &sides, state.generation)?;
            from_scratch = false;
            continue;
        }
        let known = stored.is_some();
        let mut state = stored.unwrap_or_else(|| PipelineState { generation: 1, ..next_generation(name, 0) });
        (run.generation, run.number) = (state.generation, state.completed_runs + 1);
        check_identity(&state, &sides.identity)?;
        let interrupted = store.plan(name, run.generation, run.number)?;
        check_start(run, known)?;

        let lanes = lanes(run, &sides, interrupted.as_ref(), on_event);
        let (writers, starts) = take_lanes(run, &sides, lanes)?;
        let tokens: Vec<_> = starts.iter().filter_map(|start| start.last.clone()).collect();
        if from_scratch {
            // The store knew nothing; what the destination holds becomes the older generation.
            if let Some(newest) = tokens.iter().map(|token| token.generation).max() {
                drop(writers);
                start_again(run, &sides, newest)?;
                from_scratch = false;
                continue;
            }
        }
        let mut remembered = store.lanes(name)?;
        let remembered = (0..lanes).zip(&starts).map(|(lane, start)| Remembered {
            lane,
            store: remembered.remove(&lane),
            destination: start.last.clone(),
        });
        let situation = Situation {
            pipeline: name,
            generation: run.generation,
            run: run.number,
            known,
            trust: run.options.trust.filter(|_| !run.begun || !known),
        };
        let states = match situation.compare(remembered.collect())? {
            Start::Continue(states) => states,
            Start::Adopt { generation, run: number } => {
                drop(writers);
                carry_lost =
                    number > 1 && (generation, number) != (state.generation, state.completed_runs + 1);
                let carry = state.carry.take().filter(|_| !carry_lost);
                store.save_pipeline(&PipelineState {
                    generation,
                    completed_runs: number - 1,
                    carry,
                    ..state
                })?;
                continue;
            }
            Start::Anew => {
                drop(writers);
                start_again(run, &sides, run.generation)?;
                continue;
            }
        };
        let progress: SplitLanes = (0..)
            .zip(&states)
            .flat_map(|(lane, state)| {
                state.splits.iter().map(move |(id, split)| (id.clone(), (lane, split.clone())))
            })
            .collect();

        let (plan, description) = make_plan(run, &sides, &state, interrupted.as_ref())?;
        plan::check(&description)?;
        let before = interrupted.as_ref().map(|stored| &stored.description);
        let lost = plan::lost_snapshot(&description, before, &progress, run.spec.on_lost_snapshot)?;
        if lost == Lost::Restart {
            on_event(RunEvent::Warning {
                message:
                    "The interrupted run's snapshot is gone: everything is read again, in a new generation"
                        .into(),
            });
            drop(plan);
            drop(writers);
            start_again(run, &sides, run.generation)?;
            continue;
        }
        let start = starts.first().ok_or_else(|| Error::internal("A run has no lane"))?;
        let repeats = Repeats {
            spec: run.spec,
            plan: &description,
            writer: start,
            options: &sides.destination_options,
            tokens: &tokens,
            progress: &progress,
            generation: run.generation,
            run: run.number,
            carry_lost,
        };
        repeats.check()?;
        let (guarantee, reasons) = plan::guarantee(&repeats, &lost);
        let reasons: Vec<_> = reasons.iter().map(|reason| run.masks.text(reason)).collect();
        state.source = Some(sides.identity.clone());
        store.save_pipeline(&state)?;
        store.save_plan(
            name,
            run.generation,
            run.number,
            &StoredPlan { lanes, description: description.clone() },
        )?;
        store.describe_run(run.id, run.generation, run.number, guarantee, &reasons)?;
        for (lane, state) in (0..).zip(&states) {
            store.drop_dead_letters_after(name, lane, run.generation, state.token.n)?;
        }
        run.guarantee = Some(guarantee);
        let (snapshot, parallel) = (description.snapshot, run.spec.parallel);
        let splits = plan::summaries(&description, &progress);
        on_event(RunEvent::Plan { splits, snapshot, lanes, parallel });
        on_event(RunEvent::Guarantee { guarantee, reasons });
        return Ok(Some(Prepared {
            source: sides.source,
            destination: sides.destination,
            identity: sides.identity,
            plan,
            carry: description.carry.clone(),
            description,
            progress,
            writers,
            states,
            lanes,
        }));
    }
}

fn connect(run: &Run<'_>, source: &Purpose<'_>, destination: &Purpose<'_>) -> Result<Sides> {
    let (spec, catalog) = (run.spec, &run.host.catalog);
    // Both files' faults are told before either server is asked.
    let found = catalog.find(&spec.source.connector)?;
    let (strategy_of_source, source_options) = strategy(&found.spec, &spec.source, source.side)?;
    let other = catalog.find(&spec.destination.connector)?;
    let (strategy_of_destination, destination_options) =
        strategy(&other.spec, &spec.destination, destination.side)?;
    let source = run.host.connect(&spec.source, Some(&strategy_of_source.id), source)?;
    let destination = run.host.connect(&spec.destination, Some(&strategy_of_destination.id), destination)?;
    let identity = source.call("identify", |connection| async move { connection.identity().await })?;
    let identity = SourceIdentity {
        connector: source.resolved.spec.id.clone(),
        plugin: source.resolved.plugin.clone(),
        plugin_version: source.resolved.plugin_version.clone(),
        strategy: strategy_of_source.id.clone(),
        identity,
    };
    Ok(Sides {
        source: Arc::new(source),
        destination: Arc::new(destination),
        identity,
        source_options,
        destination_strategy: strategy_of_destination.id.clone(),
        destination_options,
        source_mode: strategy_of_source.mode,
    })
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

/// A new generation: what plans of older ones made on the server goes.
fn start_again(run: &Run<'_>, sides: &Sides, after: u64) -> Result<()> {
    let name = run.spec.name.clone();
    run.host.store.save_pipeline(&next_generation(&name, after))?;
    sides.source.call("release", move |connection| async move { connection.release(&name).await })
}

/// How many writers the run has: an interrupted one goes on with as many as it had.
fn lanes(run: &Run<'_>, sides: &Sides, interrupted: Option<&StoredPlan>, on_event: OnEvent<'_>) -> u32 {
    let lanes = run.spec.lanes.max(1);
    if sides.source_mode == Mode::Stream {
        return 1;
    }
    if sides.destination_options.text("mode") == Some("replace") {
        if lanes > 1 {
            let message = "`mode: replace` has one writer: `lanes` counts as 1".into();
            on_event(RunEvent::Warning { message });
        }
        return 1;
    }
    interrupted.map_or(lanes, |stored| stored.lanes)
}

fn take_lanes(run: &Run<'_>, sides: &Sides, lanes: u32) -> Result<(Writers, Vec<WriterStart>)> {
    let (mut writers, mut starts) = (Vec::new(), Vec::new());
    for lane in 0..lanes {
        let request = WriterRequest {
            pipeline: run.spec.name.clone(),
            lane,
            generation: run.generation,
            run: run.number,
            strategy: sides.destination_strategy.clone(),
            options: sides.destination_options.clone(),
        };
        let writer = sides.destination.call("take a lane", move |connection| async move {
            let writer = connection.writer(&request).await?;
            let start = writer.start();
            Ok((writer, start))
        });
        match writer {
            Ok((writer, start)) => {
                writers.push(writer);
                starts.push(start);
            }
            Err(error) => {
                drop(held(&sides.destination, writers));
                return Err(error);
            }
        }
    }
    Ok((held(&sides.destination, writers), starts))
}

fn held(destination: &Endpoint, writers: Vec<Box<dyn Writer>>) -> Writers {
    Held::new(&destination.resolved.supervisor, "drop the writers", writers)
}

fn make_plan(
    run: &Run<'_>,
    sides: &Sides,
    state: &PipelineState,
    interrupted: Option<&StoredPlan>,
) -> Result<(Held<Box<dyn Plan>>, PlanDescription)> {
    let request = PlanRequest {
        pipeline: run.spec.name.clone(),
        generation: run.generation,
        run: run.number,
        strategy: sides.identity.strategy.clone(),
        options: sides.source_options.clone(),
        parallel: run.spec.parallel.max(1),
        start_at: run.options.start_at.clone(),
        carry: state.carry.clone(),
        interrupted: interrupted.map(|stored| stored.description.clone()),
        peek: false,
    };
    let (plan, description) = sides.source.call("plan", move |connection| async move {
        let plan = connection.plan(&request).await?;
        let description = plan.description();
        Ok((plan, description))
    })?;
    Ok((Held::new(&sides.source.resolved.supervisor, "drop the plan", plan), description))
}

impl Trust {
    /// As the command line writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Destination => "destination",
            Self::Store => "store",
        }
    }
}
