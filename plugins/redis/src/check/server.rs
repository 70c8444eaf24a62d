use hub_plugin_api::{CheckRequest, CheckStep, Error, ErrorKind, Result};

use super::{ACCESS, HEADROOM, NOTIFICATIONS};
use crate::{
    config::Deployment,
    connection::{Server, Session},
    keyspace::sends_key_events,
    reply,
};

const DOING: &str = "Could not look at the server";

/// Version, role, database, and the cluster's state.
pub async fn access(server: &Server, session: &mut Session, request: &CheckRequest) -> CheckStep {
    match look(server, session, request).await {
        Ok(step) => step,
        Err(error) if error.kind == ErrorKind::PermissionDenied => {
            CheckStep::warning(ACCESS, format!("Database {} is open", server.settings().database_index))
                .with_hint(
                    "The user may not send INFO: after a restart of a run keys are read from the beginning",
                )
        }
        Err(error) => CheckStep::failed(ACCESS, &error),
    }
}

async fn look(server: &Server, session: &mut Session, request: &CheckRequest) -> Result<CheckStep> {
    let settings = server.settings();
    let info = reply::text(DOING, session.call(DOING, &redis::cmd("INFO")).await?)?;
    let value = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).unwrap_or_default().to_owned()
    };
    let version = value("redis_version");
    let is_cluster = value("cluster_enabled") == "1";
    let failed = |message: String, field: &str, hint: &str| {
        let error = Error::new(ErrorKind::InvalidConfig, message).with_field(field).with_hint(hint);
        Ok(CheckStep::failed(ACCESS, &error))
    };
    if is_cluster && settings.deployment != Deployment::Cluster {
        return failed(
            "The server is part of a cluster".into(),
            "deployment",
            "Set `deployment` to `cluster`",
        );
    }
    if settings.deployment == Deployment::Cluster {
        if !is_cluster {
            return failed(
                "The server is no part of a cluster".into(),
                "deployment",
                "Set `deployment` to `single-node`",
            );
        }
        let masters = server.masters().await?;
        return Ok(CheckStep::passed(
            ACCESS,
            format!("A cluster of version {version} with {} masters, which have all slots", masters.len()),
        ));
    }
    let is_replica = value("role") == "slave";
    if is_replica && request.strategy == "write" {
        return failed(
            "The server is a replica, which takes no writes".into(),
            "host",
            "Give the master's host",
        );
    }
    let role = if is_replica { ", a replica" } else { "" };
    let found = format!("Database {} on version {version}{role}", settings.database_index);
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    if major < 6 {
        return Ok(CheckStep::warning(ACCESS, found).with_hint("Versions before 6.2 are not tested"));
    }
    Ok(CheckStep::passed(ACCESS, found))
}

/// One setting of the server; nothing where the user may not ask.
pub async fn setting(session: &mut Session, name: &str) -> Result<Option<String>> {
    match session.call(DOING, redis::cmd("CONFIG").arg("GET").arg(name)).await {
        Ok(answer) => Ok(Some(match reply::field(DOING, &answer, name)? {
            Some(value) => reply::text(DOING, value)?,
            None => String::new(),
        })),
        Err(error) if matches!(error.kind, ErrorKind::PermissionDenied | ErrorKind::Unsupported) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether every master says what happens to its keys.
pub async fn notifications(server: &Server, _request: &CheckRequest) -> CheckStep {
    let check = async {
        let masters = server.masters().await?;
        for master in &masters {
            let mut session = server.node(&master.address).await?;
            let Some(classes) = setting(&mut session, "notify-keyspace-events").await? else {
                return Ok(CheckStep::warning(
                    NOTIFICATIONS,
                    "The user may not read `notify-keyspace-events`; without it nothing comes",
                )
                .with_fix("CONFIG GET notify-keyspace-events"));
            };
            let (host, port) = &master.address;
            if !sends_key_events(&classes) {
                let message =
                    format!("`{host}:{port}` sends no key events: `notify-keyspace-events` is `{classes}`");
                return Ok(CheckStep::failed(NOTIFICATIONS, &Error::new(ErrorKind::InvalidConfig, message))
                    .with_fix("CONFIG SET notify-keyspace-events KEA"));
            }
            if !classes.contains('A') {
                let message = format!("`{host}:{port}` sends the events of classes `{classes}` only");
                return Ok(CheckStep::warning(NOTIFICATIONS, message)
                    .with_fix("CONFIG SET notify-keyspace-events KEA"));
            }
        }
        Ok::<_, Error>(CheckStep::passed(NOTIFICATIONS, format!("{} masters send key events", masters.len())))
    };
    check.await.unwrap_or_else(|error| CheckStep::failed(NOTIFICATIONS, &error))
}

/// What happens when memory is full, and whether writes outlive a restart.
pub async fn headroom(session: &mut Session, request: &CheckRequest) -> CheckStep {
    let check = async {
        let Some(policy) = setting(session, "maxmemory-policy").await? else {
            return Ok(CheckStep::warning(HEADROOM, "The user may not read the server's settings")
                .with_hint("Grant `+config|get` to have memory policy and persistence looked at"));
        };
        let limit = setting(session, "maxmemory").await?.unwrap_or_default();
        if policy != "noeviction" && limit != "0" {
            let message = format!("When memory is full the server drops keys by itself: policy `{policy}`");
            return Ok(
                CheckStep::warning(HEADROOM, message).with_fix("CONFIG SET maxmemory-policy noeviction")
            );
        }
        if request.strategy == "write" {
            let save = setting(session, "save").await?.unwrap_or_default();
            let log = setting(session, "appendonly").await?.unwrap_or_default();
            if log != "yes" {
                let snapshots = if save.is_empty() { "nothing" } else { "snapshots only" };
                let message = format!("The server writes {snapshots} to disk: a crash loses commits");
                return Ok(CheckStep::warning(HEADROOM, message).with_fix("CONFIG SET appendonly yes"));
            }
        }
        Ok::<_, Error>(CheckStep::passed(HEADROOM, format!("Memory policy `{policy}`")))
    };
    check.await.unwrap_or_else(|error| CheckStep::warning(HEADROOM, error.to_string()))
}
