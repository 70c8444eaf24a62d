use std::collections::BTreeMap;

use hub_plugin_api::{
    Error, Guarantee, OpenRequest, Plan, PlanDescription, PlanRequest, Reader, Result, Snapshot, Split,
    StartAt, StreamId, async_trait, json,
};

use super::{
    group::{self, Group},
    id::EntryId,
    options::{Start, StreamsOptions},
    position::{POSITION, StreamPosition, StreamsPosition},
    reader::{self, Setup},
    trimmed::Known,
};
use crate::connection::{Server, Session};

const SPLIT: &str = "streams";

/// Plans to follow streams; makes the consumer group.
///
/// # Errors
/// When the options do not fit, or the server refuses.
pub async fn plan(server: &Server, request: &PlanRequest) -> Result<Box<dyn Plan>> {
    let options = StreamsOptions::read(&request.options)?;
    let start = match &request.start_at {
        None => options.start,
        Some(StartAt::Earliest) => Start::Earliest,
        Some(StartAt::Latest) => Start::Latest,
        Some(StartAt::Time(_) | StartAt::Position(_)) if options.group.is_some() => {
            return Err(Error::unsupported("A start of your own beside a consumer group").with_hint(
                "The group remembers where it is: `XGROUP SETID` moves it, or read without a group",
            ));
        }
        Some(StartAt::Time(_)) => {
            return Err(
                Error::unsupported("A start at a time").with_hint("Give a position with ids of entries")
            );
        }
        // The host hands it over again when the split is opened.
        Some(StartAt::Position(_)) => options.start,
    };
    let group = options.group.clone().map(|name| {
        let consumer = options.consumer.clone();
        Group::new(name, consumer.unwrap_or_else(|| group::own_consumer(&request.pipeline)))
    });
    let mut session = server.session().await?;
    if let Some(group) = group.as_ref().filter(|_| options.create_group && !request.peek) {
        let from = if start == Start::Latest { "$" } else { "0" };
        for stream in &options.streams {
            group::create(&mut session, stream, &group.name, from).await?;
        }
    }
    let begin = match &request.interrupted {
        Some(interrupted) => interrupted.splits.first().map(|split| split.opaque["begin"].clone()),
        None => None,
    };
    let begin = match begin {
        Some(begin) => begin,
        None => serde_json::to_value(beginning(&mut session, &options, start).await?)?,
    };
    let (guarantee, reason) = if group.is_some() {
        (Guarantee::AtLeastOnce, "The group gives an entry again when it was not acknowledged in time")
    } else {
        (Guarantee::EffectivelyOnce, "Every entry has an id, and reading goes on behind the last durable one")
    };
    let description = PlanDescription {
        splits: vec![Split {
            id: SPLIT.into(),
            streams: options.streams.iter().map(StreamId::named).collect(),
            bounded: false,
            after: Vec::new(),
            opaque: json!({ "begin": begin }),
            portable: true,
            estimated_rows: None,
        }],
        snapshot: Snapshot::Same,
        guarantee,
        reason: reason.into(),
        repeats_rows: false,
        carry: None,
    };
    Ok(Box::new(StreamsPlan { server: server.clone(), options, group, description }))
}

/// Where each stream begins, and what was removed from it before our time.
async fn beginning(session: &mut Session, options: &StreamsOptions, start: Start) -> Result<StreamsPosition> {
    const DOING: &str = "Could not look at the stream";
    let mut streams = BTreeMap::new();
    for stream in &options.streams {
        let mut position = StreamPosition::default();
        let info = session.call(DOING, redis::cmd("XINFO").arg("STREAM").arg(stream)).await;
        match info {
            Ok(info) => {
                let known = Known::of(&info)?;
                position.removed = known.newest_deleted;
                (position.last, position.read) = match start {
                    Start::Earliest => (EntryId::default(), known.removed),
                    Start::Latest => (known.newest, known.added),
                };
            }
            // There is no such key yet.
            Err(error) if error.source.as_deref() == Some("no such key") => {}
            Err(error) => return Err(error.with_field("streams")),
        }
        streams.insert(stream.clone(), position);
    }
    Ok(StreamsPosition { streams })
}

struct StreamsPlan {
    server: Server,
    options: StreamsOptions,
    group: Option<Group>,
    description: PlanDescription,
}

#[async_trait]
impl Plan for StreamsPlan {
    fn description(&self) -> PlanDescription {
        self.description.clone()
    }

    async fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        let begin: StreamsPosition = serde_json::from_value(request.split.opaque["begin"].clone())?;
        let mut position: StreamsPosition = match &request.position {
            Some(position) => position.read(POSITION)?,
            None => begin.clone(),
        };
        // A stream that was added to the options begins where the plan says.
        for stream in &self.options.streams {
            let begin = begin.streams.get(stream).cloned().unwrap_or_default();
            position.streams.entry(stream.clone()).or_insert(begin);
        }
        let setup = Setup {
            server: self.server.clone(),
            options: self.options.clone(),
            // A preview consumes nothing: it reads as if there were no group.
            group: self.group.clone().filter(|_| !request.peek),
            position,
            budgets: request.budgets,
        };
        reader::open(setup).await
    }
}
