//! Which hosts and ports a connector may reach: those that both its manifest and the user's configuration name.

use std::{
    collections::HashSet,
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
};

use hub_plugin_api::{Config, ConnectorSpec, Value};
use wasmtime_wasi::{WasiCtxBuilder, sockets::SocketAddrUse};

use crate::functions::Denied;

/// The parameter in which the user names what the parameters of the connector do not.
pub(super) const PARAMETER: &str = "sandbox_network";

/// What one connection may reach. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Network(Arc<State>);

#[derive(Default)]
struct State {
    granted: Vec<(String, u16)>,
    /// What the manifest names and the user does not, for the hint.
    ungranted: Vec<String>,
    /// The addresses of the granted hosts, as they were last asked for.
    addresses: Mutex<HashSet<SocketAddr>>,
}

/// A pair of host and port that the manifest asks for, and whether the host is one that the user gave.
struct Wanted {
    host: String,
    port: u16,
    is_given: bool,
}

impl Network {
    /// What a configuration grants of what a manifest asks for.
    pub(super) fn granted(spec: &ConnectorSpec, config: &Config) -> Self {
        let listed: Vec<String> =
            config.list(PARAMETER).iter().map(|pair| pair.to_ascii_lowercase()).collect();
        let (mut granted, mut ungranted) = (Vec::new(), Vec::new());
        for wanted in spec.network.iter().filter_map(|template| wanted(template, spec, config)) {
            let pair = format!("{}:{}", wanted.host, wanted.port);
            if wanted.is_given || listed.contains(&pair) {
                granted.push((wanted.host, wanted.port));
            } else {
                ungranted.push(pair);
            }
        }
        Self(Arc::new(State { granted, ungranted, addresses: Mutex::default() }))
    }

    /// Opens the network as far as it is granted; every other attempt is noted.
    pub(super) fn furnish(&self, wasi: &mut WasiCtxBuilder, denied: &Denied) {
        self.0.granted.iter().for_each(|(host, _)| self.resolve(host));
        let (network, denied) = (self.clone(), denied.clone());
        wasi.allow_tcp(true).allow_udp(true).allow_ip_name_lookup(true);
        wasi.socket_addr_check(move |address, used| {
            let is_allowed = network.allows(address, used, &denied);
            Box::pin(async move { is_allowed })
        });
    }

    fn allows(&self, address: SocketAddr, used: SocketAddrUse, denied: &Denied) -> bool {
        match used {
            // What the system does by itself before it connects.
            SocketAddrUse::TcpBind if address.port() == 0 && address.ip().is_unspecified() => true,
            SocketAddrUse::TcpConnect => {
                let known = self.0.addresses.lock().unwrap_or_else(PoisonError::into_inner);
                if known.contains(&address) {
                    return true;
                }
                denied.note(self.hint(&address.to_string()));
                false
            }
            _ => {
                denied.note(if address.ip().is_unspecified() {
                    "The connector tried to open a socket other than to connect: nothing grants that".into()
                } else {
                    format!("The connector tried to use `{address}` other than to connect to it: nothing grants that")
                });
                false
            }
        }
    }

    /// Whether a name may be looked up: it is one of a granted host. Its addresses may be reached from then on.
    pub(super) fn may_look_up(&self, name: &str, denied: &Denied) -> bool {
        let name = name.to_ascii_lowercase();
        let is_granted = self.0.granted.iter().any(|(host, _)| *host == name);
        if is_granted {
            self.resolve(&name);
        } else {
            denied.note(self.hint(&name));
        }
        is_granted
    }

    /// Takes the addresses of a granted host as they are now.
    fn resolve(&self, name: &str) {
        for (host, port) in self.0.granted.iter().filter(|(host, _)| host == name) {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            // A name that cannot be looked up now is the connector's error when it tries to.
            let found = (bare, *port).to_socket_addrs().into_iter().flatten();
            self.0.addresses.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
        }
    }

    fn hint(&self, what: &str) -> String {
        let tried = format!("The connector tried to reach `{what}`, which is not granted");
        if !self.0.ungranted.is_empty() {
            let list = self.0.ungranted.join(", ");
            return format!("{tried}: list it under the parameter `{PARAMETER}`, if you trust it: {list}");
        }
        if self.0.granted.is_empty() {
            return format!("{tried}: its manifest names no host under `network`, so nothing can grant it");
        }
        let granted: Vec<_> = self.0.granted.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        format!("{tried}: its manifest and the configuration name {} only", granted.join(", "))
    }
}

