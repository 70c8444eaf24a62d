use hub_plugin_api::{Error, ErrorKind, Level, Result};

use super::group::{Group, own_consumer};
use crate::{
    commands,
    connection::{Server, Session},
    reply,
};

const DOING: &str = "Could not look for the pipeline's consumers";
const TARGET: &str = "redis::streams";
/// Keys that the server looks at in one step.
const AT_ONCE: u64 = 1000;

/// Removes the consumers of the pipeline's own name from the groups of every stream. One that has entries pending stays,
/// for with it they would be forgotten: others may take them over. So do groups, and consumers that options name.
///
/// # Errors
/// When the server refuses. A user who may not look has no consumers either, as reading needs the same rights.
pub async fn release(server: &Server, pipeline: &str) -> Result<()> {
    let own = Group::new(String::new(), own_consumer(pipeline));
    for master in server.masters().await? {
        let mut session = server.node(&master.address).await?;
        match on_node(server, &mut session, &own).await {
            Err(error) if error.kind == ErrorKind::PermissionDenied => {
                server.context().log(Level::Debug, TARGET, error.to_string());
            }
            other => other?,
        }
    }
    Ok(())
}

async fn on_node(server: &Server, session: &mut Session, own: &Group) -> Result<()> {
    let mut cursor = 0;
    loop {
        let command = commands::scan(cursor, None, AT_ONCE, Some("stream"));
        let (next, streams) = reply::cursor(DOING, session.call(DOING, &command).await?)?;
        for stream in streams {
            match of_stream(server, session, &stream, own).await {
                // Gone, or another kind of value, since SCAN saw it.
                Err(error) if error.source.as_deref() == Some("no such key") => {}
                Err(error) if error.code.as_deref() == Some("WRONGTYPE") => {}
                other => other?,
            }
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}

async fn of_stream(server: &Server, session: &mut Session, stream: &[u8], own: &Group) -> Result<()> {
    let groups = session.call(DOING, redis::cmd("XINFO").arg("GROUPS").arg(stream)).await?;
    for group in reply::items(DOING, groups)? {
        let Some(name) = reply::field(DOING, &group, "name")? else { continue };
        let name = reply::bytes(DOING, name)?.unwrap_or_default();
        let consumers =
            session.call(DOING, redis::cmd("XINFO").arg("CONSUMERS").arg(stream).arg(&name)).await?;
        for consumer in reply::items(DOING, consumers)? {
            let text = |value: Option<redis::Value>| value.map(|value| reply::text(DOING, value)).transpose();
            let found = text(reply::field(DOING, &consumer, "name")?)?.unwrap_or_default();
            if found != own.consumer && found != own.claims {
                continue;
            }
            let pending = reply::field(DOING, &consumer, "pending")?;
            let pending = pending.map_or(Ok(0), |pending| reply::integer(DOING, pending))?;
            let (stream_name, group_name) = (String::from_utf8_lossy(stream), String::from_utf8_lossy(&name));
            if pending > 0 {
                let message = format!(
                    "Consumer `{found}` stays in group `{group_name}` of `{stream_name}`: it has {pending} entries that \
                     are not acknowledged"
                );
                server.context().log(Level::Warn, TARGET, message);
                continue;
            }
            let mut remove = redis::cmd("XGROUP");
            remove.arg("DELCONSUMER").arg(stream).arg(&name).arg(&found);
            let forgotten = session.call("Could not remove the consumer", &remove).await?;
            let forgotten = reply::integer(DOING, forgotten)?;
            if forgotten > 0 {
                let message = format!(
                    "Consumer `{found}` of group `{group_name}` got {forgotten} entries of `{stream_name}` while it was \
                     removed: the group will not give them again"
                );
                return Err(Error::new(ErrorKind::Busy, message).with_hint(
                    "Stop every run of the pipeline before it is released, and read those entries anew",
                ));
            }
        }
    }
    Ok(())
}
