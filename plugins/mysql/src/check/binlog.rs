use hub_plugin_api::{CheckRequest, CheckStep, Error, ErrorKind};

use super::{ACCESS, HEADROOM, PERMISSIONS, Report, account, reading::server};
use crate::{
    binlog::{SnapshotWish, listed, silent_children},
    config::Settings,
    connection::Session,
    flavor::Vendor,
};

const DOING: &str = "Could not ask the server about its binary log";

/// A log that is kept for less than this may be gone before a stopped pipeline runs again.
const SHORT_S: u64 = 86_400;

/// The steps of strategy `binlog`, from `access` on.
pub async fn check(
    vendor: Vendor,
    settings: &Settings,
    session: &mut Session,
    request: &CheckRequest,
    report: &mut Report<'_>,
) {
    let wish = match SnapshotWish::read(&settings.database, &request.options) {
        Ok(wish) => wish,
        Err(error) => {
            report.step(CheckStep::failed(ACCESS, &error));
            return;
        }
    };
    if !report.step(server(vendor, session.server(), settings)) {
        return;
    }
    for step in permissions(settings, session, wish.wants_rows).await {
        if !report.step(step) {
            return;
        }
    }
    if let Some(step) = unmatched(session, &wish).await {
        report.step(step);
    }
    for step in headroom(settings, session).await {
        if !report.step(step) {
            return;
        }
    }
}

/// Names of tables that no table has.
async fn unmatched(session: &mut Session, wish: &SnapshotWish) -> Option<CheckStep> {
    let small_letters = variable(session, "lower_case_table_names").await.is_some_and(|value| value == "1");
    let tables =
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE'";
    let answer = session.ask(tables, DOING).await.ok()?;
    let name = |row: Vec<Option<String>>| match <[Option<String>; 2]>::try_from(row) {
        Ok([Some(database), Some(table)]) => Some((database, table)),
        _ => None,
    };
    let tables: Vec<_> = answer.rows.into_iter().filter_map(name).collect();
    let unmatched = wish.unmatched(&tables, small_letters);
    (!unmatched.is_empty()).then(|| {
        let message =
            format!("No table is called `{}`, or the account may not see it", unmatched.join("`, `"));
        CheckStep::warning(PERMISSIONS, message).with_field("tables")
    })
}

/// A global variable; none where the server has none of this name, or does not answer.
async fn variable(session: &mut Session, name: &str) -> Option<String> {
    let answer =
        session.ask(&format!("SHOW GLOBAL VARIABLES WHERE Variable_name = '{name}'"), DOING).await.ok()?;
    answer.get(0, "Value").map(str::to_owned)
}

fn failed(message: impl Into<String>) -> CheckStep {
    CheckStep::failed(PERMISSIONS, &Error::new(ErrorKind::Unsupported, message))
}

