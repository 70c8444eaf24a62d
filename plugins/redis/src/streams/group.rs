//! What is asked of the server: entries, with a consumer group or without.

use hub_plugin_api::{Error, ErrorKind, Result};
use redis::{Cmd, Pipeline, Value};

use super::{id::EntryId, rows::Fields};
use crate::{connection::Session, error, reply};

const DOING: &str = "Could not read the stream";

/// An entry; one that was removed has no fields any more.
pub type Entry = (EntryId, Option<Fields>);

/// A group, and the two names that this reader has in it: what it takes over from others is kept apart, because only
/// what came in order is known by the last id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The group's name.
    pub name: String,
    /// For entries in order.
    pub consumer: String,
    /// For entries of other consumers.
    pub claims: String,
}

impl Group {
    /// Of a name for entries in order.
    pub fn new(name: String, consumer: String) -> Self {
        Self { claims: format!("{consumer}:claims"), name, consumer }
    }
}

/// The name in the group of a pipeline that is given none.
pub fn own_consumer(pipeline: &str) -> String {
    format!("connector-hub:{pipeline}")
}

/// Makes a group at the beginning or the end of a stream, or behind an entry, unless it is there; whether it was made.
///
/// # Errors
/// When the server refuses.
pub async fn create(session: &mut Session, stream: &str, group: &str, from: &str) -> Result<bool> {
    let mut command = redis::cmd("XGROUP");
    command.arg("CREATE").arg(stream).arg(group).arg(from).arg("MKSTREAM");
    match session.call("Could not make the consumer group", &command).await {
        Err(error) if error.code.as_deref() == Some("BUSYGROUP") => Ok(false),
        other => other.map(|_| true),
    }
}

/// What a question brought, and what was known of the stream right before.
pub struct Answer {
    /// Entries in order.
    pub entries: Vec<Entry>,
    /// Of `XINFO STREAM`; nothing where there is no stream.
    pub stream: Option<Value>,
    /// Of `XINFO GROUPS`.
    pub groups: Option<Value>,
}

/// Asks for entries behind `from`, in one transaction with what is known of the stream: nothing is removed in between.
///
/// # Errors
/// When the server refuses.
pub async fn read(
    session: &mut Session,
    stream: &str,
    group: Option<&Group>,
    from: &str,
    count: u64,
) -> Result<Answer> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("MULTI");
    pipeline.cmd("XINFO").arg("STREAM").arg(stream);
    if group.is_some() {
        pipeline.cmd("XINFO").arg("GROUPS").arg(stream);
    }
    pipeline.add_command(reading(
        group.map(|group| (group, &group.consumer)),
        count,
        None,
        &[(stream, from)],
    ));
    pipeline.cmd("EXEC");
    let mut answers = session.pipeline(DOING, stream.as_bytes(), &pipeline).await?;
    let last = answers.pop().unwrap_or(Value::Nil);
    for queued in answers {
        reply::checked(DOING, queued)?;
    }
    let mut answers = reply::items(DOING, last)?.into_iter();
    let mut next = || answers.next().unwrap_or(Value::Nil);
    // There is no key, or something else is there: the reading itself says what.
    let info = |value| match value {
        Value::ServerError(_) => None,
        value => Some(value),
    };
    let known = info(next());
    let groups = if group.is_some() { info(next()) } else { None };
    Ok(Answer { entries: of_one_stream(next())?, stream: known, groups })
}

/// Asks for the entries of a consumer that it was given and has not acknowledged, behind `from`.
///
/// # Errors
/// When the server refuses.
pub async fn pending(
    session: &mut Session,
    stream: &str,
    group: &Group,
    consumer: &str,
    from: EntryId,
    count: u64,
) -> Result<Vec<Entry>> {
    let consumer = consumer.to_owned();
    let command = reading(Some((group, &consumer)), count, None, &[(stream, &from.to_string())]);
    of_one_stream(session.call(DOING, &command).await?)
}

/// Waits for new entries of any of the streams, which must be on one node. What comes is as [`read`] brings it.
///
/// # Errors
/// When the server refuses.
pub async fn wait(
    session: &mut Session,
    streams: &[(&str, &str)],
    group: Option<&Group>,
    count: u64,
    wait_ms: u128,
) -> Result<Vec<(String, Vec<Entry>)>> {
    let command = reading(group.map(|group| (group, &group.consumer)), count, Some(wait_ms), streams);
    of_streams(session.call(DOING, &command).await?)
}

