//! From a fresh connection to a session: startup message, login (PostgreSQL manual, section "Message Flow").

use std::io;

use hub_plugin_api::{Error, ErrorKind, Result, Secret};
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256},
    },
    message::{backend, frontend},
};

use super::{
    answer::{self, Fields},
    receive::Receiver,
    send::Sender,
    session::RawMode,
    socket::Socket,
};
use crate::{config::Settings, error};

/// What a login can be bound to.
pub(super) enum Binding {
    /// No TLS.
    None,
    /// TLS, with a certificate that binds nothing.
    Impossible,
    /// Hash of the server's certificate.
    EndPoint(Vec<u8>),
}

impl Binding {
    pub(super) fn of(socket: &Socket) -> Self {
        match socket.server_end_point() {
            Some(hash) => Self::EndPoint(hash),
            None if socket.is_tls() => Self::Impossible,
            None => Self::None,
        }
    }
}

/// A login under way.
pub(super) struct Login<'a> {
    pub settings: &'a Settings,
    pub password: Option<&'a Secret>,
    pub mode: RawMode,
    pub binding: Binding,
    /// The message of every error.
    pub doing: &'a str,
    pub receiver: &'a mut Receiver,
    pub sender: &'a Sender,
}

impl Login<'_> {
    /// Logs in, and waits until the session takes statements. Returns what the server gave for cancel requests: process
    /// and secret.
    pub(super) async fn run(mut self) -> Result<(i32, i32)> {
        self.startup().await?;
        let mut key = (0, 0);
        let mut scram = None;
        loop {
            let (tag, body) = self.next().await?;
            let mut fields = Fields(&body);
            match tag {
                backend::AUTHENTICATION_TAG => {
                    let step = fields.int()?;
                    self.authenticate(step, fields.0, &mut scram).await?;
                }
                backend::BACKEND_KEY_DATA_TAG => key = (fields.int()?, fields.int()?),
                backend::ERROR_RESPONSE_TAG => return Err(answer::error_response(self.doing, &body)),
                backend::READY_FOR_QUERY_TAG => return Ok(key),
                backend::NOTICE_RESPONSE_TAG | backend::PARAMETER_STATUS_TAG => {}
                tag => return Err(answer::unexpected(tag, "during the login")),
            }
        }
    }

    async fn startup(&self) -> Result<()> {
        let Settings { username, database, application_name, .. } = self.settings;
        let mut parameters = vec![
            ("user", username.as_str()),
            ("database", database.as_str()),
            ("application_name", application_name.as_str()),
            ("client_encoding", "UTF8"),
        ];
        if self.mode == RawMode::Replication {
            parameters.push(("replication", "database"));
        }
        self.send(|out| frontend::startup_message(parameters, out)).await
    }

    async fn send(&self, put: impl FnOnce(&mut bytes::BytesMut) -> io::Result<()>) -> Result<()> {
        self.sender.send(put).await.map_err(|error| error::from_socket(self.doing, &error))
    }

    async fn next(&mut self) -> Result<(u8, Vec<u8>)> {
        let message = self.receiver.next_of_login().await?;
        let message = message.map_err(|error| error::from_socket(self.doing, &error))?;
        let tag = message.tag;
        Ok((tag, self.receiver.take(message).to_vec()))
    }

    async fn authenticate(&self, step: i32, body: &[u8], scram: &mut Option<ScramSha256>) -> Result<()> {
        match step {
            // A server that asked for a SCRAM login must prove that it knows the password, too.
            0 if scram.is_some() => Err(self.refused("the server ended the login without its own proof")),
            0 => Ok(()),
            3 => {
                let password = self.password()?.to_vec();
                self.send(move |out| frontend::password_message(&password, out)).await
            }
            5 => {
                let salt = body.try_into().map_err(|_| self.refused("the server's salt is too short"))?;
                let hash = md5_hash(self.settings.username.as_bytes(), self.password()?, salt);
                self.send(move |out| frontend::password_message(hash.as_bytes(), out)).await
            }
            10 => {
                let (mechanism, login) = self.scram(body)?;
                let first = login.message().to_vec();
                *scram = Some(login);
                self.send(move |out| frontend::sasl_initial_response(mechanism, &first, out)).await
            }
            11 => {
                let login = scram.as_mut().ok_or_else(|| self.refused("a step of SCRAM came too early"))?;
                login.update(body).map_err(|error| self.refused(&error.to_string()))?;
                let second = login.message().to_vec();
                self.send(move |out| frontend::sasl_response(&second, out)).await
            }
            12 => {
                let mut login = scram.take().ok_or_else(|| self.refused("a step of SCRAM came too early"))?;
                login.finish(body).map_err(|error| self.refused(&error.to_string()))
            }
            other => {
                let mut error = Error::new(ErrorKind::Unsupported, self.doing).with_hint(
                    "Passwords (clear, MD5, SCRAM-SHA-256) and client certificates are supported: change the line of \
                     `pg_hba.conf`",
                );
                error.source = Some(format!("the server asks for the login method of number {other}"));
                Err(error)
            }
        }
    }

    fn scram(&self, mut mechanisms: &[u8]) -> Result<(&'static str, ScramSha256)> {
        let (mut plain, mut plus) = (false, false);
        // Names, until an empty one.
        while !mechanisms.is_empty() {
            let mut fields = Fields(mechanisms);
            let name = fields.until_nul()?;
            plain |= name == SCRAM_SHA_256.as_bytes();
            plus |= name == SCRAM_SHA_256_PLUS.as_bytes();
            mechanisms = fields.0;
        }
        let password = self.password()?;
        let (mechanism, binding) = match &self.binding {
            Binding::EndPoint(hash) if plus => {
                (SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(hash.clone()))
            }
            // Told to the server, which then knows when someone in between took the better mechanism away.
            Binding::EndPoint(_) if plain => (SCRAM_SHA_256, ChannelBinding::unrequested()),
            Binding::None | Binding::Impossible if plain => (SCRAM_SHA_256, ChannelBinding::unsupported()),
            _ => return Err(self.refused("the server offers no login mechanism that is known here")),
        };
        Ok((mechanism, ScramSha256::new(password, binding)))
    }

    fn password(&self) -> Result<&[u8]> {
        let missing = || {
            let mut error = Error::new(ErrorKind::InvalidConfig, self.doing);
            error.source = Some("password missing".into());
            error
        };
        Ok(self.password.ok_or_else(missing)?.expose().as_bytes())
    }

    fn refused(&self, why: &str) -> Error {
        let mut error = Error::new(ErrorKind::Authentication, self.doing);
        error.source = Some(why.to_owned());
        error
    }
}
