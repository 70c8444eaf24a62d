//! The steps of strategy `wal`.

use hub_plugin_api::{CheckRequest, CheckStep, Context, Error, ErrorKind, Result};

use super::{ACCESS, PERMISSIONS, PUBLICATION, REPLICA_IDENTITY, RETENTION, Report, SLOTS, WAL_LEVEL};
use crate::{
    config::Settings,
    connection::Session,
    error,
    raw::{RawMode, RawSession},
    sql::{
        check as sql,
        wal::{self as statements, Table},
    },
    wal::{Captured, Facts, WalOptions, check_slot, select_tables},
};

/// WAL that a slot which nobody reads may hold back before it is worth a warning, in bytes.
const PINNED_WARNING: i64 = 128 << 20;
/// What a slot should be let hold back at the least, in MB.
const LEAST_RETENTION_MB: i64 = 1_024;
const RETENTION_FIX: &str = "10GB";

/// What the role may do with a table, and what decoding makes of it.
struct Rights {
    table: Table,
    usage: bool,
    select: bool,
    owner: bool,
    has_key: bool,
    has_identity: bool,
    generated: Vec<String>,
}

/// The steps of a capture, from `access` on.
pub async fn check(
    settings: &Settings,
    context: &Context,
    session: &Session,
    request: &CheckRequest,
    report: &mut Report<'_>,
) {
    let options = match WalOptions::read(&request.options) {
        Ok(options) => options,
        Err(error) => {
            report.step(CheckStep::failed(ACCESS, &error));
            return;
        }
    };
    let facts = match Facts::of(session).await {
        Ok(facts) => facts,
        Err(error) => {
            report.step(CheckStep::failed(ACCESS, &error));
            return;
        }
    };
    if !report.step(access(settings, &facts)) || !report.step(wal_level(&facts)) {
        return;
    }
    let permissions = permissions(settings, context, session, &facts).await;
    if permissions.status == hub_plugin_api::CheckStatus::Failed {
        report.step(permissions);
        return;
    }
    let tables = match tables(settings, session, &options, report, permissions).await {
        Some(tables) => tables,
        None => return,
    };
    if report.step(publication(settings, session, &facts, &options, &tables).await)
        && report.step(replica_identity(&options, &tables))
        && report.step(slots(session, &facts, &options).await)
    {
        report.step(retention(session).await);
    }
}

fn access(settings: &Settings, facts: &Facts) -> CheckStep {
    let version = facts.version / 10_000;
    if version < 14 || (facts.is_standby && version < 16) {
        return match facts.check() {
            Err(error) => CheckStep::failed(ACCESS, &error),
            Ok(()) => CheckStep::passed(ACCESS, "The server can decode"),
        };
    }
    let kind = if facts.is_standby { "a standby" } else { "a primary" };
    let found = format!("Database `{}` on version {version}, {kind}", settings.database);
    match (facts.is_standby, settings.connect_to_replica) {
        (false, true) => CheckStep::warning(ACCESS, found)
            .with_field("connect_to_replica")
            .with_hint("Give a standby's host, or turn `connect_to_replica` off"),
        (false, false) if version >= 16 => CheckStep::passed(ACCESS, found).with_hint(
            "A standby can decode as well, and takes the work from the primary: `connect_to_replica`",
        ),
        _ => CheckStep::passed(ACCESS, found),
    }
}

fn wal_level(facts: &Facts) -> CheckStep {
    if facts.wal_level == "logical" {
        return CheckStep::passed(WAL_LEVEL, "The server writes what decoding needs");
    }
    let message = format!("The server's `wal_level` is `{}`, and must be `logical`", facts.wal_level);
    CheckStep::failed(WAL_LEVEL, &Error::new(ErrorKind::Unsupported, message))
        .with_hint("Run it on the primary, and restart the server")
        .with_fix(sql::alter_system("wal_level", "logical"))
}