/// What the log must be like, and what the account must be allowed to do, most important first.
async fn permissions(settings: &Settings, session: &mut Session, wants_rows: bool) -> Vec<CheckStep> {
    let mut steps = Vec::new();
    let is = |value: &Option<String>, wanted: &[&str]| {
        value.as_ref().is_none_or(|value| wanted.iter().any(|one| value.eq_ignore_ascii_case(one)))
    };
    if !is(&variable(session, "log_bin").await, &["ON", "1"]) {
        steps.push(
            failed("The server keeps no binary log")
                .with_hint("Start the server with `log_bin` (and, on MariaDB, a `server_id`)")
                .with_fix("[mysqld]\nlog_bin = binlog\nbinlog_format = ROW\nserver_id = 1"),
        );
        return steps;
    }
    let format = variable(session, "binlog_format").await;
    if !is(&format, &["ROW"]) {
        let format = format.unwrap_or_default();
        steps.push(
            failed(format!("The log holds statements in place of the rows that they change: `binlog_format` is `{format}`"))
                .with_fix("SET GLOBAL binlog_format = 'ROW'")
                .with_hint("Sessions that are open keep the format that they have"),
        );
        return steps;
    }
    let account = account(&settings.username);
    let status = match session.server().is(Vendor::MySql, (8, 2, 0)) {
        true => "SHOW BINARY LOG STATUS",
        false => "SHOW MASTER STATUS",
    };
    let status = match session.ask(status, DOING).await {
        Ok(status) => status,
        Err(error) => {
            steps.push(
                CheckStep::failed(PERMISSIONS, &error)
                    .with_field("username")
                    .with_fix(format!("GRANT REPLICATION CLIENT ON *.* TO {account}")),
            );
            return steps;
        }
    };
    let grants = grants(session).await;
    if grants.as_ref().is_some_and(|grants| !grants.has(&["REPLICATION SLAVE", "REPLICATION REPLICA"])) {
        let error = Error::new(ErrorKind::PermissionDenied, "The account may not follow the binary log");
        steps.push(
            CheckStep::failed(PERMISSIONS, &error)
                .with_field("username")
                .with_fix(format!("GRANT REPLICATION SLAVE ON *.* TO {account}")),
        );
        return steps;
    }
    for (column, only) in [("Binlog_Do_DB", true), ("Binlog_Ignore_DB", false)] {
        let listed = status.get(0, column).unwrap_or_default();
        let named = listed.split(',').any(|name| name == settings.database);
        if !listed.is_empty() && named != only {
            steps.push(
                failed(format!(
                    "The server leaves database `{}` out of its log ({column} is `{listed}`)",
                    settings.database
                ))
                .with_field("database"),
            );
            return steps;
        }
    }
    if let Some(step) = server_id(settings, session).await.or(silent_replica(session).await) {
        steps.push(step);
        return steps;
    }
    if !is(&variable(session, "binlog_row_image").await, &["FULL", "FULL_NODUP"]) {
        steps.push(
            CheckStep::warning(PERMISSIONS, "The log leaves out values that did not change, and defaults of inserted rows: a default that is not known stops the run")
                .with_fix("SET GLOBAL binlog_row_image = 'FULL'"),
        );
    }
    if !is(&variable(session, "binlog_row_metadata").await, &["FULL"]) {
        steps.push(
            CheckStep::warning(PERMISSIONS, "The log does not tell names of columns: tables are known by their declarations and the statements that change them")
                .with_fix("SET GLOBAL binlog_row_metadata = 'FULL'"),
        );
    }
    let may_lock = grants.is_none_or(|grants| grants.has(&["RELOAD", "FLUSH_TABLES"]));
    if wants_rows && session.server().vendor == Vendor::MySql && !may_lock {
        steps.push(
            CheckStep::warning(PERMISSIONS, "Without the right RELOAD what is committed while the snapshot begins comes once more behind it")
                .with_field("snapshot")
                .with_fix(format!("GRANT RELOAD ON *.* TO {account}")),
        );
    }
    if steps.is_empty() {
        steps.push(CheckStep::passed(PERMISSIONS, "The log holds whole rows, and the account may follow it"));
    }
    steps
}

/// What SHOW GRANTS says of all databases.
struct Grants(String);

impl Grants {
    fn has(&self, any: &[&str]) -> bool {
        self.0.contains("ALL PRIVILEGES") || any.iter().any(|right| self.0.contains(right))
    }
}

/// None where the server does not tell, or rights may come with a role.
async fn grants(session: &mut Session) -> Option<Grants> {
    let answer = session.ask("SHOW GRANTS", DOING).await.ok()?;
    let lines = answer.rows.iter().filter_map(|row| row.first().cloned().flatten());
    let (global, others): (Vec<String>, Vec<String>) = lines.partition(|line| line.contains(" ON *.* "));
    let by_role = others.iter().any(|line| line.starts_with("GRANT ") && !line.contains(" ON "));
    (!by_role).then(|| Grants(global.join("\n")))
}

/// Two that follow under one number end each other's streams.
async fn server_id(settings: &Settings, session: &mut Session) -> Option<CheckStep> {
    let clash = |with: &str| {
        let error =
            Error::config("server_id", format!("Server ID `{}` is that of {with}", settings.server_id));
        CheckStep::failed(PERMISSIONS, &error)
            .with_hint("Choose a number that no server and no other pipeline has")
    };
    let own = variable(session, "server_id").await;
    if own.is_some_and(|own| own == settings.server_id.to_string()) {
        return Some(clash("the server itself"));
    }
    // MariaDB shows them to fewer accounts; then nothing is known.
    let statement =
        if session.server().is(Vendor::MySql, (8, 0, 22)) { "SHOW REPLICAS" } else { "SHOW SLAVE HOSTS" };
    let replicas = session.ask(statement, DOING).await.ok()?;
    let wanted = settings.server_id.to_string();
    let taken = (0..replicas.rows.len()).any(|row| replicas.get(row, "Server_Id") == Some(wanted.as_str()));
    taken.then(|| clash("another replica or pipeline that follows this server now"))
}

