//! Replication slots: made, looked at, taken away.

use std::{
    pin::pin,
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hub_plugin_api::{Context, Error, ErrorKind, Level, Result};
use tokio::time;

use super::{facts::Facts, lsn::Lsn};
use crate::{
    config::Settings,
    connection::Session,
    error,
    raw::{RawMode, RawSession},
    sql::wal,
};

/// How often a slot that is still in use is looked at again before it is dropped.
const DROP_TRIES: u32 = 20;

/// How long a slot may take before that is said.
const LONG_WAIT: Duration = Duration::from_secs(10);

/// A slot that was just made, and the state of the database that its changes follow upon.
pub struct NewSlot {
    /// Changes of transactions that are committed behind this place are in the stream, all others in the snapshot.
    pub from: Lsn,
    /// The exported snapshot's name.
    pub snapshot: Option<String>,
    /// The snapshot, and a temporary slot, live as long as their session.
    pub _session: RawSession,
}

/// The name of a slot that lives as long as its session, unlike any other's of this process or of others.
pub fn temporary_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("hub_tmp_{}_{since:x}_{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Makes a slot, and says so when the server takes its time.
///
/// # Errors
/// When there is no room for one, or the role may not.
pub async fn create(
    settings: &Settings,
    context: &Context,
    facts: &Facts,
    name: &str,
    temporary: bool,
    export: bool,
) -> Result<NewSlot> {
    let mut making = pin!(make(settings, context, facts, name, temporary, export));
    if let Ok(made) = time::timeout(LONG_WAIT, &mut making).await {
        return made;
    }
    let message = "The replication slot is made when every transaction is over that was open before, also those that \
                   are prepared: `SELECT pid, xact_start, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL` \
                   and `SELECT * FROM pg_prepared_xacts` show them";
    context.log(Level::Warn, "postgres", message);
    making.await
}

async fn make(
    settings: &Settings,
    context: &Context,
    facts: &Facts,
    name: &str,
    temporary: bool,
    export: bool,
) -> Result<NewSlot> {
    let doing = format!("Could not make the replication slot `{name}`");
    let mut session = RawSession::open(settings, context, RawMode::Replication).await?;
    // The snapshot lives in a transaction of this session, which does nothing until the rows are read.
    session.run(&wal::keep_idle_transaction(facts.version), "Could not prepare the session").await?;
    let statement = wal::create_slot(name, temporary, export, facts.version);
    let made = session.simple_query(&statement, &doing).await.map_err(|error| match error.code.as_deref() {
        Some("53400") => error.with_hint(
            "Raise `max_replication_slots` and restart the server, or drop slots that nobody uses any more",
        ),
        Some("55000") if facts.is_standby => error.with_hint(
            "The primary needs `wal_level = logical` as well; on an idle one run `SELECT pg_log_standby_snapshot()`",
        ),
        _ => error,
    })?;
    let place = made.get(0, "consistent_point");
    let from =
        place.ok_or_else(|| Error::new(ErrorKind::Protocol, "The server named no place of a new slot"))?;
    Ok(NewSlot {
        from: from.parse()?,
        snapshot: made.get(0, "snapshot_name").map(str::to_owned),
        _session: session,
    })
}

/// Whether a slot is there.
///
/// # Errors
/// When the server cannot be asked.
pub async fn exists(session: &Session, name: &str) -> Result<bool> {
    let failed = |error| error::from_driver("Could not look at the replication slot", &error);
    Ok(session.work(session.client().query_opt(wal::SLOT, &[&name])).await.map_err(failed)?.is_some())
}

/// Fails unless the stream can go on at `at`; returns the place that is acknowledged.
///
/// # Errors
/// [`ErrorKind::PositionLost`] when the slot is gone, invalidated or has moved on, [`ErrorKind::Busy`] when another
/// consumer has it, [`ErrorKind::InvalidConfig`] when it is of another kind.
pub async fn check(session: &Session, name: &str, at: Option<Lsn>) -> Result<Lsn> {
    let failed = |error| error::from_driver("Could not look at the replication slot", &error);
    let row = session.work(session.client().query_opt(wal::SLOT, &[&name])).await.map_err(failed)?;
    let Some(row) = row else { return Err(gone(name)) };
    let plugin: Option<String> = row.try_get(0).map_err(failed)?;
    let database: Option<String> = row.try_get(1).map_err(failed)?;
    let process: Option<i32> = row.try_get(3).map_err(failed)?;
    let confirmed: Option<String> = row.try_get(4).map_err(failed)?;
    let status: Option<String> = row.try_get(5).map_err(failed)?;
    let two_phase: bool = row.try_get(6).map_err(failed)?;
    if plugin.as_deref() != Some("pgoutput") {
        let plugin = plugin.unwrap_or_else(|| "none, as it is a physical slot".into());
        return Err(Error::config("slot", format!("Slot `{name}` has the output plugin `{plugin}`"))
            .with_hint("Name a logical slot of plugin `pgoutput`, or leave `slot` out to have one made"));
    }
    if two_phase {
        return Err(Error::config("slot", format!("Slot `{name}` decodes two-phase commits")).with_hint(
            "Make it without `two_phase`: prepared transactions then arrive when they are committed",
        ));
    }
    if status.as_deref() == Some("lost") {
        return Err(Error::new(
            ErrorKind::PositionLost,
            format!("The server has thrown away WAL that slot `{name}` still needed"),
        )
        .with_hint(
            "Changes are missing: read everything again with `--from-scratch`. Raise `max_slot_wal_keep_size` so that \
             it does not happen again",
        ));
    }
    if row.try_get::<_, bool>(2).map_err(failed)? {
        return Err(in_use(name, process));
    }
    let end: Option<String> = row.try_get(7).map_err(failed)?;
    let end = end.map(|end| end.parse::<Lsn>()).transpose()?;
    // The server would leave out everything up to there without a word.
    if let (Some(at), Some(end)) = (at, end)
        && at > end
    {
        return Err(Error::new(
            ErrorKind::PositionLost,
            format!("The server's WAL ends at `{end}`, before this pipeline's `{at}`"),
        )
        .with_hint(
            "It was restored from a backup, or is a standby that had not everything when it took over: read \
             everything again with `--from-scratch`",
        ));
    }
    let confirmed = confirmed.as_deref().unwrap_or("0/0").parse::<Lsn>()?;
    if let Some(at) = at.filter(|at| confirmed > *at) {
        return Err(Error::new(
            ErrorKind::PositionLost,
            format!("Slot `{name}` was acknowledged up to `{confirmed}`, behind this pipeline's `{at}`"),
        )
        .with_hint(
            "Another consumer has used the slot, and changes in between are gone: read everything again with \
             `--from-scratch`, and give each consumer a slot of its own",
        )
        .with_context("database", database.unwrap_or_default()));
    }
    Ok(confirmed)
}

fn gone(name: &str) -> Error {
    Error::new(ErrorKind::PositionLost, format!("Replication slot `{name}` does not exist any more")).with_hint(
        "Changes since then are gone: read everything again with `--from-scratch`. A slot made anew would begin now, \
         with a gap",
    )
}

fn in_use(name: &str, process: Option<i32>) -> Error {
    let who = process.map(|process| format!(" by the server's process `{process}`")).unwrap_or_default();
    Error::new(ErrorKind::Busy, format!("Replication slot `{name}` is in use{who}")).with_hint(
        "Another consumer reads it: stop that one, as two would each miss what the other gets. After a lost \
         connection the server lets it go within `wal_sender_timeout`",
    )
}

/// Says what to do about an error of a stream, at its start or in its course.
pub fn refine(name: &str, error: Error) -> Error {
    match error.code.as_deref() {
        Some("42704") if error.source.as_deref().is_some_and(|text| text.contains("publication")) => error.with_hint(
            "The server needs the publication as it was when the changes were made, so one that is made anew does not \
             help: read everything again with `--from-scratch`",
        ),
        Some("22021") => error.with_hint(
            "The source's database has the encoding `SQL_ASCII`, which takes any bytes for text, and these are no \
             UTF-8: they cannot be carried. Leave the table out with `exclude`, or its column out with a column list of \
             a publication of your own, and read everything again with `--from-scratch`",
        ),
        Some("55006") => Error { code: error.code, source: error.source, ..in_use(name, None) },
        Some("42704") if error.source.as_deref().is_some_and(|text| text.contains("replication slot")) => {
            Error { code: error.code, source: error.source, ..gone(name) }
        }
        Some("55000") => Error { kind: ErrorKind::PositionLost, ..error }.with_hint(
            "The server gave the slot's WAL up: read everything again with `--from-scratch`, and raise \
             `max_slot_wal_keep_size`",
        ),
        _ => error,
    }
}

/// Takes a slot away; one that was just in use is waited for.
///
/// # Errors
/// [`ErrorKind::Busy`] when it stays in use.
pub async fn drop_slot(session: &Session, name: &str) -> Result<()> {
    for _ in 0..DROP_TRIES {
        match session.work(session.client().execute(wal::DROP_SLOT, &[&name])).await {
            Ok(_) => return Ok(()),
            Err(error) if error.code().is_some_and(|code| code.code() == "42704") => return Ok(()),
            Err(error) if error.code().is_some_and(|code| code.code() == "55006") => {
                time::sleep(Duration::from_millis(250)).await;
            }
            Err(error) => {
                let doing = format!("Could not drop the replication slot `{name}`, which holds WAL back");
                return Err(error::from_driver(&doing, &error));
            }
        }
    }
    Err(in_use(name, None))
}
