//! The connection test: steps in order, and after the first that fails the others are reported as skipped.

mod binlog;
mod reading;
mod writing;

use hub_plugin_api::{
    CheckReporter, CheckRequest, CheckStatus, CheckStep, Context, Error, ErrorKind, Result,
};
use tokio::{
    net::{TcpStream, UnixStream},
    time,
};

use crate::{
    config::{Settings, TlsMode},
    connection::Session,
    error,
    flavor::Vendor,
    sql::{identifier, literal},
};

const NETWORK: &str = "network";
const TLS: &str = "tls";
const AUTHENTICATION: &str = "authentication";
const ACCESS: &str = "access";
const PERMISSIONS: &str = "permissions";
const HEADROOM: &str = "headroom";
const WRITE_PROBE: &str = "write-probe";

/// Tests a connection for a strategy.
///
/// # Errors
/// When the test itself cannot be run: the secret's store cannot be read.
pub async fn check(
    vendor: Vendor,
    settings: &Settings,
    context: &Context,
    request: &CheckRequest,
    reporter: &CheckReporter,
) -> Result<()> {
    let mut steps = vec![NETWORK, TLS, AUTHENTICATION, ACCESS, PERMISSIONS, HEADROOM];
    if request.strategy == "write" {
        steps.push(WRITE_PROBE);
    }
    let mut report = Report { reporter, left: steps };
    if !report.step(reach(settings).await) {
        return Ok(());
    }
    let Some(mut session) = log_in(settings, context, &mut report).await? else { return Ok(()) };
    match request.strategy.as_str() {
        "write" => writing::check(vendor, settings, context, &mut session, request, &mut report).await,
        "binlog" => binlog::check(vendor, settings, &mut session, request, &mut report).await,
        _ => reading::check(vendor, settings, context, &mut session, request, &mut report).await,
    }
    Ok(())
}

/// Hands over steps in their order.
pub struct Report<'a> {
    reporter: &'a CheckReporter,
    /// Steps that have not been reported.
    left: Vec<&'static str>,
}

impl Report<'_> {
    /// Reports a step. After one that failed all others are skipped; then this answers `false`.
    pub fn step(&mut self, step: CheckStep) -> bool {
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

/// Whether anything answers at the address.
async fn reach(settings: &Settings) -> CheckStep {
    let place = format!("`{}` port `{}`", settings.host, settings.port);
    let connecting = async {
        if settings.is_unix_socket() {
            UnixStream::connect(&settings.host).await.map(drop)
        } else {
            TcpStream::connect((settings.host.as_str(), settings.port)).await.map(drop)
        }
    };
    match time::timeout(settings.connect_timeout(), connecting).await {
        Ok(Ok(())) => CheckStep::passed(NETWORK, format!("{place} answers")),
        Ok(Err(failure)) => {
            let refused = failure.kind() == std::io::ErrorKind::ConnectionRefused;
            let hint = if refused {
                "Check that the server runs, listens on this port, and not only on 127.0.0.1 (`bind-address`)"
            } else {
                "Check the name of the host and the network in between"
            };
            let error = error::from_io(&format!("Could not reach {place}"), &failure);
            CheckStep::failed(
                NETWORK,
                &error.with_field(if refused { "port" } else { "host" }).with_hint(hint),
            )
        }
        Err(_) => {
            let message = format!("{place} did not answer within {} ms", settings.connect_timeout_ms);
            let error = Error::new(ErrorKind::TimedOut, message)
                .with_field("host")
                .with_hint("A firewall may drop the packets; or raise `connect_timeout_ms`");
            CheckStep::failed(NETWORK, &error)
        }
    }
}

/// TLS, authentication and access to the database are one conversation with the server: its error says how far it got.
async fn log_in(settings: &Settings, context: &Context, report: &mut Report<'_>) -> Result<Option<Session>> {
    context.secret("password")?;
    let without_tls = settings.tls_mode == TlsMode::Disabled || settings.is_unix_socket();
    let tls = |session: Option<&Session>| match (session.map(Session::is_tls), without_tls) {
        (_, true) => CheckStep::skipped(TLS, "The session does not use TLS"),
        (Some(false), _) => CheckStep::warning(TLS, "The server offers no TLS: whatever is sent can be read")
            .with_field("tls_mode")
            .with_hint("Give the server a certificate; TLS mode `required` then makes sure of it"),
        _ => CheckStep::passed(
            TLS,
            match settings.tls_mode {
                TlsMode::VerifyIdentity => "The server speaks TLS, and is who it says",
                TlsMode::VerifyCa => "The server speaks TLS, with a certificate of a trusted authority",
                _ => "The server speaks TLS; its certificate is not checked",
            },
        ),
    };
    let passed = CheckStep::passed(AUTHENTICATION, format!("`{}` is logged in", settings.username));
    match Session::open(settings, context).await {
        Ok(session) => {
            report.step(tls(Some(&session)));
            report.step(passed);
            Ok(Some(session))
        }
        Err(error) => {
            let code = error.code.clone().unwrap_or_default();
            let field = error.field.as_deref().unwrap_or_default();
            let is_tls = error.kind == ErrorKind::Tls
                || matches!(field, "ca_file" | "client_certificate" | "client_key" | "tls_mode")
                || error.kind == ErrorKind::Protocol && !without_tls;
            if is_tls {
                report.step(CheckStep::failed(TLS, &error));
                return Ok(None);
            }
            report.step(tls(None));
            if matches!(code.as_str(), "1044" | "1049") {
                report.step(passed);
                report.step(no_access(settings, &error, &code));
            } else {
                report.step(CheckStep::failed(AUTHENTICATION, &error));
            }
            Ok(None)
        }
    }
}

/// The login was right, and the database was refused all the same.
fn no_access(settings: &Settings, error: &Error, code: &str) -> CheckStep {
    let database = identifier(&settings.database);
    let step = CheckStep::failed(ACCESS, error).with_field("database");
    match code {
        "1049" => step.with_fix(format!("CREATE DATABASE {database}")),
        _ => {
            // Denied for user 'u'@'h' to database 'd': the account that the server has found.
            let found = error.source.as_deref().and_then(|text| text.split_once("for user "));
            let found = found.and_then(|(_, text)| text.split_once(" to database"));
            let account =
                found.map_or_else(|| account(&settings.username), |(account, _)| account.to_owned());
            step.with_fix(format!("GRANT SELECT ON {database}.* TO {account}"))
        }
    }
}

/// The account that a session is logged in as, as a statement names it.
async fn own_account(session: &mut Session, settings: &Settings) -> String {
    let answer = session.ask("SELECT CURRENT_USER()", "Could not ask for the account").await;
    let found = answer.ok().and_then(|answer| {
        let (name, host) = answer.first()?.rsplit_once('@')?;
        Some(format!("{}@{}", literal(name), literal(host)))
    });
    found.unwrap_or_else(|| account(&settings.username))
}

/// An account as a statement names it, where the server does not say which hosts it is for.
pub fn account(username: &str) -> String {
    format!("{}@'%'", literal(username))
}