/// Whether a replication session can be opened. Opening one is the only way to know what `pg_hba.conf` says.
async fn permissions(settings: &Settings, context: &Context, session: &Session, facts: &Facts) -> CheckStep {
    if !facts.may_replicate {
        let message = format!("Role `{}` may not read the WAL", settings.username);
        return CheckStep::failed(PERMISSIONS, &Error::new(ErrorKind::PermissionDenied, message))
            .with_field("username")
            .with_fix(sql::grant_replication(&settings.username));
    }
    match RawSession::open(settings, context, RawMode::Replication).await {
        Ok(_) => CheckStep::passed(PERMISSIONS, format!("Role `{}` may read the WAL", settings.username)),
        Err(error) if error.code.as_deref() == Some("53300") => {
            let step = CheckStep::failed(PERMISSIONS, &error);
            match room(session).await {
                Ok(room) => step
                    .with_hint("No sender is free: restart the server after it")
                    .with_fix(sql::alter_system("max_wal_senders", &(room.senders + 10).to_string())),
                Err(_) => step,
            }
        }
        Err(error) => {
            let pooled =
                matches!(error.kind, ErrorKind::Protocol | ErrorKind::Unsupported | ErrorKind::Network);
            let step = CheckStep::failed(PERMISSIONS, &error);
            if pooled || error.code.as_deref().is_some_and(|code| code.starts_with("08")) {
                return step
                    .with_field("host")
                    .with_hint("Poolers carry no replication sessions: connect to the server itself");
            }
            step.with_hint(
                "A line of `pg_hba.conf` must admit the role to this database for replication sessions too",
            )
        }
    }
}

/// The tables, when the role may read them.
async fn tables(
    settings: &Settings,
    session: &Session,
    options: &WalOptions,
    report: &mut Report<'_>,
    passed: CheckStep,
) -> Option<Vec<Rights>> {
    // What a publication lacks is the next step's: this one looks at the tables that are named.
    let without = WalOptions { publication: None, ..options.clone() };
    let published = match options.publication.is_some() && options.tables.is_empty() {
        true => select_tables(session, options, false).await.ok(),
        false => None,
    };
    let captured = match published {
        Some(captured) => Ok(captured),
        None => select_tables(session, &without, false).await,
    };
    let rights = match captured {
        Ok(captured) => all_rights(session, captured).await,
        Err(error) => Err(error),
    };
    let rights = match rights {
        Ok(rights) => rights,
        Err(error) => {
            report.step(CheckStep::failed(PERMISSIONS, &error));
            return None;
        }
    };
    let role = &settings.username;
    let mut grants = Vec::new();
    // What is only streamed is never selected.
    for one in rights.iter().filter(|_| options.capture.snapshot()) {
        if !one.usage {
            grants.push(sql::grant_usage(&one.table.0, role));
        }
        if !one.select {
            grants.push(sql::grant_select(&one.table, role));
        }
    }
    grants.dedup();
    if grants.is_empty() {
        report.step(passed);
        return Some(rights);
    }
    let message = format!("Role `{role}` may not read every table");
    let step = CheckStep::failed(PERMISSIONS, &Error::new(ErrorKind::PermissionDenied, message));
    report.step(step.with_field("tables").with_fix(grants.join("; ")));
    None
}

async fn all_rights(session: &Session, captured: Vec<Captured>) -> Result<Vec<Rights>> {
    let failed = |error| error::from_driver("Could not look for rights", &error);
    let mut all = Vec::with_capacity(captured.len());
    for one in captured {
        let row = session.work(session.client().query_one(sql::CAPTURE_RIGHTS, &[&one.oid])).await;
        let row = row.map_err(failed)?;
        all.push(Rights {
            table: one.table,
            usage: row.try_get(0).map_err(failed)?,
            select: row.try_get(1).map_err(failed)?,
            owner: row.try_get(2).map_err(failed)?,
            has_key: row.try_get(3).map_err(failed)?,
            generated: row.try_get(4).map_err(failed)?,
            has_identity: one.has_identity,
        });
    }
    Ok(all)
}

async fn publication(
    settings: &Settings,
    session: &Session,
    facts: &Facts,
    options: &WalOptions,
    rights: &[Rights],
) -> CheckStep {
    let found = match &options.publication {
        Some(name) => named_publication(session, name, rights, options).await,
        None if facts.is_standby => Ok(publication_of_primary(rights)),
        None => own_publication(settings, session, rights).await,
    };
    found.unwrap_or_else(|error| CheckStep::failed(PUBLICATION, &error))
}

fn names(rights: &[Rights]) -> Vec<Table> {
    rights.iter().map(|one| one.table.clone()).collect()
}

