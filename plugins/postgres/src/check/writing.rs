use hub_plugin_api::{CheckRequest, CheckStatus, CheckStep, Error, ErrorKind, Result};

use super::{ACCESS, HEADROOM, PERMISSIONS, Report, WRITE_PROBE, reading::free_sessions};
use crate::{
    config::Settings,
    connection::Session,
    error,
    query::ServerInfo,
    sql::{catalog, identifier, qualified},
};

/// A table that is made and taken back.
const PROBE: &str = "__hub_probe";

/// Where rows go, as far as the options say.
struct Target {
    schema: String,
    table: Option<String>,
    commit_schema: String,
    mode: String,
    creates: bool,
}

/// What the role may do there.
struct Rights {
    schema_exists: bool,
    usage: bool,
    create: bool,
    table_exists: bool,
    table: [bool; 4],
}

/// The steps of a destination, from `access` on.
pub async fn check(
    settings: &Settings,
    session: &Session,
    server: ServerInfo,
    request: &CheckRequest,
    report: &mut Report<'_>,
) {
    let text = |id: &str| request.options.text(id).map(String::from);
    let schema = text("schema").unwrap_or_else(|| "public".into());
    let target = Target {
        commit_schema: text("commit_schema").unwrap_or_else(|| schema.clone()),
        schema,
        table: text("table"),
        mode: text("mode").unwrap_or_else(|| "append".into()),
        creates: request.options.get("create_table").is_none_or(|value| value.as_bool() != Some(false)),
    };
    let rights = match rights(session, &target.schema, target.table.as_deref()).await {
        Ok(rights) => rights,
        Err(error) => {
            report.step(CheckStep::failed(ACCESS, &error));
            return;
        }
    };
    let passed = report.step(access(settings, server, &target, &rights))
        && report.step(permissions(settings, session, &target, &rights).await);
    if !passed {
        return;
    }
    let free = free_sessions(session).await.unwrap_or_default();
    let room = format!("The server has room for `{free}` more sessions");
    let status = if free < 1 { CheckStatus::Warning } else { CheckStatus::Passed };
    report.step(CheckStep::new(HEADROOM, status, room));
    report.step(probe(session, &target).await);
}

async fn rights(session: &Session, schema: &str, table: Option<&str>) -> Result<Rights> {
    let failed = |error| error::from_driver("Could not look for rights", &error);
    let client = session.client();
    let row =
        session.work(client.query_one(catalog::WRITE_RIGHTS, &[&schema, &table])).await.map_err(failed)?;
    let right = |index: usize| row.try_get::<_, bool>(index).map_err(failed);
    Ok(Rights {
        schema_exists: right(0)?,
        usage: right(1)?,
        create: right(2)?,
        table_exists: right(3)?,
        table: [right(4)?, right(5)?, right(6)?, right(7)?],
    })
}

fn access(settings: &Settings, server: ServerInfo, target: &Target, rights: &Rights) -> CheckStep {
    if server.is_standby {
        let error = Error::new(ErrorKind::Unsupported, "The server is a standby, which takes no writes");
        return CheckStep::failed(ACCESS, &error.with_field("host").with_hint("Give the primary's host"));
    }
    if !rights.schema_exists {
        let error = Error::new(ErrorKind::NotFound, format!("There is no schema `{}`", target.schema));
        return CheckStep::failed(ACCESS, &error.with_field("schema"))
            .with_fix(format!("CREATE SCHEMA {}", identifier(&target.schema)));
    }
    if let Some(table) = target.table.as_ref().filter(|_| !rights.table_exists && !target.creates) {
        let error = Error::new(ErrorKind::NotFound, format!("There is no table `{table}`"));
        return CheckStep::failed(
            ACCESS,
            &error.with_field("table").with_hint("Make it, or set `create_table`"),
        );
    }
    CheckStep::passed(ACCESS, format!("Database `{}` takes writes", settings.database))
}

async fn permissions(settings: &Settings, session: &Session, target: &Target, rights: &Rights) -> CheckStep {
    let role = identifier(&settings.username);
    let mut grants = Vec::new();
    let schema = identifier(&target.schema);
    if !rights.usage {
        grants.push(format!("GRANT USAGE ON SCHEMA {schema} TO {role}"));
    }
    // Mode `replace` puts a new table in the old one's place.
    let makes =
        target.creates && (target.table.is_none() || !rights.table_exists) || target.mode == "replace";
    if !rights.create && makes {
        grants.push(format!("GRANT CREATE ON SCHEMA {schema} TO {role}"));
    }
    if let Some(table) = target.table.as_ref().filter(|_| rights.table_exists) {
        let needed = match target.mode.as_str() {
            "append" => [true, false, false, false],
            "upsert" => [true, true, false, true],
            _ => [true, true, true, true],
        };
        let names = ["INSERT", "UPDATE", "DELETE", "SELECT"];
        let missing: Vec<_> = (0..4)
            .filter(|index| needed[*index] && !rights.table[*index])
            .map(|index| names[index])
            .collect();
        if !missing.is_empty() {
            let table = qualified(Some(&target.schema), table);
            grants.push(format!("GRANT {} ON {table} TO {role}", missing.join(", ")));
        }
    }
    if target.commit_schema != target.schema {
        match self::rights(session, &target.commit_schema, None).await {
            Ok(rights) if !rights.schema_exists => {
                grants.push(format!("CREATE SCHEMA {}", identifier(&target.commit_schema)));
            }
            Ok(rights) if !(rights.usage && rights.create) => {
                let schema = identifier(&target.commit_schema);
                grants.push(format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}"));
            }
            Ok(_) => {}
            Err(error) => return CheckStep::failed(PERMISSIONS, &error),
        }
    }
    if grants.is_empty() {
        return CheckStep::passed(PERMISSIONS, format!("Role `{}` may write", settings.username));
    }
    let message = format!("Role `{}` lacks rights to write", settings.username);
    CheckStep::failed(PERMISSIONS, &Error::new(ErrorKind::PermissionDenied, message))
        .with_fix(grants.join("; "))
}

/// Makes a table beside the tokens, writes a row, and takes both back.
async fn probe(session: &Session, target: &Target) -> CheckStep {
    let table = qualified(Some(&target.commit_schema), PROBE);
    let statements =
        format!("BEGIN; CREATE TABLE {table} (probe integer); INSERT INTO {table} VALUES (1); ROLLBACK");
    match session.run(&statements, "Could not write a row on trial").await {
        Ok(()) => CheckStep::passed(WRITE_PROBE, "A table was made, written and taken back"),
        Err(error) => CheckStep::failed(WRITE_PROBE, &error),
    }
}
