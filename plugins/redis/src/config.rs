//! The connection's parameters: as a form shows them, and as the code uses them.

use std::{path::PathBuf, time::Duration};

use hub_plugin_api::{Config, Error, Parameter, Result};
use serde::Deserialize;

/// What stands behind host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deployment {
    /// One server, which is written to and read from.
    SingleNode,
    /// Sentinels, which name the master of a replica set.
    Sentinel,
    /// Some nodes of a cluster, which know the others.
    Cluster,
}

/// How a session is protected on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS; the certificate's chain is checked only against a given `ca_file`.
    Require,
    /// TLS with chain and host name checked.
    VerifyFull,
}

/// The connection's parameters, all defaults filled in.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// Host name or address. Default `localhost`.
    pub host: String,
    /// Default 6379.
    pub port: u16,
    /// ACL user; absent: the server's `default`.
    #[serde(default)]
    pub username: Option<String>,
    /// From 0 to 15. Default 0.
    pub database_index: u8,
    /// Default `single-node`.
    pub deployment: Deployment,
    /// Further addresses of Sentinels or of a cluster's nodes, `host:port`.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// The name by which Sentinels know the master. Default `mymaster`.
    pub sentinel_master: String,
    /// ACL user of the Sentinels.
    #[serde(default)]
    pub sentinel_username: Option<String>,
    /// Default `disable`.
    pub tls_mode: TlsMode,
    /// PEM file of the authorities that are trusted; absent: the public ones.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate that the server may ask for.
    #[serde(default)]
    pub client_certificate: Option<PathBuf>,
    /// PEM file of that certificate's key.
    #[serde(default)]
    pub client_key: Option<PathBuf>,
    /// Milliseconds until a session must be open. Default 10,000.
    pub connect_timeout_ms: u64,
    /// Milliseconds that one answer may take. Default 60,000.
    pub command_timeout_ms: u64,
    /// What `CLIENT LIST` shows. Default `connector-hub`.
    pub client_name: String,
}

impl Settings {
    /// Reads and checks a connection's parameters.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field.
    pub fn read(config: &Config) -> Result<Self> {
        let mut complete = Config::new();
        for parameter in parameters() {
            if let Some(value) = config.get(&parameter.id).or(parameter.default.as_ref()) {
                complete.set(parameter.id, value.clone());
            }
        }
        let mut settings: Self = complete.parse()?;
        // A form leaves an empty text where nothing was entered.
        for path in [&mut settings.ca_file, &mut settings.client_certificate, &mut settings.client_key] {
            path.take_if(|path| path.as_os_str().is_empty());
        }
        settings.username.take_if(|name| name.is_empty());
        settings.sentinel_username.take_if(|name| name.is_empty());
        if settings.host.is_empty() {
            return Err(Error::config("host", "`host` is empty"));
        }
        if settings.client_name.contains(|c: char| !c.is_ascii_graphic()) {
            return Err(Error::config("client_name", "`client_name` holds a blank, or what is not ASCII")
                .with_hint("Redis takes names of visible ASCII characters only"));
        }
        if settings.client_certificate.is_some() != settings.client_key.is_some() {
            return Err(Error::config(
                "client_key",
                "A client certificate and its key are given together or not at all",
            ));
        }
        if settings.deployment == Deployment::Cluster && settings.database_index != 0 {
            return Err(Error::config("database_index", "A cluster has no database but 0"));
        }
        settings.addresses()?;
        Ok(settings)
    }

    /// Host and port, and those of the further nodes.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] for a node that is no `host:port`.
    pub fn addresses(&self) -> Result<Vec<(String, u16)>> {
        let mut addresses = vec![(self.host.clone(), self.port)];
        for node in &self.nodes {
            let parts = node.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
            match parts {
                Some((host, port)) if !host.is_empty() => {
                    addresses.push((host.trim_matches(['[', ']']).to_owned(), port));
                }
                _ => return Err(Error::config("nodes", format!("`{node}` is not of the form `host:port`"))),
            }
        }
        Ok(addresses)
    }

    /// How long until a session must be open.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// How long one answer may take.
    pub fn command_timeout(&self) -> Duration {
        Duration::from_millis(self.command_timeout_ms)
    }

