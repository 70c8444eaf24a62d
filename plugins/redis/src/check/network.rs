use std::io;

use hub_plugin_api::{CheckStatus, CheckStep};
use tokio::{
    net::{TcpStream, lookup_host},
    time,
};

use super::NETWORK;
use crate::config::Settings;

/// Whether something listens where the settings say.
pub async fn reach(settings: &Settings) -> CheckStep {
    let (host, port) = (&settings.host, settings.port);
    let reaching = async {
        let addresses: Vec<_> = match lookup_host((host.as_str(), port)).await {
            Ok(addresses) => addresses.collect(),
            Err(error) => return failed(&format!("Host `{host}` is not known"), &error),
        };
        match TcpStream::connect(addresses.as_slice()).await {
            Ok(_) => CheckStep::passed(NETWORK, format!("`{host}` port `{port}` is open")),
            Err(error) => failed(&format!("`{host}` port `{port}` was not reached"), &error),
        }
    };
    time::timeout(settings.connect_timeout(), reaching).await.unwrap_or_else(|_| {
        let message = format!("`{host}` did not answer within {} ms", settings.connect_timeout_ms);
        CheckStep::new(NETWORK, CheckStatus::Failed, message)
            .with_field("host")
            .with_hint("A firewall may drop the packets; a slow network needs a greater `connect_timeout_ms`")
    })
}

fn failed(message: &str, error: &io::Error) -> CheckStep {
    let step = CheckStep::new(NETWORK, CheckStatus::Failed, format!("{message}: {error}"));
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return step.with_field("port").with_hint(
            "Nothing listens there: check the port, that the server runs, and its `bind` and `protected-mode`",
        );
    }
    step.with_field("host")
        .with_hint("Check the name for typing errors, and that it is known where the hub runs")
}
