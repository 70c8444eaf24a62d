use hub_plugin_api::{CommitToken, Error, ErrorKind, Result, WriterRequest};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    config::ConnectionConfig,
    database::{Interrupt, retry_busy},
    error::map,
    sql,
};

/// One lane of a pipeline, as its row in the table of commit tokens has it.
#[derive(Debug)]
pub struct Lane {
    pipeline: String,
    lane: u32,
    fence: i64,
    /// The last token that is durable.
    pub last: Option<CommitToken>,
}

impl Lane {
    /// Takes the lane: every earlier writer of it fails from now on.
    pub fn take(
        connection: &Connection,
        config: &ConnectionConfig,
        request: &WriterRequest,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let failed =
            |error| map("The lane could not be taken", error).with_context("table", sql::COMMITS_TABLE);
        retry_busy(config.busy_timeout(), interrupt, || connection.execute_batch("BEGIN IMMEDIATE"))
            .map_err(failed)?;
        connection.execute(sql::CREATE_COMMITS_TABLE, []).map_err(failed)?;
        let (fence, token) = connection
            .query_row(sql::TAKE_LANE, params![request.pipeline, request.lane], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?))
            })
            .map_err(failed)?;
        retry_busy(config.busy_timeout(), interrupt, || connection.execute_batch("COMMIT"))
            .map_err(failed)?;
        Ok(Self { pipeline: request.pipeline.clone(), lane: request.lane, fence, last: read_token(token)? })
    }

    /// Stores a token, inside the transaction of its rows.
    pub fn put(&self, connection: &Connection, token: &CommitToken) -> Result<()> {
        let failed = |error| {
            map("The commit token could not be stored", error).with_context("table", sql::COMMITS_TABLE)
        };
        let found = connection
            .query_row(sql::READ_LANE, params![self.pipeline, self.lane], |row| row.get::<_, i64>(0))
            .optional()
            .map_err(failed)?;
        if found != Some(self.fence) {
            return Err(Error::new(
                ErrorKind::Fenced,
                format!("Another writer took lane {} of pipeline `{}`", self.lane, self.pipeline),
            )
            .with_hint("Run a pipeline once at a time"));
        }
        if (token.pipeline.as_str(), token.lane) != (self.pipeline.as_str(), self.lane) {
            return Err(Error::new(ErrorKind::TokenConflict, "The commit token is of another lane"));
        }
        token.check_follows(self.last.as_ref())?;
        let json = serde_json::to_string(token)?;
        connection
            .execute(sql::PUT_TOKEN, params![self.pipeline, self.lane, self.fence, json])
            .map_err(failed)?;
        Ok(())
    }
}

fn read_token(token: Option<String>) -> Result<Option<CommitToken>> {
    token.map(|json| serde_json::from_str(&json)).transpose().map_err(|error| {
        Error::new(
            ErrorKind::TokenConflict,
            format!("The commit token in `{}` cannot be read", sql::COMMITS_TABLE),
        )
        .with_source(&error)
        .with_hint("It was changed, or stored by a newer version")
    })
}
