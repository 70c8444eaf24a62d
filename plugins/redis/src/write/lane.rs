//! The lane's hash `__hub_commits:…`: fence and last token.

use hub_plugin_api::{CommitToken, Error, ErrorKind, Result, WriterRequest};
use redis::{Cmd, Pipeline, Value};

use crate::{connection::Session, reply};

const DOING: &str = "Could not take the lane";
const FENCE: &str = "fence";
const TOKEN: &str = "token";

/// A lane that this writer has taken.
pub struct Lane {
    key: Vec<u8>,
    name: String,
    fence: i64,
    last: Option<CommitToken>,
}

impl Lane {
    /// Raises the fence, so that every earlier writer of the lane fails from now on.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn take(session: &mut Session, request: &WriterRequest) -> Result<Self> {
        let key = format!("__hub_commits:{}:{}", request.pipeline, request.lane).into_bytes();
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HINCRBY").arg(&key).arg(FENCE).arg(1);
        pipeline.cmd("HGET").arg(&key).arg(TOKEN);
        let mut answers = session.pipeline(DOING, &key, &pipeline).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let fence = reply::integer(DOING, next())?;
        let token = reply::bytes(DOING, next())?;
        let last = token.map(|text| serde_json::from_slice(&text)).transpose().map_err(|error| {
            let message = format!("The token in `{}` cannot be read", String::from_utf8_lossy(&key));
            Error::new(ErrorKind::Protocol, message)
                .with_source(&error)
                .with_hint("A newer version of the connector may have written it")
        })?;
        let name = format!("lane {} of pipeline `{}`", request.lane, request.pipeline);
        Ok(Self { key, name, fence, last })
    }

    /// Where fence and token are.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The fence that this writer raised.
    pub fn fence(&self) -> i64 {
        self.fence
    }

    /// The last token that is durable.
    pub fn last(&self) -> Option<&CommitToken> {
        self.last.as_ref()
    }

    /// Watches the lane from now on, so that a transaction fails when another writer takes it.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] when another one has it.
    pub async fn watch(&self, session: &mut Session) -> Result<()> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("WATCH").arg(&self.key);
        pipeline.cmd("HGET").arg(&self.key).arg(FENCE);
        let mut answers = session.pipeline(DOING, &self.key, &pipeline).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        reply::checked(DOING, next())?;
        let fence = reply::bytes(DOING, next())?;
        if fence.as_deref() == Some(self.fence.to_string().as_bytes()) { Ok(()) } else { Err(self.fenced()) }
    }

    /// The command that stores a token, unless it does not follow.
    ///
    /// # Errors
    /// [`ErrorKind::TokenConflict`].
    pub fn store(&self, token: &CommitToken) -> Result<Cmd> {
        token.check_follows(self.last())?;
        let mut command = redis::cmd("HSET");
        command.arg(&self.key).arg(TOKEN).arg(serde_json::to_string(token)?);
        Ok(command)
    }

    /// The token is durable.
    pub fn advance(&mut self, token: &CommitToken) {
        self.last = Some(token.clone());
    }

    /// Another writer has the lane.
    pub fn fenced(&self) -> Error {
        Error::new(ErrorKind::Fenced, format!("Another writer took {}", self.name))
            .with_hint("Stop the other run of this pipeline")
    }
}