    /// What stored positions are bound to. Redis has no lasting id of a server, a replica set or a cluster, so this is
    /// where it is found.
    pub fn identity(&self) -> String {
        let Self { host, port, database_index, sentinel_master, .. } = self;
        match self.deployment {
            Deployment::SingleNode => format!("{host}:{port}/{database_index}"),
            Deployment::Sentinel => format!("sentinel/{sentinel_master}/{database_index}"),
            Deployment::Cluster => format!("cluster/{host}:{port}"),
        }
    }
}

/// The parameters of a connection, in the order in which a form shows them.
pub fn parameters() -> Vec<Parameter> {
    let deployments = [("single-node", "Single Node"), ("sentinel", "Sentinel"), ("cluster", "Cluster")];
    let tls = [("disable", "Disable"), ("require", "Require"), ("verify-full", "Verify Full")];
    vec![
        Parameter::text("host", "Host")
            .default("localhost")
            .describe("Name or address of the server, of a Sentinel or of a cluster's node"),
        Parameter::number("port", "Port").default(6379).range(1, 65535).describe("Port that it listens on"),
        Parameter::text("username", "Username")
            .describe("ACL user of Redis 6 and newer; empty: the user `default`"),
        Parameter::password("password", "Password")
            .describe("Password of the ACL user, or the one that `requirepass` sets"),
        Parameter::number("database_index", "Database Index")
            .default(0)
            .range(0, 15)
            .describe("Number of the logical database"),
        Parameter::dropdown("deployment", "Deployment", &deployments)
            .default("single-node")
            .advanced()
            .describe("Whether host and port are a server's, a Sentinel's or those of a cluster's node"),
        Parameter::list("nodes", "Further nodes").advanced().describe(
            "More Sentinels or nodes of the cluster as `host:port`, tried when the first does not answer",
        ),
        Parameter::text("sentinel_master", "Sentinel master")
            .default("mymaster")
            .advanced()
            .describe("Name by which the Sentinels know the master"),
        Parameter::text("sentinel_username", "Sentinel username")
            .advanced()
            .describe("ACL user of the Sentinels"),
        Parameter::password("sentinel_password", "Sentinel password")
            .advanced()
            .describe("Password of the Sentinels"),
        Parameter::dropdown("tls_mode", "TLS Mode", &tls)
            .default("disable")
            .advanced()
            .describe("Whether sessions use TLS, and how much of the server's certificate is checked"),
        Parameter::file("ca_file", "CA file")
            .advanced()
            .describe("PEM file of the trusted authorities; without it Verify Full trusts the public ones"),
        Parameter::file("client_certificate", "Client certificate")
            .advanced()
            .describe("PEM file of the certificate that the server may ask for"),
        Parameter::file("client_key", "Client key")
            .advanced()
            .describe("PEM file of the client certificate's key"),
        Parameter::number("connect_timeout_ms", "Connect timeout")
            .default(10_000)
            .range(1, 600_000)
            .advanced()
            .describe("Milliseconds until a session must be open"),
        Parameter::number("command_timeout_ms", "Command timeout")
            .default(60_000)
            .range(1, 3_600_000)
            .advanced()
            .describe("Milliseconds that the server may take for one answer"),
        Parameter::text("client_name", "Client name")
            .default("connector-hub")
            .advanced()
            .describe("Name that `CLIENT LIST` shows for the sessions"),
    ]
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::json;

    use super::*;

    #[test]
    fn defaults_need_no_thought() {
        let settings = Settings::read(&Config::new()).unwrap();
        assert_eq!((settings.host.as_str(), settings.port, settings.database_index), ("localhost", 6379, 0));
        assert_eq!((settings.username, settings.tls_mode), (None, TlsMode::Disable));
    }

    #[test]
    fn what_does_not_fit_names_its_field() {
        for (config, field) in [
            (Config::new().with("host", ""), "host"),
            (Config::new().with("client_name", "a b"), "client_name"),
            (Config::new().with("client_certificate", "c.pem"), "client_key"),
            (Config::new().with("nodes", json!(["10.0.0.1"])), "nodes"),
            (Config::new().with("deployment", "cluster").with("database_index", 3), "database_index"),
        ] {
            assert_eq!(Settings::read(&config).unwrap_err().field.as_deref(), Some(field));
        }
    }

    #[test]
    fn further_nodes_are_addresses() {
        let config = Config::new().with("nodes", json!(["a:1", "[::1]:2"]));
        let addresses = Settings::read(&config).unwrap().addresses().unwrap();
        assert_eq!(addresses, [("localhost".into(), 6379), ("a".into(), 1), ("::1".into(), 2)]);
    }
}
