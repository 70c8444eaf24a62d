//! The steps of strategy `notify`.

use std::time::Duration;

use hub_plugin_api::{CheckRequest, CheckStep, Context, Error, ErrorKind, Result};
use tokio::time;

use super::{ACCESS, HEADROOM, OUTBOX, PERMISSIONS, Report, reading::free_sessions};
use crate::{
    config::Settings,
    connection::Session,
    error,
    notify::{NotifyOptions, Outbox, OutboxOptions, no_standby},
    query::ServerInfo,
    sql::{check as sql, notify as statements, qualified},
};

/// How long a notification of our own may take.
const ROUND_TRIP: Duration = Duration::from_secs(2);
/// How full the server's queue may be before it is worth a warning.
const QUEUE_WARNING: f64 = 0.5;
/// One that listens, one that reads, and the plan's own.
const SESSIONS: i64 = 3;

/// The steps of listening, from `access` on.
pub async fn check(
    settings: &Settings,
    context: &Context,
    session: &Session,
    server: ServerInfo,
    request: &CheckRequest,
    report: &mut Report<'_>,
) {
    let options = match NotifyOptions::read(&request.options) {
        Ok(options) => options,
        Err(error) => {
            report.step(CheckStep::failed(ACCESS, &error));
            return;
        }
    };
    if server.is_standby {
        report.step(CheckStep::failed(ACCESS, &no_standby()));
        return;
    }
    let outbox = options.outbox();
    let found = match &outbox {
        Some(outbox) => match Outbox::find(session, outbox).await {
            Ok(Some(found)) => Some(found),
            Ok(None) => {
                report.step(no_outbox(settings, &options, outbox));
                return;
            }
            Err(error) => {
                report.step(CheckStep::failed(ACCESS, &error));
                return;
            }
        },
        None => None,
    };
    let version = server.version / 10_000;
    report.step(CheckStep::passed(ACCESS, format!("Database `{}` on version {version}", settings.database)));
    let rights = found.as_ref().zip(outbox.as_ref());
    let grants = rights.map(|(found, outbox)| grants(settings, found, outbox)).unwrap_or_default();
    if !grants.is_empty() {
        let message = format!("Role `{}` may not read the outbox", settings.username);
        let step = CheckStep::failed(PERMISSIONS, &Error::new(ErrorKind::PermissionDenied, message));
        report.step(step.with_field("outbox").with_fix(grants.join("; ")));
        return;
    }
    let step = match round_trip(settings, context).await {
        Ok(taken) => {
            let message = format!("A notification came back after {} ms", taken.as_millis());
            CheckStep::passed(PERMISSIONS, message)
                .with_hint("PostgreSQL knows no rights on channels: every role may listen and notify")
        }
        Err(error) => CheckStep::failed(PERMISSIONS, &error),
    };
    if !report.step(step) {
        return;
    }
    let step = match (&found, &outbox) {
        (Some(found), Some(outbox)) => outbox_step(session, &options, found, outbox).await,
        _ => CheckStep::warning(OUTBOX, "Without an outbox, what is notified while nobody listens is gone").with_hint(
            "A payload has less than 8,000 bytes. Name an `outbox` table to miss nothing: notifications then only say \
             that there are new rows, however large",
        ),
    };
    if report.step(step) {
        report.step(headroom(session).await);
    }
}

/// The statements that make an outbox whose rows are notified on the first channel.
fn no_outbox(settings: &Settings, options: &NotifyOptions, outbox: &OutboxOptions) -> CheckStep {
    let OutboxOptions { schema, table, key } = outbox;
    let error = Error::new(ErrorKind::NotFound, format!("There is no table `{schema}.{table}`"));
    let mut fix = vec![statements::create_outbox(schema, table, key)];
    fix.extend(triggers(options, outbox));
    fix.push(sql::grant_usage(schema, &settings.username));
    fix.push(sql::grant_select(&(schema.clone(), table.clone()), &settings.username));
    CheckStep::failed(ACCESS, &error)
        .with_field("outbox")
        .with_hint("Insert into it in the transaction that makes the change")
        .with_fix(fix.join("; "))
}

/// Whoever listens on several channels is woken by any of them: one is enough for the trigger.
fn triggers(options: &NotifyOptions, outbox: &OutboxOptions) -> Option<String> {
    let channel = options.channels.first()?;
    Some(statements::notifying_trigger(&outbox.schema, &outbox.table, channel))
}

