use std::io;

use hub_plugin_api::CheckStep;
use tokio::{
    net::{TcpStream, UnixStream, lookup_host},
    time,
};

use super::NETWORK;
use crate::config::Settings;

/// Whether something listens where the settings say.
pub async fn reach(settings: &Settings) -> CheckStep {
    let (host, port) = (&settings.host, settings.port);
    if settings.is_unix_socket() {
        let path = format!("{host}/.s.PGSQL.{port}");
        return match time::timeout(settings.connect_timeout(), UnixStream::connect(&path)).await {
            Ok(Ok(_)) => CheckStep::passed(NETWORK, format!("`{path}` is open")),
            Ok(Err(error)) => failed(settings, &format!("`{path}` is not open"), &error),
            Err(_) => timed_out(settings),
        };
    }
    let reaching = async {
        let addresses: Vec<_> = match lookup_host((host.as_str(), port)).await {
            Ok(addresses) => addresses.collect(),
            Err(error) => return failed(settings, &format!("Host `{host}` is not known"), &error),
        };
        match TcpStream::connect(addresses.as_slice()).await {
            Ok(_) => CheckStep::passed(NETWORK, format!("`{host}` port `{port}` is open")),
            Err(error) => failed(settings, &format!("`{host}` port `{port}` was not reached"), &error),
        }
    };
    time::timeout(settings.connect_timeout(), reaching).await.unwrap_or_else(|_| timed_out(settings))
}

fn failed(settings: &Settings, message: &str, error: &io::Error) -> CheckStep {
    let step = CheckStep::new(NETWORK, hub_plugin_api::CheckStatus::Failed, format!("{message}: {error}"));
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return step.with_field("port").with_hint(format!(
            "Nothing listens there: check the port, that the server runs, and its `listen_addresses` (now `{}`)",
            settings.host
        ));
    }
    step.with_field("host")
        .with_hint("Check the name for typing errors, and that it is known where the hub runs")
}

fn timed_out(settings: &Settings) -> CheckStep {
    let message = format!("`{}` did not answer within {} ms", settings.host, settings.connect_timeout_ms);
    CheckStep::new(NETWORK, hub_plugin_api::CheckStatus::Failed, message)
        .with_field("host")
        .with_hint("A firewall may drop the packets; a slow network needs a greater `connect_timeout_ms`")
}
