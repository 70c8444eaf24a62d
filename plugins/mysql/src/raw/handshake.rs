//! Opens a connection: greeting, TLS, login.

use std::{future::poll_fn, io, time::Duration};

use hub_plugin_api::{Error, ErrorKind, Result, Secret};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};

use super::{
    auth::{self, Plugin},
    channel::{Channel, Payload},
    result::{Reader, server_error},
};
use crate::{
    config::{Settings, TlsMode},
    error,
    flavor::{Server, Vendor},
    tls::Tls,
};

/// What a client may say that it can (MySQL internals manual, "Capabilities Flags").
mod capability {
    /// MySQL: long passwords. MariaDB reads its absence as "I know MariaDB's own flags".
    pub const MYSQL: u32 = 1;
    pub const FOUND_ROWS: u32 = 1 << 1;
    pub const LONG_FLAG: u32 = 1 << 2;
    pub const CONNECT_WITH_DB: u32 = 1 << 3;
    pub const LOCAL_FILES: u32 = 1 << 7;
    pub const PROTOCOL_41: u32 = 1 << 9;
    pub const TLS: u32 = 1 << 11;
    pub const TRANSACTIONS: u32 = 1 << 13;
    pub const SECURE_CONNECTION: u32 = 1 << 15;
    pub const MULTI_RESULTS: u32 = 1 << 17;
    pub const PLUGIN_AUTH: u32 = 1 << 19;
    pub const PLUGIN_AUTH_LENENC: u32 = 1 << 21;
    pub const DEPRECATE_EOF: u32 = 1 << 24;
    /// MariaDB's own, of the second four bytes: types such as `uuid` and `json` in the description of columns.
    pub const EXTENDED_METADATA: u32 = 1 << 3;
}

/// Without it a reader would wait for good on a server whose machine or network is gone without a word.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);
/// The largest payload that we announce.
const MAX_PAYLOAD: u32 = 1 << 30;
/// `utf8mb4_general_ci`: names and passwords in the login are in UTF-8.
const CHARSET: u8 = 45;

/// An open connection.
pub struct Connected {
    /// The packets.
    pub channel: Channel,
    /// Who answers.
    pub server: Server,
    /// The session's number on the server.
    pub id: u32,
    /// Column descriptions hold MariaDB's own types.
    pub extended_metadata: bool,
}

/// What the server greets with.
struct Greeting {
    server: Server,
    id: u32,
    nonce: Vec<u8>,
    capabilities: u32,
    mariadb_capabilities: u32,
    plugin: Vec<u8>,
}

/// Reaches the server. `tls` is wanted where it is given.
///
/// # Errors
/// By kind: network, TLS, authentication, not found (database).
pub async fn connect(settings: &Settings, password: Option<&Secret>) -> Result<Connected> {
    let doing = format!("Could not open a session on `{}` port `{}`", settings.host, settings.port);
    connect_as(settings, password, &doing).await.map_err(|error| error::refine(settings, error))
}

async fn connect_as(settings: &Settings, password: Option<&Secret>, doing: &str) -> Result<Connected> {
    let failed = |error: io::Error| error::from_io(doing, &error);
    let mut channel = if settings.is_unix_socket() {
        Channel::unix(UnixStream::connect(&settings.host).await.map_err(failed)?)
    } else {
        Channel::tcp(reach(&settings.host, settings.port).await.map_err(failed)?)
    };
    let greeting = receive(&mut channel, doing).await?;
    let greeting = greeting_of(channel.bytes(greeting), doing)?;

    let wants_tls = settings.tls_mode != TlsMode::Disabled && !settings.is_unix_socket();
    let offered = greeting.capabilities & capability::TLS != 0;
    if wants_tls && !offered && settings.tls_mode != TlsMode::Preferred {
        return Err(Error::new(ErrorKind::Tls, doing).with_field("tls_mode").with_hint(
            "The server does not offer TLS: give it a certificate, or use TLS mode `preferred` or `disabled`",
        ));
    }
    let extended = greeting.server.vendor == Vendor::MariaDb
        && greeting.capabilities & capability::MYSQL == 0
        && greeting.mariadb_capabilities & capability::EXTENDED_METADATA != 0;
    let wanted = capability::FOUND_ROWS
        | capability::LONG_FLAG
        | capability::CONNECT_WITH_DB
        | capability::LOCAL_FILES
        | capability::PROTOCOL_41
        | capability::TRANSACTIONS
        | capability::SECURE_CONNECTION
        | capability::MULTI_RESULTS
        | capability::PLUGIN_AUTH
        | capability::PLUGIN_AUTH_LENENC
        | capability::DEPRECATE_EOF;
    let needed = capability::PROTOCOL_41 | capability::PLUGIN_AUTH | capability::DEPRECATE_EOF;
    if greeting.capabilities & needed != needed {
        return Err(Error::unsupported(format_args!("The protocol of {}", greeting.server))
            .with_hint("MySQL 5.7.5 and MariaDB 10.2 are the oldest servers that work"));
    }
    let mut capabilities = wanted & greeting.capabilities;
    if !extended {
        capabilities |= capability::MYSQL;
    }
    if wants_tls && offered {
        capabilities |= capability::TLS;
        channel.send(&login_head(capabilities, extended)).await.map_err(failed)?;
        let tls = Tls::new(settings)?;
        channel
            .secure(&tls, &settings.host)
            .await
            .map_err(|error| Error { kind: ErrorKind::Tls, ..error::from_io(doing, &error) })?;
    }
    let password = password.map_or("", Secret::expose);
    // Another plugin than the server's default is asked for afterwards.
    let plugin = Plugin::named(&greeting.plugin).unwrap_or(Plugin::Native);
    let mut login = login_head(capabilities, extended);
    login.extend_from_slice(settings.username.as_bytes());
    login.push(0);
    let answer = plugin.answer(password, &greeting.nonce);
    login.push(answer.len() as u8);
    login.extend_from_slice(&answer);
    login.extend_from_slice(settings.database.as_bytes());
    login.push(0);
    login.extend_from_slice(plugin.name().as_bytes());
    login.push(0);
    channel.send(&login).await.map_err(failed)?;
    let mut session = Login { channel: &mut channel, password, doing };
    session.finish(plugin, greeting.nonce).await?;
    Ok(Connected { channel, server: greeting.server, id: greeting.id, extended_metadata: extended })
}

