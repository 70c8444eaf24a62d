use hub_plugin_api::{CheckRequest, CheckStep, Context, Error, ErrorKind};

use super::{HEADROOM, PERMISSIONS, Report, WRITE_PROBE, own_account, reading::server};
use crate::{
    config::Settings,
    connection::Session,
    flavor::Vendor,
    raw::RawSession,
    sql::{identifier, write as sql},
};

const DOING: &str = "Could not ask the server whether it takes rows";
/// The table of tokens, and one that stands for those that a run makes.
const COMMITS: &str = "__hub_commits";
const PROBE: &str = "__hub_probe";

/// The steps of strategy `write`, from `access` on.
pub async fn check(
    vendor: Vendor,
    settings: &Settings,
    context: &Context,
    session: &mut Session,
    request: &CheckRequest,
    report: &mut Report<'_>,
) {
    if !report.step(server(vendor, session.server(), settings)) {
        return;
    }
    if !report.step(permissions(settings, context, session, request).await) {
        return;
    }
    if report.step(headroom(session).await) {
        report.step(probe(settings, session).await);
    }
}

/// The server checks rights when a statement is prepared; nothing is run.
async fn permissions(
    settings: &Settings,
    context: &Context,
    session: &mut Session,
    request: &CheckRequest,
) -> CheckStep {
    match session.ask("SELECT @@GLOBAL.read_only", DOING).await {
        Ok(answer) if matches!(answer.first(), Some("1" | "ON")) => {
            let error =
                Error::new(ErrorKind::PermissionDenied, "The server is read-only: it may be a replica")
                    .with_field("host")
                    .with_hint("Write to the primary");
            return CheckStep::failed(PERMISSIONS, &error).with_fix("SET GLOBAL read_only = OFF");
        }
        _ => {}
    }
    let mut prepared = match RawSession::open(settings, context).await {
        Ok(prepared) => prepared,
        Err(error) => return CheckStep::failed(PERMISSIONS, &error),
    };
    let name = |table: &str| sql::table_name(&settings.database, table);
    let (database, account) = (identifier(&settings.database), own_account(session, settings).await);
    let fix = |right: &str| format!("GRANT {right} ON {database}.* TO {account}");
    let table = request.options.text("table");
    let mode = request.options.text("mode").unwrap_or_default();
    let creates = mode == "replace"
        || request.options.get("create_table").and_then(hub_plugin_api::Value::as_bool).unwrap_or(true);
    // A right that is missing is told in front of a table that is.
    let commits = name(COMMITS);
    let mut wanted = vec![
        ("INSERT", format!("INSERT INTO {commits} (pipeline) VALUES ('')")),
        ("UPDATE", format!("UPDATE {commits} SET fence = fence WHERE 1 = 0")),
    ];
    for table in [Some(COMMITS), table].into_iter().flatten() {
        let quoted = name(table);
        let there = prepared.describe(&format!("SELECT * FROM {quoted}"), DOING).await;
        match there {
            Ok(described) if table != COMMITS => {
                let first = described.columns.first().map(|column| identifier(&column.column));
                let first = first.unwrap_or_default();
                wanted.push(("INSERT", format!("INSERT INTO {quoted} SELECT * FROM {quoted} WHERE 1 = 0")));
                if matches!(mode, "upsert" | "apply-changes") {
                    wanted.push(("UPDATE", format!("UPDATE {quoted} SET {first} = {first} WHERE 1 = 0")));
                }
                if matches!(mode, "apply-changes" | "replace") {
                    wanted.push(("DELETE", format!("DELETE FROM {quoted} WHERE 1 = 0")));
                }
            }
            Ok(_) => {}
            Err(error) if error.kind == ErrorKind::NotFound && table == COMMITS => {
                wanted.push(("CREATE", format!("CREATE TABLE {} (a int)", name(PROBE))));
            }
            Err(error) if error.kind == ErrorKind::NotFound && creates => {}
            Err(error) => {
                let step = CheckStep::failed(PERMISSIONS, &error).with_field("table");
                let denied = error.kind == ErrorKind::PermissionDenied;
                return if denied { step.with_fix(fix("SELECT")) } else { step };
            }
        }
    }
    if creates {
        wanted.push(("CREATE", format!("CREATE TABLE {} (a int)", name(PROBE))));
    }
    for (right, statement) in wanted {
        if let Err(error) = prepared.describe(&statement, &format!("The account may not {right}")).await
            && error.kind == ErrorKind::PermissionDenied
        {
            return CheckStep::failed(PERMISSIONS, &error.with_field("username")).with_fix(fix(right));
        }
    }
    CheckStep::passed(PERMISSIONS, format!("The account may write into database {database}"))
}

/// What makes a run slow, or stops it at a large row.
async fn headroom(session: &mut Session) -> CheckStep {
    /// The longest statement of a run without large values.
    const PACKET_BYTES: u64 = 4 << 20;
    let answer = match session.ask("SELECT @@GLOBAL.local_infile, @@max_allowed_packet", DOING).await {
        Ok(answer) => answer,
        Err(error) => return CheckStep::skipped(HEADROOM, error.to_string()),
    };
    let value = |place: usize| answer.rows.first()?.get(place)?.as_deref();
    if let Some(bytes) = value(1).and_then(|bytes| bytes.parse::<u64>().ok())
        && bytes < PACKET_BYTES
    {
        return CheckStep::warning(
            HEADROOM,
            format!("The server takes statements of at most `{bytes}` bytes"),
        )
        .with_hint("A row that is longer is refused")
        .with_fix("SET GLOBAL max_allowed_packet = 67108864");
    }
    if !matches!(value(0), Some("1" | "ON")) {
        return CheckStep::warning(
            HEADROOM,
            "The server does not take LOAD DATA LOCAL: rows go by INSERT, slower",
        )
        .with_field("load")
        .with_fix("SET GLOBAL local_infile = ON");
    }
    CheckStep::passed(HEADROOM, "The server takes LOAD DATA LOCAL")
}

/// A row of the table of tokens, taken back at once.
async fn probe(settings: &Settings, session: &mut Session) -> CheckStep {
    const PROBING: &str = "Could not write a row";
    let table = sql::table_name(&settings.database, COMMITS);
    let written = async {
        session.run("START TRANSACTION", PROBING).await?;
        let row = format!("INSERT INTO {table} (pipeline, lane, fence) VALUES ('connection test', 0, 0)");
        let written = session.run(&row, PROBING).await;
        session.run("ROLLBACK", PROBING).await?;
        written
    };
    match written.await {
        Ok(_) => CheckStep::passed(WRITE_PROBE, format!("A row was written into {table} and taken back")),
        Err(error) if error.kind == ErrorKind::NotFound => {
            CheckStep::skipped(WRITE_PROBE, format!("The first run makes {table}; a test makes nothing"))
        }
        Err(error) => CheckStep::failed(WRITE_PROBE, &error),
    }
}
