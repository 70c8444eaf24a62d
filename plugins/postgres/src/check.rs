//! The connection test: steps in order, and after the first that fails the others are reported as skipped.

mod capturing;
mod listening;
mod network;
mod reading;
mod writing;

use hub_plugin_api::{
    CheckReporter, CheckRequest, CheckStatus, CheckStep, Context, Error, ErrorKind, Result,
};
use tokio_postgres::SimpleQueryMessage;

use crate::{
    config::{Settings, SslMode},
    connection::Session,
    notify::no_pooler,
    query::ServerInfo,
    sql::{catalog, identifier},
};

const NETWORK: &str = "network";
const TLS: &str = "tls";
const AUTHENTICATION: &str = "authentication";
const ACCESS: &str = "access";
const PERMISSIONS: &str = "permissions";
const WAL_LEVEL: &str = "wal-level";
const PUBLICATION: &str = "publication";
const REPLICA_IDENTITY: &str = "replica-identity";
const SLOTS: &str = "slots";
const RETENTION: &str = "retention";
const OUTBOX: &str = "outbox";
const HEADROOM: &str = "headroom";
const WRITE_PROBE: &str = "write-probe";
/// How often two sessions are asked for their process: a pooler with spare ones may give out different ones by chance.
const POOLER_ROUNDS: usize = 3;

/// Tests a connection for a strategy.
///
/// # Errors
/// When the test itself cannot be run: the secret's store cannot be read.
pub async fn check(
    settings: &Settings,
    context: &Context,
    request: &CheckRequest,
    reporter: &CheckReporter,
) -> Result<()> {
    let mut steps = vec![NETWORK, TLS, AUTHENTICATION, ACCESS];
    steps.extend(match request.strategy.as_str() {
        "write" => vec![PERMISSIONS, HEADROOM, WRITE_PROBE],
        "wal" => vec![WAL_LEVEL, PERMISSIONS, PUBLICATION, REPLICA_IDENTITY, SLOTS, RETENTION],
        "notify" => vec![PERMISSIONS, OUTBOX, HEADROOM],
        _ => vec![PERMISSIONS, HEADROOM],
    });
    let mut report = Report { reporter, left: steps };
    if !report.step(network::reach(settings).await) {
        return Ok(());
    }
    let Some(session) = log_in(settings, context, &mut report).await? else { return Ok(()) };
    if shares_process(settings, context, &session).await {
        report.step(CheckStep::failed(ACCESS, &no_pooler()));
        return Ok(());
    }
    let server = match ServerInfo::of(&session).await {
        Ok(server) => server,
        Err(error) => {
            report.step(CheckStep::failed(ACCESS, &error));
            return Ok(());
        }
    };
    match request.strategy.as_str() {
        "write" => writing::check(settings, &session, server, request, &mut report).await,
        "wal" => capturing::check(settings, context, &session, request, &mut report).await,
        "notify" => listening::check(settings, context, &session, server, request, &mut report).await,
        _ => reading::check(settings, &session, server, request, &mut report).await,
    }
    Ok(())
}

/// Whether a pooler gives a session's process away while the session is idle. When a second session cannot be opened,
/// that is not known; later steps say what is wrong.
pub async fn shares_process(settings: &Settings, context: &Context, first: &Session) -> bool {
    // By the simple protocol: nothing of it is left to be done when the answer is there.
    let process = async |session: &Session| -> Option<String> {
        let messages = session.work(session.client().simple_query(catalog::PROCESS)).await.ok()?;
        messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(String::from),
            _ => None,
        })
    };
    let Ok(second) = Session::open(settings, context).await else { return false };
    let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
    for _ in 0..POOLER_ROUNDS {
        firsts.extend(process(first).await);
        seconds.extend(process(&second).await);
    }
    firsts.iter().any(|process| seconds.contains(process))
}

/// Hands over steps in their order.
struct Report<'a> {
    reporter: &'a CheckReporter,
    /// Steps that have not been reported.
    left: Vec<&'static str>,
}

impl Report<'_> {
    /// Reports a step. After one that failed all others are skipped; then this answers `false`.
    fn step(&mut self, step: CheckStep) -> bool {
        let failed = step.status == CheckStatus::Failed;
        let name = step.step.clone();
        self.left.retain(|left| *left != name);
        self.reporter.report(step);
        if failed {
            for left in std::mem::take(&mut self.left) {
                self.reporter
                    .report(CheckStep::skipped(left, format!("Not tried, because step `{name}` failed")));
            }
        }
        !failed
    }
}

/// TLS, authentication and access to the database are one conversation with the server: its error says how far it got.
async fn log_in(settings: &Settings, context: &Context, report: &mut Report<'_>) -> Result<Option<Session>> {
    context.secret("password")?;
    let without_tls = settings.ssl_mode == SslMode::Disable || settings.is_unix_socket();
    let tls = if without_tls {
        CheckStep::skipped(TLS, "The session does not use TLS")
    } else {
        let named = if settings.ssl_mode == SslMode::VerifyFull { ", and is who it says" } else { "" };
        CheckStep::passed(TLS, format!("The server speaks TLS{named}"))
    };
    let passed = CheckStep::passed(AUTHENTICATION, format!("Role `{}` is logged in", settings.username));
    match Session::open(settings, context).await {
        Ok(session) => {
            report.step(tls);
            report.step(passed);
            Ok(Some(session))
        }
        Err(error) => {
            let code = error.code.clone().unwrap_or_default();
            let is_login = matches!(error.kind, ErrorKind::Authentication)
                || (error.kind == ErrorKind::InvalidConfig && error.field.as_deref() == Some("password"));
            let is_tls = error.kind == ErrorKind::Tls
                || matches!(
                    error.field.as_deref(),
                    Some("ca_file" | "client_certificate" | "client_key" | "ssl_mode")
                ) && error.kind == ErrorKind::InvalidConfig;
            let before_login =
                matches!(error.kind, ErrorKind::Network | ErrorKind::TimedOut | ErrorKind::Protocol);
            if is_tls || (before_login && !without_tls) {
                report.step(CheckStep::failed(TLS, &error));
                return Ok(None);
            }
            report.step(tls);
            if is_login || before_login {
                report.step(CheckStep::failed(AUTHENTICATION, &error));
                return Ok(None);
            }
            report.step(passed);
            report.step(no_access(settings, &error, &code));
            Ok(None)
        }
    }
}

/// The login was right, and the session was refused all the same.
fn no_access(settings: &Settings, error: &Error, code: &str) -> CheckStep {
    let (database, role) = (identifier(&settings.database), identifier(&settings.username));
    let step = CheckStep::failed(ACCESS, error);
    match code {
        "3D000" => step.with_field("database").with_fix(format!("CREATE DATABASE {database}")),
        "42501" => {
            step.with_field("database").with_fix(format!("GRANT CONNECT ON DATABASE {database} TO {role}"))
        }
        _ => step,
    }
}
