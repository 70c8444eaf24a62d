//! The connection test: steps in order, and after the first that fails the others are reported as skipped.

mod network;
mod permissions;
mod server;

pub(crate) use server::setting;

use hub_plugin_api::{CheckReporter, CheckRequest, CheckStatus, CheckStep, ErrorKind, Result};

use crate::{
    config::{Deployment, TlsMode},
    connection::{Server, Session},
};

const NETWORK: &str = "network";
const TLS: &str = "tls";
const AUTHENTICATION: &str = "authentication";
const ACCESS: &str = "access";
const PERMISSIONS: &str = "permissions";
const NOTIFICATIONS: &str = "notifications";
const HEADROOM: &str = "headroom";

/// Tests a connection for a strategy.
///
/// # Errors
/// When the test itself cannot be run: the secret's store cannot be read.
pub async fn check(server: &Server, request: &CheckRequest, reporter: &CheckReporter) -> Result<()> {
    server.context().secret("password")?;
    let mut steps = vec![NETWORK, TLS, AUTHENTICATION, ACCESS, PERMISSIONS];
    if request.strategy == "keyspace" {
        steps.push(NOTIFICATIONS);
    }
    steps.push(HEADROOM);
    let mut report = Report { reporter, left: steps };
    if !report.step(network::reach(server.settings()).await) {
        return Ok(());
    }
    let Some(mut session) = log_in(server, &mut report).await else { return Ok(()) };
    if !report.step(server::access(server, &mut session, request).await)
        || !report.step(permissions::permissions(server, &mut session, request).await)
    {
        return Ok(());
    }
    if request.strategy == "keyspace" && !report.step(server::notifications(server, request).await) {
        return Ok(());
    }
    report.step(server::headroom(&mut session, request).await);
    Ok(())
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

/// TLS, authentication and choosing the database are one conversation with the server: its error says how far it got.
async fn log_in(server: &Server, report: &mut Report<'_>) -> Option<Session> {
    let settings = server.settings();
    let without_tls = settings.tls_mode == TlsMode::Disable;
    let tls = if without_tls {
        CheckStep::skipped(TLS, "The session does not use TLS")
    } else {
        let named = if settings.tls_mode == TlsMode::VerifyFull { ", and is who it says" } else { "" };
        CheckStep::passed(TLS, format!("The server speaks TLS{named}"))
    };
    let user = settings.username.as_deref().unwrap_or("default");
    // A cluster's session hides which of its nodes refused what.
    let opened = match settings.deployment {
        Deployment::Cluster => server.node(&(settings.host.clone(), settings.port)).await,
        _ => server.session().await,
    };
    let mut session = match opened {
        Ok(session) => session,
        Err(error) => {
            let is_tls = error.kind == ErrorKind::Tls;
            let before_login =
                matches!(error.kind, ErrorKind::Network | ErrorKind::TimedOut | ErrorKind::Protocol);
            if is_tls || (before_login && !without_tls) {
                report.step(CheckStep::failed(TLS, &error.with_field("tls_mode")));
                return None;
            }
            report.step(tls);
            // The Sentinels were asked, and there is no master to log in to.
            let is_masterless = settings.deployment == Deployment::Sentinel
                && matches!(error.kind, ErrorKind::NotFound | ErrorKind::Unavailable);
            if is_masterless || before_login || error.kind == ErrorKind::Authentication {
                report.step(CheckStep::failed(AUTHENTICATION, &error));
                return None;
            }
            report.step(CheckStep::passed(AUTHENTICATION, format!("User `{user}` is logged in")));
            report.step(CheckStep::failed(ACCESS, &error));
            return None;
        }
    };
    report.step(tls);
    // Without a password given nothing was asked for: the first command tells.
    match session.call("The server does not let the session in", &redis::cmd("PING")).await {
        Err(error) if error.kind == ErrorKind::Authentication => {
            report.step(CheckStep::failed(AUTHENTICATION, &error.with_field("password")));
            None
        }
        _ => {
            report.step(CheckStep::passed(AUTHENTICATION, format!("User `{user}` is logged in")));
            Some(session)
        }
    }
}
