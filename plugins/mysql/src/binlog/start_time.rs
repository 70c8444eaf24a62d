//! Where the log stood at a time.
//!
//! The last file that was begun before the time is read from its beginning up to the first transaction that was
//! committed then or later; MariaDB's log has whole seconds.

use hub_plugin_api::{Error, Result, arrow::compute::kernels::cast_utils::string_to_timestamp_nanos};

use super::{
    event::{self, Gtid, code},
    gtid::Gtids,
    log::{Log, LogAccess},
    position::LogPosition,
    server::{LogServer, lost},
};

/// The position of a time in RFC 3339.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::InvalidConfig`] for what is no time,
/// [`hub_plugin_api::ErrorKind::PositionLost`] when the log does not go back so far.
pub async fn at(access: &LogAccess, server: &mut LogServer, time: &str) -> Result<LogPosition> {
    let nanos = string_to_timestamp_nanos(time)
        .map_err(|error| Error::config("start_at", format!("`{time}` is no time")).with_source(&error))?;
    let micros = nanos.div_euclid(1000);
    let mut files = server.files().await?;
    while let Some(file) = files.pop() {
        let mut log = access.open(&file, 4).await?;
        let begun = loop {
            match log.next().await? {
                Some(seen) if seen.head.code == code::FORMAT => break seen.head.timestamp,
                Some(_) => {}
                None => break u32::MAX,
            }
        };
        if i64::from(begun) * 1_000_000 <= micros {
            return within(server, log, file, micros).await;
        }
    }
    Err(lost(format!("The log does not go back to `{time}`"))
        .with_hint("Start at `earliest` for all that the log still has"))
}

async fn within(server: &mut LogServer, mut log: Log, file: String, micros: i64) -> Result<LogPosition> {
    let mut position = server.start_of_file(file).await?;
    let mut gtids = position.gtids(server.vendor())?;
    let mut open = None;
    while let Some(seen) = log.next().await? {
        let (head, body) = (seen.head, &seen.body);
        match head.code {
            code::ROTATE => (position.file, position.offset) = event::place(head, body)?,
            of if event::is_gtid(of) => {
                let gtid = Gtid::parse(head, body)?;
                let committed = match &gtid {
                    Gtid::MySql { committed_micros, .. } => i64::try_from(*committed_micros).unwrap_or(0),
                    Gtid::MariaDb { .. } => 0,
                };
                let committed =
                    if committed == 0 { i64::from(head.timestamp) * 1_000_000 } else { committed };
                see(&mut gtids, open.take());
                // Whole seconds are not before a time within them.
                if committed >= micros || committed + 1_000_000 > micros && committed % 1_000_000 == 0 {
                    position.offset = seen.offset();
                    break;
                }
                open = Some(gtid);
            }
            _ => {}
        }
        if head.next != 0 && head.code != code::ROTATE {
            position.offset = u64::from(head.next);
        }
    }
    see(&mut gtids, open);
    position.gtids = gtids.map(|gtids| gtids.to_string());
    Ok(position)
}

/// A transaction came to its end.
fn see(gtids: &mut Option<Gtids>, gtid: Option<Gtid>) {
    match (gtid, gtids) {
        (Some(Gtid::MySql { id: Some((source, number)), .. }), Some(Gtids::MySql(set))) => {
            set.add(source, number);
        }
        (Some(Gtid::MariaDb { id, .. }), Some(Gtids::MariaDb(position))) => position.set(id),
        _ => {}
    }
}
