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
    trimmed,
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
    let interrupted = request.interrupted.as_ref().and_then(|interrupted| interrupted.splits.first());
    let mut begin: StreamsPosition = match interrupted {
        Some(split) => serde_json::from_value(split.opaque["begin"].clone())?,
        None => StreamsPosition::default(),
    };
    // A group that has gone since is made again where its pipeline is: when the split is opened.
    if let Some(group) =
        group.as_ref().filter(|_| options.create_group && !request.peek && interrupted.is_none())
    {
        let from = if start == Start::Latest { "$" } else { "0" };
        for stream in &options.streams {
            group::create(&mut session, stream, &group.name, from).await?;
        }
    }
    // Also those that were added to the options.
    for stream in &options.streams {
        if !begin.streams.contains_key(stream) {
            begin.streams.insert(stream.clone(), beginning(&mut session, stream, start).await?);
        }
    }
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

/// Where a stream begins, and what was removed from it before our time.
async fn beginning(session: &mut Session, stream: &str, start: Start) -> Result<StreamPosition> {
    let Some(known) = trimmed::known(session, stream).await? else { return Ok(StreamPosition::default()) };
    let (last, read) = match start {
        Start::Earliest => (EntryId::default(), known.removed),
        Start::Latest => (known.newest, known.added),
    };
    Ok(StreamPosition { last, read, removed: known.newest_deleted, ..StreamPosition::default() })
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