fn grants(settings: &Settings, found: &Outbox, outbox: &OutboxOptions) -> Vec<String> {
    let OutboxOptions { schema, table, .. } = outbox;
    let mut grants = Vec::new();
    if !found.usage {
        grants.push(sql::grant_usage(schema, &settings.username));
    }
    if !found.select {
        grants.push(sql::grant_select(&(schema.clone(), table.clone()), &settings.username));
    }
    grants
}

/// Listens on a channel that nobody else does, and notifies it.
async fn round_trip(settings: &Settings, context: &Context) -> Result<Duration> {
    let channel = format!("__hub_check_{:x}", std::process::id());
    let (session, mut notifications) = Session::open_listening(settings, context).await?;
    session.run(&statements::listen(std::slice::from_ref(&channel)), "Could not listen").await?;
    let other = Session::open(settings, context).await?;
    let started = time::Instant::now();
    let sent = other.work(other.client().execute(statements::NOTIFY, &[&channel, &""])).await;
    sent.map_err(|error| error::from_driver("Could not notify", &error))?;
    match time::timeout(ROUND_TRIP, notifications.recv()).await {
        Ok(Some(Ok(_))) => Ok(started.elapsed()),
        Ok(Some(Err(error))) => Err(error::from_driver("The session that listens has ended", &error)),
        Ok(None) | Err(_) => Err(Error::new(ErrorKind::Unsupported, "A notification did not come back")
            .with_field("host")
            .with_hint("A pooler may be in the path: listening needs a session of its own on the server")),
    }
}

async fn outbox_step(
    session: &Session,
    options: &NotifyOptions,
    found: &Outbox,
    outbox: &OutboxOptions,
) -> CheckStep {
    let OutboxOptions { schema, table, key } = outbox;
    if let Err(error) = found.check(outbox) {
        let step = CheckStep::failed(OUTBOX, &error);
        if found.cache.is_some_and(|cache| cache > 1) {
            let relation = qualified(Some(schema), table);
            let asked = session.work(session.client().query_one(sql::SEQUENCE, &[&relation, key])).await;
            let sequence = asked.and_then(|row| row.try_get::<_, Option<String>>(0));
            return match sequence {
                Ok(Some(sequence)) => step.with_fix(sql::uncached_sequence(&sequence)),
                _ => step,
            };
        }
        let may_be_null = found.key_type.is_some() && !found.key_not_null;
        return if may_be_null && error.message.contains("null") {
            step.with_fix(sql::set_not_null(schema, table, key))
        } else {
            step
        };
    }
    if !found.notifies {
        let step =
            CheckStep::warning(OUTBOX, format!("No trigger of `{schema}.{table}` notifies of new rows"))
                .with_field("outbox")
                .with_hint(format!(
                    "Unless the application notifies, new rows are only seen every {} s",
                    options.poll().as_secs_f64()
                ));
        return match triggers(options, outbox) {
            Some(fix) => step.with_fix(fix),
            None => step,
        };
    }
    if !found.key_indexed {
        return CheckStep::warning(
            OUTBOX,
            format!("No index begins with `{key}`: every look reads the whole table"),
        )
        .with_field("outbox_key")
        .with_fix(sql::create_index(schema, table, key));
    }
    CheckStep::passed(OUTBOX, format!("`{schema}.{table}` is read in the order of `{key}`"))
}

async fn headroom(session: &Session) -> CheckStep {
    let free = match free_sessions(session).await {
        Ok(free) => free,
        Err(error) => return CheckStep::warning(HEADROOM, error.to_string()),
    };
    let asked = session.work(session.client().query_one(statements::QUEUE_USAGE, &[])).await;
    let usage = asked.and_then(|row| row.try_get::<_, f64>(0)).unwrap_or_default();
    if usage > QUEUE_WARNING {
        let message = format!("The server's queue of notifications is {:.0} % full", usage * 100.0);
        return CheckStep::warning(HEADROOM, message)
            .with_hint("End the session that listens in an open transaction; once full, every NOTIFY fails");
    }
    if free < SESSIONS {
        return CheckStep::warning(HEADROOM, format!("The server has room for `{free}` more sessions"))
            .with_hint("Raise `max_connections`, or close idle sessions: a run needs up to three");
    }
    CheckStep::passed(
        HEADROOM,
        format!("Room for `{free}` sessions; the queue is {:.1} % full", usage * 100.0),
    )
}