async fn reach(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
    Ok(stream)
}

/// What the request for TLS and the login begin with.
fn login_head(capabilities: u32, extended: bool) -> Vec<u8> {
    let mut head = Vec::with_capacity(64);
    head.extend_from_slice(&capabilities.to_le_bytes());
    head.extend_from_slice(&MAX_PAYLOAD.to_le_bytes());
    head.push(CHARSET);
    head.extend_from_slice(&[0; 19]);
    let own = if extended { capability::EXTENDED_METADATA } else { 0 };
    head.extend_from_slice(&own.to_le_bytes());
    head
}

async fn receive(channel: &mut Channel, doing: &str) -> Result<Payload> {
    loop {
        if let Some(payload) = channel.take()? {
            return Ok(payload);
        }
        poll_fn(|context| channel.poll_receive(context))
            .await
            .map_err(|error| error::from_io(doing, &error))?;
    }
}

fn greeting_of(payload: &[u8], doing: &str) -> Result<Greeting> {
    if payload.first() == Some(&0xff) {
        return Err(server_error(doing, payload));
    }
    let broken = || error::protocol("its greeting is not that of version 10 of the protocol");
    let mut reader = Reader(payload);
    if reader.u8() != Some(10) {
        return Err(broken());
    }
    let greeting = || -> Option<Greeting> {
        let version = reader.until_nul()?;
        let server = Server::of_handshake(&String::from_utf8_lossy(version));
        let id = reader.u32()?;
        let mut nonce = reader.take(8)?.to_vec();
        reader.take(1)?;
        let low = reader.u16()?;
        reader.take(3)?;
        let capabilities = u32::from(low) | u32::from(reader.u16()?) << 16;
        let nonce_length = usize::from(reader.u8()?);
        reader.take(6)?;
        let mariadb_capabilities = reader.u32()?;
        nonce.extend_from_slice(reader.take(nonce_length.max(21).checked_sub(9)?)?);
        reader.take(1)?;
        let plugin = reader.until_nul().unwrap_or(reader.0).to_vec();
        Some(Greeting { server, id, nonce, capabilities, mariadb_capabilities, plugin })
    };
    let mut greeting = greeting;
    greeting().ok_or_else(broken)
}

/// What follows the login until the server lets us in.
struct Login<'a> {
    channel: &'a mut Channel,
    password: &'a str,
    doing: &'a str,
}

impl Login<'_> {
    async fn send(&mut self, payload: &[u8]) -> Result<()> {
        self.channel.send(payload).await.map_err(|error| error::from_io(self.doing, &error))
    }

    async fn finish(&mut self, mut plugin: Plugin, mut nonce: Vec<u8>) -> Result<()> {
        loop {
            let payload = receive(self.channel, self.doing).await?;
            let payload = self.channel.bytes(payload).to_vec();
            match payload.split_first() {
                Some((0x00, _)) => return Ok(()),
                Some((0xff, _)) => return Err(server_error(self.doing, &payload)),
                Some((0xfe, rest)) => {
                    let mut reader = Reader(rest);
                    let name = reader.until_nul().unwrap_or_default().to_vec();
                    nonce = reader.0.to_vec();
                    plugin = Plugin::named(&name)?;
                    let answer = plugin.answer(self.password, &nonce);
                    self.send(&answer).await?;
                }
                Some((_, rest)) if plugin == Plugin::Parsec => {
                    let salt = if payload.len() == 20 { payload.as_slice() } else { rest };
                    let answer = auth::parsec(self.password, &nonce, salt)?;
                    self.send(&answer).await?;
                }
                // The server knows the password from an earlier login.
                Some((0x01, [3])) if plugin == Plugin::CachingSha2 => {}
                Some((0x01, [4])) if plugin == Plugin::CachingSha2 => self.full_sha2(&nonce).await?,
                _ => return Err(error::protocol("its answer to the login is not known")),
            }
        }
    }

    /// The server needs the password itself: under TLS as it is, else under the server's key.
    async fn full_sha2(&mut self, nonce: &[u8]) -> Result<()> {
        if self.channel.is_private() {
            return self.send(&[self.password.as_bytes(), b"\0"].concat()).await;
        }
        self.send(&[2]).await?;
        let payload = receive(self.channel, self.doing).await?;
        let payload = self.channel.bytes(payload);
        let key = match payload.split_first() {
            Some((0xff, _)) => return Err(server_error(self.doing, payload)),
            Some((0x01, key)) => key.to_vec(),
            _ => return Err(error::protocol("it sends no public key")),
        };
        let encrypted = auth::encrypted_password(self.password, nonce, &key)?;
        self.send(&encrypted).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_is_gone_without_a_word_is_noticed() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let stream = reach("127.0.0.1", listener.local_addr().unwrap().port()).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
    }
}