/// What a template stands for, when its parameters have values.
fn wanted(template: &str, spec: &ConnectorSpec, config: &Config) -> Option<Wanted> {
    let value = |part: &str| -> Option<(String, bool)> {
        let Some(id) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
            return Some((part.to_owned(), false));
        };
        let value = config.get(id)?;
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        // A default is the manifest's word, not the user's.
        let is_default =
            spec.parameters.iter().any(|one| one.id == id && one.default.as_ref() == Some(value));
        Some((text, !is_default))
    };
    if template.starts_with('{') && template.ends_with('}') && template.matches('{').count() == 1 {
        let (address, is_given) = value(template)?;
        let (host, port) = host_of(&address)?;
        return Some(Wanted { host, port, is_given });
    }
    let (host, port) = template.rsplit_once(':')?;
    let ((host, is_given), (port, _)) = (value(host)?, value(port)?);
    Some(Wanted { host: host.to_ascii_lowercase(), port: port.parse().ok()?, is_given })
}

/// Host and port of an address: `https://example.org/x`, `example.org:8080`.
fn host_of(address: &str) -> Option<(String, u16)> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let usual = match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    };
    let is_bare_six = authority.starts_with('[') && authority.ends_with(']');
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !is_bare_six => (host, port.parse().ok()),
        _ => (authority, usual),
    };
    (!host.is_empty()).then_some(())?;
    Some((host.to_ascii_lowercase(), port?))
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::{Parameter, json};

    use super::*;

    fn spec(network: &[&str]) -> ConnectorSpec {
        let spec = ConnectorSpec::new("web", "Web")
            .parameter(Parameter::text("url", "URL"))
            .parameter(Parameter::text("host", "Host").default("tracker.example"))
            .parameter(Parameter::number("port", "Port").default(80));
        network.iter().fold(spec, |spec, pair| spec.reaches(*pair))
    }

    #[test]
    fn a_pair_needs_both_the_manifest_and_the_user() {
        let granted =
            |network: &[&str], config: Config| Network::granted(&spec(network), &config).0.granted.clone();
        let url = || {
            Config::new()
                .with("url", "http://Data.Example/x?y#z")
                .with("host", "tracker.example")
                .with("port", 80)
        };
        assert_eq!(granted(&["{url}"], url()), [("data.example".into(), 80)]);
        assert!(granted(&[], url()).is_empty(), "the manifest names nothing");
        assert!(granted(&["{host}:{port}"], url()).is_empty(), "a default is not the user's word");
        assert!(granted(&["fixed.example:443"], url()).is_empty(), "the user names nothing");
        let listed = url().with(PARAMETER, json!(["fixed.example:443", "other.example:1"]));
        assert_eq!(granted(&["fixed.example:443"], listed), [("fixed.example".into(), 443)]);
        let given = Config::new().with("host", "db.example").with("port", 80);
        assert_eq!(granted(&["{host}:{port}"], given), [("db.example".into(), 80)]);
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for (address, expected) in [
            ("https://user:pass@example.org/x", Some(("example.org", 443))),
            ("http://[::1]:8080/", Some(("[::1]", 8080))),
            ("http://[::1]/", Some(("[::1]", 80))),
            ("example.org:81", Some(("example.org", 81))),
            ("example.org", None),
            ("orders.csv", None),
            ("http://:80", None),
        ] {
            assert_eq!(host_of(address), expected.map(|(host, port)| (host.to_owned(), port)), "{address}");
        }
    }

    #[test]
    fn a_denial_says_what_would_grant_it() {
        let denied = Denied::default();
        let network = Network::granted(&spec(&["fixed.example:443"]), &Config::new());
        assert!(!network.allows("192.0.2.1:443".parse().unwrap(), SocketAddrUse::TcpConnect, &denied));
        assert!(!network.may_look_up("evil.example", &denied));
        assert_eq!(
            denied.hint().unwrap().lines().next().unwrap(),
            "The connector tried to reach `192.0.2.1:443`, which is not granted: list it under the parameter \
             `sandbox_network`, if you trust it: fixed.example:443"
        );
        let network = Network::granted(&spec(&["{url}"]), &Config::new().with("url", "http://127.0.0.1:9"));
        network.resolve("127.0.0.1");
        assert!(network.allows("127.0.0.1:9".parse().unwrap(), SocketAddrUse::TcpConnect, &denied));
        assert!(!network.allows("127.0.0.1:10".parse().unwrap(), SocketAddrUse::TcpConnect, &denied));
        assert!(!network.allows("127.0.0.1:9".parse().unwrap(), SocketAddrUse::UdpSend, &denied));
    }
}