fn reading(
    group: Option<(&Group, &String)>,
    count: u64,
    wait_ms: Option<u128>,
    streams: &[(&str, &str)],
) -> Cmd {
    let mut command = match group {
        Some((group, consumer)) => {
            let mut command = redis::cmd("XREADGROUP");
            command.arg("GROUP").arg(&group.name).arg(consumer);
            command
        }
        None => redis::cmd("XREAD"),
    };
    command.arg("COUNT").arg(count);
    if let Some(wait_ms) = wait_ms {
        command.arg("BLOCK").arg(wait_ms.max(1).to_string());
    }
    command.arg("STREAMS");
    streams.iter().for_each(|(stream, _)| {
        command.arg(stream);
    });
    streams.iter().for_each(|(_, from)| {
        command.arg(from);
    });
    command
}

/// Takes over entries that some consumer got and has not acknowledged for so long. Those that were removed meanwhile
/// have no fields.
///
/// # Errors
/// When the server refuses.
pub async fn claim(
    session: &mut Session,
    stream: &str,
    group: &Group,
    idle_ms: u64,
    cursor: &mut String,
    count: u64,
) -> Result<Vec<Entry>> {
    const DOING: &str = "Could not take over entries of other consumers";
    let mut command = redis::cmd("XAUTOCLAIM");
    command
        .arg(stream)
        .arg(&group.name)
        .arg(&group.claims)
        .arg(idle_ms)
        .arg(&*cursor)
        .arg("COUNT")
        .arg(count);
    let mut parts = reply::items(DOING, session.call(DOING, &command).await?)?.into_iter();
    let mut next = || parts.next().unwrap_or(Value::Nil);
    *cursor = reply::text(DOING, next())?;
    let mut entries = entries(next())?;
    for removed in reply::items(DOING, next())? {
        let id = reply::bytes(DOING, removed)?.and_then(|bytes| EntryId::of(&bytes));
        entries.extend(id.map(|id| (id, None)));
    }
    Ok(entries)
}

/// How often each of these entries was delivered.
///
/// # Errors
/// When the server refuses.
pub async fn deliveries(
    session: &mut Session,
    stream: &str,
    group: &Group,
    ids: &[EntryId],
) -> Result<Vec<u64>> {
    let mut pipeline = Pipeline::with_capacity(ids.len());
    for id in ids {
        let id = id.to_string();
        pipeline.cmd("XPENDING").arg(stream).arg(&group.name).arg(&id).arg(&id).arg(1);
    }
    let answers = session.pipeline(DOING, stream.as_bytes(), &pipeline).await?;
    let counts = answers.into_iter().map(|answer| {
        let Some(entry) = reply::items(DOING, answer)?.into_iter().next() else { return Ok(0) };
        let count = reply::items(DOING, entry)?.into_iter().nth(3).unwrap_or(Value::Int(0));
        Ok(reply::integer(DOING, count)?.unsigned_abs())
    });
    counts.collect()
}

/// Says that entries are durable.
///
/// # Errors
/// When the server refuses.
pub async fn acknowledge(session: &mut Session, stream: &str, group: &Group, ids: &[EntryId]) -> Result<()> {
    const DOING: &str = "Could not acknowledge entries";
    const AT_ONCE: usize = 1000;
    for part in ids.chunks(AT_ONCE) {
        let mut command = redis::cmd("XACK");
        command.arg(stream).arg(&group.name);
        part.iter().for_each(|id| {
            command.arg(id.to_string());
        });
        session.call(DOING, &command).await?;
    }
    Ok(())
}

fn of_one_stream(answer: Value) -> Result<Vec<Entry>> {
    Ok(of_streams(answer)?.into_iter().flat_map(|(_, entries)| entries).collect())
}

fn of_streams(answer: Value) -> Result<Vec<(String, Vec<Entry>)>> {
    let streams = match answer {
        Value::ServerError(refusal) => return Err(error::from_answer(DOING, &refusal)),
        Value::Map(pairs) => pairs,
        other => {
            let streams = reply::items(DOING, other)?.into_iter();
            streams.map(|stream| reply::two(DOING, stream)).collect::<Result<_>>()?
        }
    };
    streams.into_iter().map(|(name, list)| Ok((reply::text(DOING, name)?, entries(list)?))).collect()
}

fn entries(answer: Value) -> Result<Vec<Entry>> {
    let items = reply::items(DOING, answer)?.into_iter().filter(|item| *item != Value::Nil);
    let entries = items.map(|item| {
        let (id, fields) = reply::two(DOING, item)?;
        let bytes = reply::bytes(DOING, id)?.unwrap_or_default();
        let id = EntryId::of(&bytes).ok_or_else(|| {
            Error::new(
                ErrorKind::Protocol,
                format!("`{}` is no id of an entry", String::from_utf8_lossy(&bytes)),
            )
        })?;
        let fields = match fields {
            Value::Nil => None,
            fields => Some(reply::byte_pairs(DOING, fields)?),
        };
        Ok((id, fields))
    });
    entries.collect()
}