/// A publication that the user made.
async fn named_publication(
    session: &Session,
    name: &str,
    rights: &[Rights],
    options: &WalOptions,
) -> Result<CheckStep> {
    let failed = |error| error::from_driver("Could not look at the publication", &error);
    let wrong = |message: String| {
        CheckStep::failed(PUBLICATION, &Error::new(ErrorKind::NotFound, message)).with_field("publication")
    };
    let client = session.client();
    let row = session.work(client.query_opt(statements::PUBLICATION, &[&name])).await.map_err(failed)?;
    let Some(row) = row else {
        return Ok(wrong(format!("There is no publication `{name}`"))
            .with_fix(statements::create_publication(name, &names(rights))));
    };
    let sends: (bool, bool) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
    let rows = session.work(client.query(statements::PUBLISHED, &[&name])).await.map_err(failed)?;
    let table = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
    let published: Vec<Table> = rows.iter().map(table).collect::<Result<_, _>>().map_err(failed)?;
    if published.is_empty() {
        return Ok(wrong(format!("Publication `{name}` has no table"))
            .with_fix(statements::add_to_publication(name, &names(rights))));
    }
    // Without names, what the publication has is what is captured.
    let missing: Vec<Table> = match options.tables.is_empty() {
        true => Vec::new(),
        false => names(rights).into_iter().filter(|table| !published.contains(table)).collect(),
    };
    if let Some((schema, table)) = missing.first() {
        return Ok(wrong(format!("Publication `{name}` lacks `{schema}.{table}`"))
            .with_fix(statements::add_to_publication(name, &missing)));
    }
    if sends != (true, true) {
        return Ok(wrong(format!("Publication `{name}` does not send updates and deletes"))
            .with_fix(sql::publish_all(name)));
    }
    Ok(CheckStep::passed(PUBLICATION, format!("Publication `{name}` has `{}` tables", published.len())))
}

/// A standby takes no writes, so nothing can be made on it.
fn publication_of_primary(rights: &[Rights]) -> CheckStep {
    let error = Error::new(ErrorKind::Unsupported, "A publication cannot be made on a standby");
    CheckStep::failed(PUBLICATION, &error.with_field("publication"))
        .with_hint("Have an owner of the tables run it on the primary, and set `publication` to its name")
        .with_fix(statements::create_publication("hub", &names(rights)))
}

/// A publication that the connector makes needs an owner of the tables.
async fn own_publication(settings: &Settings, session: &Session, rights: &[Rights]) -> Result<CheckStep> {
    let failed = |error| error::from_driver("Could not look for rights", &error);
    let row = session.work(session.client().query_one(sql::MAY_PUBLISH, &[])).await.map_err(failed)?;
    let may_create: bool = row.try_get(0).map_err(failed)?;
    let foreign = rights.iter().find(|one| !one.owner);
    if may_create && foreign.is_none() {
        return Ok(CheckStep::passed(PUBLICATION, "The role may make the publication"));
    }
    let message = match foreign {
        Some(Rights { table: (schema, name), .. }) => {
            format!("Role `{}` does not own `{schema}.{name}`, so it cannot publish it", settings.username)
        }
        None => format!("Role `{}` may not make publications in this database", settings.username),
    };
    let error = Error::new(ErrorKind::PermissionDenied, message).with_field("publication");
    Ok(CheckStep::failed(PUBLICATION, &error)
        .with_hint("Have an owner of the tables run it, and set `publication` to its name")
        .with_fix(statements::create_publication("hub", &names(rights))))
}

fn replica_identity(options: &WalOptions, rights: &[Rights]) -> CheckStep {
    let without: Vec<_> = rights.iter().filter(|one| !one.has_identity).collect();
    if let Some(Rights { table: (schema, name), .. }) = without.first() {
        let message = format!(
            "`{schema}.{name}` has no replica identity: once published, its updates and deletes fail"
        );
        let fixes: Vec<_> = without.iter().map(|one| statements::identity_full(&one.table)).collect();
        return CheckStep::failed(REPLICA_IDENTITY, &Error::new(ErrorKind::Unsupported, message))
            .with_field("tables")
            .with_hint(
                "A primary key is better: with FULL every update writes the whole old row into the WAL",
            )
            .with_fix(fixes.join("; "));
    }
    if let Some(Rights { table: (schema, name), generated, .. }) =
        rights.iter().find(|one| !one.generated.is_empty()).filter(|_| options.publication.is_none())
    {
        return CheckStep::warning(
            REPLICA_IDENTITY,
            format!("Generated columns are not sent: `{}` of `{schema}.{name}`", generated.join("`, `")),
        )
        .with_field("tables")
        .with_hint("The destination can compute them again, or a trigger can fill a plain column");
    }
    if let Some(Rights { table: (schema, name), .. }) = rights.iter().find(|one| !one.has_key) {
        return CheckStep::warning(REPLICA_IDENTITY, format!("`{schema}.{name}` has no primary key"))
            .with_field("tables")
            .with_hint("A destination can only append its changes, as it cannot tell rows apart");
    }
    CheckStep::passed(
        REPLICA_IDENTITY,
        match rights.len() {
            1 => "The table has a key".to_owned(),
            count => format!("All {count} tables have a key"),
        },
    )
}

