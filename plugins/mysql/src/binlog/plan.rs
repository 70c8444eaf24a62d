//! What is to be followed, and from where.

use hub_plugin_api::{
    Context, Error, Guarantee, OpenRequest, Plan, PlanDescription, PlanRequest, Position, Reader, Result,
    Snapshot, Split, StartAt, async_trait, json,
};

use super::{
    dump::Dump,
    follow::Follower,
    gtid::{GtidPosition, Gtids},
    options::Options,
    position::LogPosition,
    reader::LogReader,
    server::LogServer,
};
use crate::{config::Settings, flavor::Vendor};

/// The id of the split that follows the log.
const STREAM: &str = "binlog";

/// Plans following the log.
///
/// # Errors
/// When the options do not fit, or the server refuses.
pub async fn plan(settings: &Settings, context: &Context, request: &PlanRequest) -> Result<Box<dyn Plan>> {
    let options = Options::read(&request.options)?;
    options.wishes(&settings.database, hub_plugin_api::Budgets::default())?;
    let before = request.interrupted.as_ref().and_then(|plan| {
        plan.splits.iter().find(|split| split.id == STREAM).map(|split| split.opaque.clone())
    });
    let opaque = match before {
        // The start was fixed when the pipeline began.
        Some(opaque) => opaque,
        None => {
            let mut server = LogServer::open(settings, context).await?;
            let start = start(&mut server, request.start_at.as_ref()).await?;
            json!({ "start": start.to_position()? })
        }
    };
    let description = PlanDescription {
        splits: vec![Split {
            id: STREAM.into(),
            streams: Vec::new(),
            bounded: false,
            after: Vec::new(),
            opaque,
            portable: true,
            estimated_rows: None,
        }],
        snapshot: Snapshot::Same,
        guarantee: Guarantee::EffectivelyOnce,
        reason: "the log is followed from one transaction to the next, and a position is exact".into(),
        repeats_rows: false,
        carry: None,
    };
    Ok(Box::new(LogPlan {
        settings: settings.clone(),
        context: context.clone(),
        options,
        pipeline: request.pipeline.clone(),
        description,
    }))
}

async fn start(server: &mut LogServer, wish: Option<&StartAt>) -> Result<LogPosition> {
    match wish {
        None | Some(StartAt::Latest) => server.end_of_log().await,
        Some(StartAt::Earliest) => server.start_of_log().await,
        Some(StartAt::Position(position)) => {
            let position = LogPosition::of(position)?;
            server.check_position(&position).await?;
            Ok(position)
        }
        Some(StartAt::Time(_)) => Err(Error::unsupported("A start at a time")
            .with_field("start_at")
            .with_hint("Start at `earliest`, `latest` or a position")),
    }
}

struct LogPlan {
    settings: Settings,
    context: Context,
    options: Options,
    pipeline: String,
    description: PlanDescription,
}

#[async_trait]
impl Plan for LogPlan {
    fn description(&self) -> PlanDescription {
        self.description.clone()
    }

    async fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        let position = match &request.position {
            Some(position) => LogPosition::of(position)?,
            None => {
                let start = request.split.opaque.get("start").cloned().unwrap_or_default();
                LogPosition::of(&serde_json::from_value::<Position>(start)?)?
            }
        };
        let mut server = LogServer::open(&self.settings, &self.context).await?;
        server.check_position(&position).await?;
        let vendor = server.vendor();
        let collations = server.collations().await?;
        let gtids = match (position.gtids(vendor)?, vendor) {
            (None, Vendor::MariaDb) => Some(Gtids::MariaDb(GtidPosition::default())),
            (gtids, _) => gtids,
        };
        let position = LogPosition { server: server.id.clone(), ..position };
        let dump =
            Dump::open(&self.settings, &self.context, &self.options, vendor, &self.pipeline, &position)
                .await?;
        let wishes = self.options.wishes(&self.settings.database, request.budgets)?;
        let follower = Follower::new(vendor, collations, wishes, position, gtids);
        let max_delay = std::time::Duration::from_millis(request.budgets.max_delay_ms);
        let heartbeat = self.options.heartbeat();
        Ok(Box::new(LogReader::new(self.context.clone(), dump, follower, max_delay, heartbeat)))
    }
}
