//! Entries that were removed before they were read.
//!
//! Redis 7 counts the entries that were ever added, so how many were removed is known, and how many of them were read;
//! of entries that XDEL removed it says which was the newest (Redis manual, commands XINFO STREAM and XINFO GROUPS).

use hub_plugin_api::{Error, ErrorKind, Level, Result};
use redis::Value;

use super::{
    id::EntryId,
    options::{OnTrimmed, StreamsOptions},
    position::StreamPosition,
};
use crate::{
    config::Deployment,
    connection::{Server, Session},
    reply,
};

const DOING: &str = "Could not look at the stream";
const TARGET: &str = "redis::streams";

/// What is known of a stream; nothing of it before version 7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Entries that were ever added.
    pub added: u64,
    /// Entries that were removed.
    pub removed: u64,
    /// The oldest that is there.
    pub first: Option<EntryId>,
    /// The newest that was ever added.
    pub newest: EntryId,
    /// The newest that XDEL removed.
    pub newest_deleted: EntryId,
}

/// What a group was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The newest entry.
    pub last: EntryId,
    /// How many, where the server knows.
    pub count: Option<u64>,
}

fn id(value: Option<Value>) -> Result<Option<EntryId>> {
    let bytes = value.map(|value| reply::bytes(DOING, value)).transpose()?.flatten();
    Ok(bytes.and_then(|bytes| EntryId::of(&bytes)))
}

fn number(value: Option<Value>) -> Result<Option<u64>> {
    match value {
        None | Some(Value::Nil) => Ok(None),
        Some(value) => Ok(u64::try_from(reply::integer(DOING, value)?).ok()),
    }
}

impl Known {
    /// Of an answer to `XINFO STREAM`.
    ///
    /// # Errors
    /// When it is none.
    pub fn of(info: &Value) -> Result<Self> {
        let field = |name: &str| reply::field(DOING, info, name);
        let newest = id(field("last-generated-id")?)?.unwrap_or_default();
        let Some(added) = number(field("entries-added")?)? else {
            return Ok(Self { newest, ..Self::default() });
        };
        let length = number(field("length")?)?.unwrap_or_default();
        let first = match field("first-entry")? {
            Some(entry @ Value::Array(_)) => id(reply::items(DOING, entry)?.into_iter().next())?,
            _ => None,
        };
        let newest_deleted = id(field("max-deleted-entry-id")?)?.unwrap_or_default();
        Ok(Self { added, removed: added.saturating_sub(length), first, newest, newest_deleted })
    }
}

/// Asks what is known of a stream; nothing where there is no such key.
///
/// # Errors
/// When the server refuses, or the key holds something else.
pub async fn known(session: &mut Session, stream: &str) -> Result<Option<Known>> {
    match session.call(DOING, redis::cmd("XINFO").arg("STREAM").arg(stream)).await {
        Ok(info) => Known::of(&info).map(Some),
        Err(error) if error.source.as_deref() == Some("no such key") => Ok(None),
        Err(error) => Err(error.with_field("streams")),
    }
}

impl Delivered {
    /// Of an answer to `XINFO GROUPS`.
    ///
    /// # Errors
    /// When it is none.
    pub fn of(groups: Value, group: &str) -> Result<Option<Self>> {
        for one in reply::items(DOING, groups)? {
            let name = reply::field(DOING, &one, "name")?
                .map(|name| reply::bytes(DOING, name))
                .transpose()?
                .flatten();
            if name.as_deref() == Some(group.as_bytes()) {
                let last = id(reply::field(DOING, &one, "last-delivered-id")?)?.unwrap_or_default();
                return Ok(Some(Self { last, count: number(reply::field(DOING, &one, "entries-read")?)? }));
            }
        }
        Ok(None)
    }
}

/// How many entries were removed before they were read, at least; none where that is not known.
pub fn lost(known: &Known, position: &StreamPosition, delivered: Option<Delivered>) -> u64 {
    let (last, read) = match delivered {
        None => (position.last, Some(position.read)),
        Some(delivered) => (delivered.last, delivered.count.map(|count| count + position.lost)),
    };
    let all_read = known.newest <= last;
    let by_count = match read {
        // As long as an entry that was read is there, only XDEL can have removed one that was not.
        Some(read) if !all_read && known.first.is_none_or(|first| first > last) => {
            known.removed.saturating_sub(read)
        }
        _ => 0,
    };
    let deleted = known.newest_deleted > last && known.newest_deleted > position.removed;
    by_count.max(u64::from(deleted))
}

