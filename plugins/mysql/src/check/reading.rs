use hub_plugin_api::{CheckRequest, CheckStep, Context, Error, ErrorKind};

use super::{ACCESS, HEADROOM, PERMISSIONS, Report, own_account};
use crate::{
    config::Settings,
    connection::Session,
    flavor::{Server, Vendor},
    query::{QueryOptions, Shape},
    raw::RawSession,
    sql::identifier,
};

/// The oldest versions that the connectors are made for.
const OLDEST: [(Vendor, (u16, u16, u16)); 2] = [(Vendor::MySql, (8, 0, 0)), (Vendor::MariaDb, (10, 5, 0))];

/// The steps of strategy `query`, from `access` on.
pub async fn check(
    vendor: Vendor,
    settings: &Settings,
    context: &Context,
    session: &mut Session,
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
    if !report.step(server(vendor, session.server(), settings)) {
        return;
    }
    let permissions = match &options {
        Some(options) => permissions(settings, context, session, options).await,
        None => CheckStep::skipped(PERMISSIONS, "There is no statement to test"),
    };
    if report.step(permissions) {
        report.step(headroom(session).await);
    }
}

/// What answers, and whether it is what the connector is for.
pub fn server(vendor: Vendor, server: &Server, settings: &Settings) -> CheckStep {
    let oldest = OLDEST.iter().find(|(of, _)| *of == server.vendor).map(|(_, version)| *version);
    if oldest.is_some_and(|oldest| server.version < oldest) {
        return CheckStep::warning(ACCESS, format!("{server} is older than any version that was tried"))
            .with_hint(
                "MySQL 8.0 and MariaDB 10.5 are the oldest versions that the connectors are made for",
            );
    }
    if server.vendor != vendor {
        let message = format!("The server is {server}, and not {}", vendor.name());
        return CheckStep::warning(ACCESS, message)
            .with_hint(format!("It works; the connector `{}` is made for it", server.vendor.engine()));
    }
    CheckStep::passed(ACCESS, format!("Database `{}` of {server} is open", settings.database))
}

/// The server looks at the statement without running it.
async fn permissions(
    settings: &Settings,
    context: &Context,
    session: &mut Session,
    options: &QueryOptions,
) -> CheckStep {
    let looked_at = async {
        let mut session = RawSession::open(settings, context).await?;
        Shape::of(&mut session, options, None).await
    };
    match looked_at.await {
        Ok(shape) => {
            let columns = shape.columns.len();
            CheckStep::passed(PERMISSIONS, format!("The statement may be read; it gives {columns} columns"))
        }
        Err(error) => refused(settings, session, &error).await,
    }
}

async fn refused(settings: &Settings, session: &mut Session, error: &Error) -> CheckStep {
    let step = CheckStep::failed(PERMISSIONS, error);
    if error.kind == ErrorKind::PermissionDenied {
        let (database, account) = (identifier(&settings.database), own_account(session, settings).await);
        return step.with_field("statement").with_fix(format!("GRANT SELECT ON {database}.* TO {account}"));
    }
    step
}

/// Whether there is room for the sessions of a run.
async fn headroom(session: &mut Session) -> CheckStep {
    const DOING: &str = "Could not ask for free sessions";
    /// A plan, its lock and a reader.
    const SESSIONS: i64 = 3;
    let limit = session.ask("SELECT @@max_connections", DOING).await;
    let used = session.ask("SHOW GLOBAL STATUS LIKE 'Threads_connected'", DOING).await;
    let number = |answer: &str| answer.parse::<i64>().ok();
    match (limit, used) {
        (Ok(limit), Ok(used)) => {
            let limit = limit.first().and_then(number);
            let used = used.get(0, "Value").and_then(number);
            match limit.zip(used).map(|(limit, used)| limit - used) {
                Some(free) if free < SESSIONS => CheckStep::warning(
                    HEADROOM,
                    format!("The server takes `{free}` more sessions, and a run needs `{SESSIONS}`"),
                )
                .with_fix(format!("SET GLOBAL max_connections = {}", limit.unwrap_or_default() + 50)),
                Some(free) => CheckStep::passed(HEADROOM, format!("The server takes {free} more sessions")),
                None => CheckStep::skipped(HEADROOM, "The server does not say how many sessions it takes"),
            }
        }
        (Err(error), _) | (_, Err(error)) => CheckStep::skipped(HEADROOM, error.to_string()),
    }
}