/// Slots and senders, as the server has them.
struct Room {
    slots: i64,
    used_slots: i64,
    senders: i64,
    used_senders: i64,
    keep_mb: i64,
    idle_timeout_s: i64,
}

async fn room(session: &Session) -> Result<Room> {
    let failed = |error| error::from_driver("Could not ask how much room there is", &error);
    let row = session.work(session.client().query_one(sql::WAL_ROOM, &[])).await.map_err(failed)?;
    let number = |index: usize| row.try_get::<_, i64>(index).map_err(failed);
    Ok(Room {
        slots: number(0)?,
        used_slots: number(1)?,
        senders: number(2)?,
        used_senders: number(3)?,
        keep_mb: number(4)?,
        idle_timeout_s: number(5)?,
    })
}

async fn slots(session: &Session, facts: &Facts, options: &WalOptions) -> CheckStep {
    let room = match room(session).await {
        Ok(room) => room,
        Err(error) => return CheckStep::failed(SLOTS, &error),
    };
    let full = |what: &str, setting: &str, all: i64| {
        let message = format!("All `{all}` {what} of the server are in use");
        CheckStep::failed(SLOTS, &Error::new(ErrorKind::ResourceExhausted, message))
            .with_hint("Restart the server after it, or drop what nobody uses")
            .with_fix(sql::alter_system(setting, &(all + 10).to_string()))
    };
    if let Some(slot) = &options.slot {
        if let Err(error) = check_slot(session, slot, None).await {
            return CheckStep::failed(SLOTS, &error).with_field("slot");
        }
    } else if room.used_slots >= room.slots {
        return full("replication slots", "max_replication_slots", room.slots);
    }
    if room.used_senders >= room.senders {
        return full("WAL senders", "max_wal_senders", room.senders);
    }
    let found = format!(
        "Room for `{}` slots and `{}` senders",
        room.slots - room.used_slots,
        room.senders - room.used_senders
    );
    if facts.is_standby {
        return CheckStep::passed(SLOTS, found)
            .with_hint("On an idle primary a new slot waits for `SELECT pg_log_standby_snapshot()` there");
    }
    CheckStep::passed(SLOTS, found)
}

async fn retention(session: &Session) -> CheckStep {
    let room = match room(session).await {
        Ok(room) => room,
        Err(error) => return CheckStep::warning(RETENTION, error.to_string()),
    };
    let pinning = match pinning(session).await {
        Ok(pinning) => pinning,
        Err(error) => return CheckStep::warning(RETENTION, error.to_string()),
    };
    if let Some((slot, bytes)) = pinning.first() {
        let drops: Vec<_> = pinning.iter().map(|(slot, _)| sql::drop_slot(slot)).collect();
        let message = format!("Slot `{slot}`, which nobody reads, holds back `{}` MB of WAL", bytes >> 20);
        return CheckStep::warning(RETENTION, message)
            .with_hint("Where its consumer is gone for good, drop it before the disk is full")
            .with_fix(drops.join("; "));
    }
    let fix = sql::alter_system_now("max_slot_wal_keep_size", RETENTION_FIX);
    if room.keep_mb < 0 {
        return CheckStep::warning(RETENTION, "A slot may hold back WAL until the disk is full")
            .with_hint("Set a limit that outlasts the longest pause of the hub")
            .with_fix(fix);
    }
    if room.keep_mb < LEAST_RETENTION_MB {
        let message = format!("A slot that is `{}` MB behind is given up by the server", room.keep_mb);
        return CheckStep::warning(RETENTION, message)
            .with_hint("A short pause of the hub may then cost a new snapshot")
            .with_fix(fix);
    }
    if room.idle_timeout_s > 0 {
        let message = format!("A slot that nobody reads for `{}` s is given up", room.idle_timeout_s);
        return CheckStep::warning(RETENTION, message)
            .with_hint("A longer pause of the hub then costs a new snapshot")
            .with_fix(sql::alter_system_now("idle_replication_slot_timeout", "0"));
    }
    CheckStep::passed(RETENTION, format!("A slot may hold back `{}` MB of WAL", room.keep_mb))
}

async fn pinning(session: &Session) -> Result<Vec<(String, i64)>> {
    let failed = |error| error::from_driver("Could not look at the replication slots", &error);
    let client = session.client();
    let rows = session.work(client.query(sql::PINNING_SLOTS, &[&PINNED_WARNING])).await.map_err(failed)?;
    let slot = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.iter().map(slot).collect::<Result<_, _>>().map_err(failed)
}