/// A replica whose log holds only what is written on the replica itself.
async fn silent_replica(session: &mut Session) -> Option<CheckStep> {
    let names = ["log_replica_updates", "log_slave_updates"];
    let (mut name, mut logs) = (names[0], variable(session, names[0]).await);
    if logs.is_none() {
        (name, logs) = (names[1], variable(session, names[1]).await);
    }
    if logs.is_none_or(|logs| !matches!(logs.as_str(), "OFF" | "0")) {
        return None;
    }
    let statement = if session.server().is(Vendor::MySql, (8, 0, 22)) {
        "SHOW REPLICA STATUS"
    } else {
        "SHOW SLAVE STATUS"
    };
    // An account that may not ask learns nothing.
    let status = session.ask(statement, DOING).await.ok()?;
    (!status.rows.is_empty()).then(|| {
        failed("The server is a replica that does not log what it takes over from its source")
            .with_field("host")
            .with_hint("Follow the source, or start this server with the option")
            .with_fix(format!("[mysqld]\n{name} = ON"))
    })
}

/// How long the log is kept, and what a failover would need.
async fn headroom(settings: &Settings, session: &mut Session) -> Vec<CheckStep> {
    let mut steps = Vec::new();
    let seconds = match variable(session, "binlog_expire_logs_seconds").await {
        Some(seconds) => seconds.parse::<u64>().ok(),
        None => {
            let days = variable(session, "expire_logs_days").await;
            days.and_then(|days| days.parse::<f64>().ok()).map(|days| (days * 86_400.0) as u64)
        }
    };
    match seconds {
        Some(seconds @ 1..SHORT_S) => steps.push(
            CheckStep::warning(HEADROOM, format!("The log is kept for `{seconds}` s: a pipeline that is stopped for longer must begin again"))
                .with_fix("SET GLOBAL binlog_expire_logs_seconds = 864000"),
        ),
        Some(seconds) if seconds > 0 => {
            steps.push(CheckStep::passed(HEADROOM, format!("The log is kept for {} h", seconds / 3600)));
        }
        _ => steps.push(CheckStep::passed(HEADROOM, "The log is kept until somebody purges it")),
    }
    if session.server().vendor == Vendor::MySql
        && variable(session, "gtid_mode").await.is_some_and(|mode| mode != "ON")
    {
        steps.push(
            CheckStep::warning(
                HEADROOM,
                "Transactions have no GTIDs: positions are of this server's files, and end with a failover",
            )
            .with_fix("SET GLOBAL gtid_mode = ON"),
        );
    }
    if let Ok(mut children) = silent_children(session).await {
        children.retain(|(database, _)| *database == settings.database);
        if !children.is_empty() {
            steps.push(
                CheckStep::warning(
                    HEADROOM,
                    format!("Rows that foreign keys delete or change are not in the log: those of {}", listed(&children)),
                )
                .with_hint("Let the application or a trigger do what CASCADE and SET NULL do, or read these tables again from time to time"),
            );
        }
    }
    let keyless = "SELECT t.TABLE_NAME FROM information_schema.TABLES t LEFT JOIN information_schema.STATISTICS s \
                   ON s.TABLE_SCHEMA = t.TABLE_SCHEMA AND s.TABLE_NAME = t.TABLE_NAME AND s.INDEX_NAME = 'PRIMARY' \
                   WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_TYPE = 'BASE TABLE' AND s.TABLE_NAME IS NULL \
                   ORDER BY t.TABLE_NAME LIMIT 5";
    if let Ok(answer) = session.ask(keyless, DOING).await
        && !answer.rows.is_empty()
    {
        let names: Vec<_> = answer.rows.iter().filter_map(|row| row.first().cloned().flatten()).collect();
        steps.push(
            CheckStep::warning(
                HEADROOM,
                format!("Tables of `{}` have no primary key: `{}`", settings.database, names.join("`, `")),
            )
            .with_hint("Their changes can only be appended"),
        );
    }
    steps
}
