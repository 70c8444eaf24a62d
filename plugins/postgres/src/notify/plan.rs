use hub_plugin_api::{
    Context, Error, ErrorKind, Guarantee, OpenRequest, Plan, PlanDescription, PlanRequest, Position, Reader,
    Result, Snapshot, Split, StartAt, async_trait, json,
};

use super::{
    NotifyOptions,
    link::Link,
    options::OutboxOptions,
    outbox::complete_key,
    outbox_reader::{OutboxPosition, OutboxReader, Sessions, VERSION, look_up},
    payloads,
    reader::TaskReader,
};
use crate::{
    check::shares_process, config::Settings, connection::Session, identity::identity, query::ServerInfo,
};

/// The one split.
const SPLIT: &str = "notify";

/// Plans to listen, and to drain an outbox where one is named.
///
/// # Errors
/// When the options do not fit the server, or it refuses.
pub async fn plan(settings: &Settings, context: &Context, request: &PlanRequest) -> Result<Box<dyn Plan>> {
    let options = NotifyOptions::read(&request.options)?;
    let session = Session::open(settings, context).await?;
    if ServerInfo::of(&session).await?.is_standby {
        return Err(no_standby());
    }
    if shares_process(settings, context, &session).await {
        return Err(no_pooler());
    }
    let link = Link {
        settings: settings.clone(),
        context: context.clone(),
        identity: identity(settings, &session).await?,
        options,
    };
    let (guarantee, reason, begin) = match link.options.outbox() {
        Some(outbox) => {
            let begin = begin(&link, &session, &outbox, request).await?;
            let reason =
                "Reading goes on exactly behind the last key of the outbox; late keys are waited for";
            (Guarantee::EffectivelyOnce, reason, json!(begin))
        }
        None => {
            if request.start_at.as_ref().is_some_and(|start| *start != StartAt::Latest) {
                return Err(Error::config(
                    "channels",
                    "Notifications are not kept, so they start at the latest",
                )
                .with_hint("Name an `outbox` table, which can be read from the start"));
            }
            let reason =
                "What is notified while nobody listens is gone; an `outbox` would keep it for the next run";
            (Guarantee::AtMostOnce, reason, json!(null))
        }
    };
    let split = Split {
        id: SPLIT.into(),
        streams: vec![link.options.stream()],
        bounded: false,
        after: Vec::new(),
        opaque: begin,
        portable: false,
        estimated_rows: None,
    };
    let description = PlanDescription {
        splits: vec![split],
        snapshot: Snapshot::New,
        guarantee,
        reason: reason.into(),
        repeats_rows: false,
        carry: None,
    };
    Ok(Box::new(NotifyPlan { description, link }))
}

/// The error of a server that only replays.
pub fn no_standby() -> Error {
    Error::new(ErrorKind::Unsupported, "The server is a standby, where nobody can listen")
        .with_field("host")
        .with_hint("Give the primary's host")
}

/// The error of a pooler that gives a session's process away.
pub fn no_pooler() -> Error {
    Error::new(ErrorKind::Unsupported, "Two sessions at a time share one process of the server")
        .with_field("host")
        .with_hint(
            "A pooler in transaction mode loses what a session sets and listens to: connect to the server itself, or \
             pool by session",
        )
}

/// Where an outbox is read from when there is no stored position yet.
async fn begin(
    link: &Link,
    session: &Session,
    options: &OutboxOptions,
    request: &PlanRequest,
) -> Result<OutboxPosition> {
    let (outbox, _, _) = look_up(session, options).await?;
    // A run that was interrupted before its first commit starts where it started.
    let interrupted = request.interrupted.as_ref().and_then(|plan| plan.splits.first());
    if let Some(split) = interrupted {
        let begin: OutboxPosition = serde_json::from_value(split.opaque.clone()).unwrap_or_default();
        if begin.key == options.key {
            return Ok(begin);
        }
    }
    let at = |after| OutboxPosition { key: options.key.clone(), after, ..OutboxPosition::default() };
    match &request.start_at {
        None | Some(StartAt::Earliest) => Ok(at(None)),
        Some(StartAt::Latest) => Ok(at(complete_key(link, session, &outbox, options).await?.key)),
        Some(StartAt::Position(position)) => OutboxPosition::read(position, &options.key),
        Some(StartAt::Time(_)) => Err(Error::unsupported("An outbox that starts at a time").with_hint(
            format!("Start at a position: {}", json!({ "v": VERSION, "key": options.key, "after": 0 })),
        )),
    }
}

/// What is to be heard.
struct NotifyPlan {
    description: PlanDescription,
    link: Link,
}

#[async_trait]
impl Plan for NotifyPlan {
    fn description(&self) -> PlanDescription {
        self.description.clone()
    }

    async fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        let (link, budgets) = (self.link.clone(), request.budgets);
        let Some(options) = link.options.outbox() else {
            let listener = link.listen().await?;
            let reader = TaskReader::start(|events| payloads::read(link, listener, budgets, events));
            return Ok(Box::new(reader));
        };
        let position = match &request.position {
            Some(position) => OutboxPosition::read(position, &options.key)?,
            None => OutboxPosition::read(&begin_of(&request.split)?, &options.key)?,
        };
        let sessions = Sessions::open(&link).await?;
        let reader = TaskReader::start(|events| {
            OutboxReader::new(link, options, position, budgets, events).run(sessions)
        });
        Ok(Box::new(reader))
    }
}

/// The position that the plan put into its split.
fn begin_of(split: &Split) -> Result<Position> {
    let begin: OutboxPosition = serde_json::from_value(split.opaque.clone())?;
    Position::new(VERSION, &begin)
}
