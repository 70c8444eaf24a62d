use hub_plugin_api::{CheckRequest, CheckStep, Error, ErrorKind, Result};

use super::{ACCESS, HEADROOM, PERMISSIONS, Report};
use crate::{
    config::Settings,
    connection::Session,
    error,
    query::{Cursor, Prepared, QueryOptions, ServerInfo, prepare},
    sql::{catalog, identifier, qualified, read::begin_snapshot, statement::StatementText},
};

/// The oldest version that the connector is made for.
const OLDEST_VERSION: u32 = 120_000;
/// Replay lag from which a standby is worth a warning, in milliseconds.
const LAG_WARNING_MS: i64 = 60_000;
/// A plan, and at least one reader.
const SESSIONS: i64 = 2;

/// The steps of a source, from `access` on.
pub async fn check(
    settings: &Settings,
    session: &Session,
    server: ServerInfo,
    request: &CheckRequest,
    report: &mut Report<'_>,
) {
    // Without a statement only the server itself can be tested.
    let options = match request.options.text("statement") {
        Some(_) => match QueryOptions::read(&request.options) {
            Ok(options) => Some(options),
            Err(error) => {
                report.step(CheckStep::failed(ACCESS, &error));
                return;
            }
        },
        None => None,
    };
    if !report.step(access(settings, session, server, options.as_ref()).await) {
        return;
    }
    let permissions = match &options {
        Some(options) => permissions(settings, session, server, options).await,
        None => CheckStep::skipped(PERMISSIONS, "There is no statement to test"),
    };
    if report.step(permissions) {
        report.step(headroom(session, server).await);
    }
}

async fn access(
    settings: &Settings,
    session: &Session,
    server: ServerInfo,
    options: Option<&QueryOptions>,
) -> CheckStep {
    // Parsing needs no right to read a table, but finds tables and columns that do not exist.
    if let Some(options) = options {
        let text = match StatementText::parse(&options.statement) {
            Ok(text) => text,
            Err(error) => return CheckStep::failed(ACCESS, &error),
        };
        match prepare(session, &text).await {
            Err(error) if error.kind != ErrorKind::PermissionDenied => {
                return CheckStep::failed(ACCESS, &error);
            }
            _ => {}
        }
    }
    let standby = if server.is_standby { ", a standby" } else { "" };
    let found = format!("Database `{}` on version {}{standby}", settings.database, server.version / 10_000);
    if server.version < OLDEST_VERSION {
        return CheckStep::warning(ACCESS, found).with_hint("Versions before 12 are not tested");
    }
    if settings.connect_to_replica && !server.is_standby {
        return CheckStep::warning(ACCESS, format!("{found}, is no standby"))
            .with_field("connect_to_replica")
            .with_hint("Give a standby's host, or turn `connect_to_replica` off");
    }
    CheckStep::passed(ACCESS, found)
}

async fn permissions(
    settings: &Settings,
    session: &Session,
    server: ServerInfo,
    options: &QueryOptions,
) -> CheckStep {
    match try_statement(session, server, options).await {
        Ok(columns) => {
            CheckStep::passed(PERMISSIONS, format!("The statement may be run and gives `{columns}` columns"))
        }
        Err(error) => {
            let step = CheckStep::failed(PERMISSIONS, &error);
            if error.kind != ErrorKind::PermissionDenied {
                return step;
            }
            // The failed transaction answers nothing more.
            drop(session.run("ROLLBACK", "Could not end the attempt").await);
            let grants = missing_grants(settings, session, options).await.unwrap_or_default();
            let role = identifier(&settings.username);
            match grants.is_empty() {
                true => step.with_hint(format!("Grant SELECT on every table of the statement to {role}")),
                false => step.with_fix(grants.join("; ")),
            }
        }
    }
}

/// Does all that a plan does before it reads.
async fn try_statement(session: &Session, server: ServerInfo, options: &QueryOptions) -> Result<usize> {
    session
        .run(&begin_snapshot(None, options.lock_timeout_ms, server.version), "Could not start reading")
        .await?;
    let prepared = Prepared::new(session, options, None).await?;
    Cursor::of(options, &prepared.shape)?;
    session.run("COMMIT", "Could not end reading").await?;
    Ok(prepared.shape.columns.len())
}

/// The grants that the statement's tables lack, as far as its columns show them.
async fn missing_grants(
    settings: &Settings,
    session: &Session,
    options: &QueryOptions,
) -> Result<Vec<String>> {
    let failed = |error| error::from_driver("Could not look for missing rights", &error);
    let text = StatementText::parse(&options.statement)?;
    let statement = match prepare(session, &text).await {
        Ok(statement) => statement,
        Err(error) => return Ok(schema_grant(settings, &error).into_iter().collect()),
    };
    let tables: Vec<_> = statement.columns().iter().filter_map(tokio_postgres::Column::table_oid).collect();
    let client = session.client();
    let rows = session.work(client.query(catalog::UNREADABLE, &[&tables])).await.map_err(failed)?;
    let role = identifier(&settings.username);
    let mut grants = Vec::new();
    for row in &rows {
        let (schema, name): (String, String) =
            (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        if !row.try_get::<_, bool>(2).map_err(failed)? {
            grants.push(format!("GRANT USAGE ON SCHEMA {} TO {role}", identifier(&schema)));
        }
        grants.push(format!("GRANT SELECT ON {} TO {role}", qualified(Some(&schema), &name)));
    }
    grants.dedup();
    Ok(grants)
}

/// A schema that may not be used stops the statement before its tables are looked at. The server names it last.
fn schema_grant(settings: &Settings, error: &Error) -> Option<String> {
    let text = error.source.as_deref()?;
    let schema = text.rsplit_once("schema ")?.1;
    Some(format!("GRANT USAGE ON SCHEMA {} TO {}", identifier(schema), identifier(&settings.username)))
}

async fn headroom(session: &Session, server: ServerInfo) -> CheckStep {
    let free = match free_sessions(session).await {
        Ok(free) => free,
        Err(error) => return CheckStep::warning(HEADROOM, error.to_string()),
    };
    if free < SESSIONS {
        return CheckStep::warning(HEADROOM, format!("The server has room for `{free}` more sessions"))
            .with_hint(
                "Raise `max_connections`, or close idle sessions: a run needs one more than it has readers",
            );
    }
    match server.replay_lag_ms {
        Some(lag_ms) if lag_ms >= LAG_WARNING_MS => {
            CheckStep::warning(HEADROOM, format!("The standby is {lag_ms} ms behind its primary"))
                .with_hint("Rows that it has not replayed yet are not read")
        }
        Some(lag_ms) => {
            CheckStep::passed(HEADROOM, format!("Room for `{free}` sessions; replay lag {lag_ms} ms"))
        }
        None => CheckStep::passed(HEADROOM, format!("Room for `{free}` sessions")),
    }
}

/// How many more sessions the server takes.
pub async fn free_sessions(session: &Session) -> Result<i64> {
    let failed = |error| error::from_driver("Could not ask how many sessions are free", &error);
    let row = session.work(session.client().query_one(catalog::FREE_SESSIONS, &[])).await.map_err(failed)?;
    row.try_get(0).map_err(failed)
}
