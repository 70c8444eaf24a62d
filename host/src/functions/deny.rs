//! What a function does not get, and what says so.

use std::net::SocketAddr;

use hub_plugin_api::{Error, Result};
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::{
    WasiCtxBuilder,
    p2::bindings::{
        cli::environment,
        filesystem::{preopens, types::Descriptor},
        sockets::ip_name_lookup,
    },
    sockets::SocketAddrUse,
};

use super::{
    guest::Guest,
    module::Module,
    names::guard_names,
    shell::{Denied, HasShell},
};

/// What a function is told that looks for files, or whose language does.
const FILES: &str = "The module looked for files, as some languages always do, and a function gets none. Give it what it \
                     needs as `arguments`, or let it query";
/// What a function is told that looks for variables, or whose language does.
const ENVIRONMENT: &str = "The module looked for environment variables, as some languages always do, and a function gets \
                           none. Give it what it needs as `arguments`";

/// What becomes of an interface that a module imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// It is there.
    Granted,
    /// It is there and empty, for what languages need before they do anything.
    Empty,
    /// Calls of it fail.
    Denied,
}

/// What becomes of an import, and why, in a few words.
pub fn grant_of(import: &str) -> Option<(Grant, &'static str)> {
    let name = import.split_once('@').map_or(import, |(name, _)| name);
    Some(match name {
        "connector-hub:plugin/connection" => (Grant::Granted, "its connection's own database"),
        "connector-hub:plugin/log" => (Grant::Granted, "the hub's log"),
        "connector-hub:plugin/types" => (Grant::Granted, "types only"),
        "wasi:cli/environment" => (Grant::Empty, "no variables; give values as `arguments`"),
        "wasi:filesystem/preopens" | "wasi:filesystem/types" => {
            (Grant::Empty, "no files; give values as `arguments`")
        }
        name if name.starts_with("wasi:sockets/") => (Grant::Denied, "no network; query the connection"),
        name if name.starts_with("wasi:clocks/") => (Grant::Granted, "the system's clocks"),
        name if name.starts_with("wasi:random/") => (Grant::Granted, "the system's random numbers"),
        name if name.starts_with("wasi:io/") => (Grant::Granted, "waiting and streams"),
        name if name.starts_with("wasi:cli/") => (Grant::Granted, "standard streams: errors go to the log"),
        _ => return None,
    })
}

/// Fails for an import that no function gets, before anything is compiled.
pub(super) fn check_imports(module: &Module) -> Result<()> {
    let unknown: Vec<_> = module.imports.iter().filter(|import| grant_of(import).is_none()).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = unknown.iter().map(|name| format!("`{name}`")).collect();
    let message = format!("The module `{}` imports what no function gets: {}", module.name, names.join(", "));
    let of_hub = unknown.iter().any(|name| name.starts_with("connector-hub:"));
    Err(Error::config("module", message).with_hint(if of_hub {
        "Only a connector imports that: put it into a plugin folder"
    } else {
        "A function imports its connection, the log and WASI 0.2; leave out what brings the rest in"
    }))
}

/// Notes each attempt to reach the network, which always fails.
pub(super) fn network(wasi: &mut WasiCtxBuilder, denied: &Denied) {
    let denied = denied.clone();
    wasi.allow_tcp(true).allow_udp(true).allow_ip_name_lookup(true).socket_addr_check(
        move |address, used| {
            denied.note(no_network(&attempt(address, used)));
            Box::pin(async { false })
        },
    );
}

/// What a module tried to do with an address, in words. The unspecified one means nothing to anybody.
fn attempt(address: SocketAddr, used: SocketAddrUse) -> String {
    let is_bind = matches!(used, SocketAddrUse::TcpBind | SocketAddrUse::UdpBind);
    if address.ip().is_unspecified() && (is_bind || address.port() == 0) {
        match address.port() {
            0 => "open a socket".into(),
            port => format!("listen on port {port}"),
        }
    } else {
        format!("reach `{address}`")
    }
}

fn no_network(attempt: &str) -> String {
    format!(
        "The module tried to {attempt}: a function gets no network. Let it query its connection, or read such a \
         source with a connector"
    )
}

guard_names!(Guest, |guest, name| {
    guest.shell().denied.note(no_network(&format!("look up `{name}`")));
    false
});

/// Puts interfaces that note what was asked for in front of WASI's own.
pub(super) fn shadow(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    struct Noted;

    impl HasData for Noted {
        type Data<'a> = &'a mut Guest;
    }

    linker.allow_shadowing(true);
    preopens::add_to_linker::<_, Noted>(linker, |guest| guest)?;
    environment::add_to_linker::<_, Noted>(linker, |guest| guest)?;
    ip_name_lookup::add_to_linker::<_, Noted>(linker, |guest| guest)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl preopens::Host for Guest {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        self.shell().denied.note_look(FILES);
        Ok(Vec::new())
    }
}

impl environment::Host for Guest {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        self.shell().denied.note_look(ENVIRONMENT);
        Ok(Vec::new())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(vec!["function".into()])
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_told_without_addresses_that_mean_nothing() {
        for (address, used, told) in [
            ("0.0.0.0:0", SocketAddrUse::TcpBind, "open a socket"),
            ("[::]:0", SocketAddrUse::UdpBind, "open a socket"),
            ("0.0.0.0:8080", SocketAddrUse::TcpBind, "listen on port 8080"),
            ("127.0.0.1:80", SocketAddrUse::TcpConnect, "reach `127.0.0.1:80`"),
            ("192.0.2.1:53", SocketAddrUse::UdpSend, "reach `192.0.2.1:53`"),
        ] {
            assert_eq!(attempt(address.parse().unwrap(), used), told);
        }
        assert!(
            no_network("open a socket").starts_with("The module tried to open a socket: a function gets no")
        );
    }
}
