//! Entries that were removed before they were read. Redis 7 says which entry was the newest that was ever removed.

use hub_plugin_api::{Error, ErrorKind, Level, Result};
use redis::Value;

use super::{
    id::EntryId,
    options::{OnTrimmed, StreamsOptions},
    position::StreamPosition,
};
use crate::{connection::Server, reply};

const DOING: &str = "Could not look at the stream";
const TARGET: &str = "redis::streams";

/// The newest entry that was removed, of an answer to `XINFO STREAM`; nothing before version 7.
pub fn newest_removed(info: &Value) -> Result<Option<EntryId>> {
    let removed = reply::field(DOING, info, "max-deleted-entry-id")?;
    let removed = removed.map(|value| reply::bytes(DOING, value)).transpose()?.flatten();
    Ok(removed.and_then(|bytes| EntryId::of(&bytes)))
}

/// The newest entry that the group was given, of an answer to `XINFO GROUPS`.
pub fn last_delivered(groups: Value, group: &str) -> Result<Option<EntryId>> {
    for one in reply::items(DOING, groups)? {
        let name =
            reply::field(DOING, &one, "name")?.map(|name| reply::bytes(DOING, name)).transpose()?.flatten();
        if name.as_deref() == Some(group.as_bytes()) {
            let last = reply::field(DOING, &one, "last-delivered-id")?;
            let last = last.map(|last| reply::bytes(DOING, last)).transpose()?.flatten();
            return Ok(last.and_then(|bytes| EntryId::of(&bytes)));
        }
    }
    Ok(None)
}

/// Tells what was removed before it was read; `read` is the newest entry that somebody was given.
///
/// # Errors
/// [`ErrorKind::PositionLost`] where the options say so.
pub fn tell(
    server: &Server,
    options: &StreamsOptions,
    stream: &str,
    position: &mut StreamPosition,
    removed: Option<EntryId>,
    read: EntryId,
) -> Result<()> {
    let Some(removed) = removed.filter(|removed| *removed > read && *removed > position.removed) else {
        return Ok(());
    };
    position.removed = removed;
    let message = format!(
        "Entries of stream `{stream}` up to `{removed}` were removed before they were read; the last one read is `{read}`"
    );
    match options.on_trimmed {
        OnTrimmed::Warn => {
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