/// Tells what was removed before it was read.
///
/// # Errors
/// [`ErrorKind::PositionLost`] where the options say so.
pub fn tell(
    server: &Server,
    options: &StreamsOptions,
    stream: &str,
    position: &mut StreamPosition,
    known: &Known,
    delivered: Option<Delivered>,
) -> Result<()> {
    let lost = lost(known, position, delivered);
    if lost == 0 {
        return Ok(());
    }
    let last = delivered.map_or(position.last, |delivered| delivered.last);
    let message =
        format!("{lost} entries of stream `{stream}` behind `{last}` were removed before they were read");
    match options.on_trimmed {
        OnTrimmed::Warn => {
            position.removed = position.removed.max(known.newest_deleted);
            position.read += lost;
            position.lost += lost;
            server.context().log(Level::Warn, TARGET, message);
            Ok(())
        }
        OnTrimmed::Stop => {
            Err(Error::new(ErrorKind::PositionLost, message).with_field("on_trimmed").with_hint(
                "Keep more entries (MAXLEN), read faster, or set `on_trimmed: warn` to go on without them",
            ))
        }
    }
}

/// Tells of a stream whose newest entry is older than one that was read: it was deleted and made anew, or set back, so
/// what comes may have ids that were passed already. Where a replica took over, that it lacks its master's last entries
/// is no reason to stop: the next ones have ids of a later time.
///
/// # Errors
/// [`ErrorKind::PositionLost`] where the options say so.
pub fn tell_set_back(
    server: &Server,
    options: &StreamsOptions,
    stream: &str,
    position: &mut StreamPosition,
    known: &Known,
) -> Result<()> {
    if known.newest >= position.last {
        return Ok(());
    }
    let message = format!(
        "The newest entry of stream `{stream}` is `{}`, and `{}` was read already: it was deleted and made anew, or set \
         back",
        known.newest, position.last
    );
    let may_fail_over = server.settings().deployment != Deployment::SingleNode;
    if options.on_trimmed == OnTrimmed::Stop && !may_fail_over {
        return Err(Error::new(ErrorKind::PositionLost, message).with_field("on_trimmed").with_hint(
            "Read all that is there with `--from-scratch`, or set `on_trimmed: warn` to go on at the stream's beginning",
        ));
    }
    if may_fail_over {
        server.context().log(Level::Warn, TARGET, message);
        // Said once: entries behind it are new.
        position.last = known.newest;
        return Ok(());
    }
    server.context().log(Level::Warn, TARGET, format!("{message}; reading goes on at its beginning"));
    *position =
        StreamPosition { read: known.removed, removed: known.newest_deleted, ..StreamPosition::default() };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> EntryId {
        format!("{number}-0").parse().unwrap()
    }

    #[test]
    fn only_what_nobody_read_counts_as_lost() {
        let at = |last, read| StreamPosition { last: id(last), read, ..StreamPosition::default() };
        let stream = |added, removed, first| Known {
            added,
            removed,
            first: Some(id(first)),
            newest: id(added),
            newest_deleted: EntryId::default(),
        };
        // Ten read; of twenty the first 8, the first 10, the first 17 are gone.
        assert_eq!(lost(&stream(20, 8, 9), &at(10, 10), None), 0);
        assert_eq!(lost(&stream(20, 10, 11), &at(10, 10), None), 0);
        assert_eq!(lost(&stream(20, 17, 18), &at(10, 10), None), 7);
        // All read and all gone.
        let empty = Known { first: None, ..stream(20, 20, 1) };
        assert_eq!(lost(&empty, &at(20, 20), None), 0);
        assert_eq!(lost(&empty, &at(10, 10), None), 10);
        // Deleted in the middle of what is unread.
        let deleted = Known { newest_deleted: id(15), ..stream(20, 1, 1) };
        assert_eq!((lost(&deleted, &at(10, 10), None), lost(&deleted, &at(16, 16), None)), (1, 0));
        let group = |last, count| Some(Delivered { last: id(last), count });
        assert_eq!(lost(&stream(20, 17, 18), &at(0, 0), group(10, Some(10))), 7);
        assert_eq!(lost(&stream(20, 17, 18), &at(0, 0), group(10, None)), 0);
    }
}
