use std::sync::Arc;

use hub_plugin_api::{
    Config, Mode, Plan, PlanDescription, PlanRequest, Result, Writer, WriterRequest, WriterStart,
};

use super::{
    RunEvent,
    endpoint::{Endpoint, Purpose, strategy},
    held::Held,
    runner::{OnEvent, Run},
};
use crate::store::{PipelineState, SourceIdentity, StoredPlan};

/// One writer a lane.
pub(crate) type Writers = Held<Vec<Box<dyn Writer>>>;

/// The two ends of a run, connected, with their checked strategies.
pub(crate) struct Sides {
    pub(crate) source: Arc<Endpoint>,
    pub(crate) destination: Arc<Endpoint>,
    pub(crate) identity: SourceIdentity,
    pub(crate) destination_options: Config,
    source_options: Config,
    destination_strategy: String,
    source_mode: Mode,
}

impl Sides {
    /// Connects both. Faults of the pipeline file are told before either server is asked.
    pub(crate) fn connect(run: &Run<'_>, source: &Purpose<'_>, destination: &Purpose<'_>) -> Result<Self> {
        let (spec, catalog) = (run.spec, &run.host.catalog);
        let found = catalog.find(&spec.source.connector)?;
        let (strategy_of_source, source_options) = strategy(&found.spec, &spec.source, source.side)?;
        let other = catalog.find(&spec.destination.connector)?;
        let (strategy_of_destination, destination_options) =
            strategy(&other.spec, &spec.destination, destination.side)?;
        let source = run.host.connect(&spec.source, Some(&strategy_of_source.id), source)?;
        let destination =
            run.host.connect(&spec.destination, Some(&strategy_of_destination.id), destination)?;
        let identity = source.call("identify", |connection| async move { connection.identity().await })?;
        let identity = SourceIdentity {
            connector: source.resolved.spec.id.clone(),
            plugin: source.resolved.plugin.clone(),
            plugin_version: source.resolved.plugin_version.clone(),
            strategy: strategy_of_source.id.clone(),
            identity,
        };
        Ok(Self {
            source: Arc::new(source),
            destination: Arc::new(destination),
            identity,
            source_options,
            destination_strategy: strategy_of_destination.id.clone(),
            destination_options,
            source_mode: strategy_of_source.mode,
        })
    }

    /// How many writers the run has: an interrupted one goes on with as many as it had.
    pub(crate) fn lanes(
        &self,
        run: &Run<'_>,
        interrupted: Option<&StoredPlan>,
        on_event: OnEvent<'_>,
    ) -> u32 {
        let lanes = run.spec.lanes.max(1);
        if self.source_mode == Mode::Stream {
            return 1;
        }
        if self.destination_options.text("mode") == Some("replace") {
            if lanes > 1 {
                let message = "`mode: replace` has one writer: `lanes` counts as 1".into();
                on_event(RunEvent::Warning { message });
            }
            return 1;
        }
        interrupted.map_or(lanes, |stored| stored.lanes)
    }

    /// Takes every lane: earlier writers fail from now on.
    pub(crate) fn take_lanes(&self, run: &Run<'_>, lanes: u32) -> Result<(Writers, Vec<WriterStart>)> {
        let (mut writers, mut starts) = (Vec::new(), Vec::new());
        for lane in 0..lanes {
            let request = WriterRequest {
                pipeline: run.spec.name.clone(),
                lane,
                generation: run.generation,
                run: run.number,
                strategy: self.destination_strategy.clone(),
                options: self.destination_options.clone(),
            };
            let writer = self.destination.call("take a lane", move |connection| async move {
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
                    drop(held(&self.destination, writers));
                    return Err(error);
                }
            }
        }
        Ok((held(&self.destination, writers), starts))
    }

    /// Has the source cut its work into splits.
    pub(crate) fn make_plan(
        &self,
        run: &Run<'_>,
        state: &PipelineState,
        interrupted: Option<&StoredPlan>,
    ) -> Result<(Held<Box<dyn Plan>>, PlanDescription)> {
        let request = PlanRequest {
            pipeline: run.spec.name.clone(),
            generation: run.generation,
            run: run.number,
            strategy: self.identity.strategy.clone(),
            options: self.source_options.clone(),
            parallel: run.spec.parallel.max(1),
            start_at: run.options.start_at.clone(),
            carry: state.carry.clone(),
            interrupted: interrupted.map(|stored| stored.description.clone()),
            peek: false,
        };
        let (plan, description) = self.source.call("plan", move |connection| async move {
            let plan = connection.plan(&request).await?;
            let description = plan.description();
            Ok((plan, description))
        })?;
        Ok((Held::new(&self.source.resolved.supervisor, "drop the plan", plan), description))
    }
}

fn held(destination: &Endpoint, writers: Vec<Box<dyn Writer>>) -> Writers {
    Held::new(&destination.resolved.supervisor, "drop the writers", writers)
}
