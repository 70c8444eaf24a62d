//! The lane's row in `__hub_commits`: fence and last token.

use hub_plugin_api::{CommitToken, Error, ErrorKind, Result, WriterRequest};

use crate::{
    connection::Session,
    sql::{hex_literal, literal, write as sql},
};

/// The table's name.
pub(super) const COMMITS: &str = "__hub_commits";

/// A lane that this writer has taken.
pub(super) struct Lane {
    table: String,
    pipeline: String,
    /// The pipeline as a statement has it.
    quoted: String,
    lane: u32,
    fence: u64,
    last: Option<CommitToken>,
}

impl Lane {
    /// Raises the fence in a transaction of its own, so that every earlier writer of the lane fails from now on.
    ///
    /// # Errors
    /// When the table cannot be made or changed.
    pub(super) async fn take(session: &mut Session, database: &str, request: &WriterRequest) -> Result<Self> {
        let table = sql::table_name(database, COMMITS);
        let quoted = hex_literal(request.pipeline.as_bytes());
        let doing = format!("Could not take the lane in {table}");
        let take = sql::take_lane(&table, &quoted, request.lane);
        session.run("START TRANSACTION", &doing).await?;
        match session.run(&take, &doing).await {
            Err(error) if error.kind == ErrorKind::NotFound => {
                // Making a table ends the transaction.
                session
                    .run(&sql::create_commits(&table), &format!("Could not make the table {table}"))
                    .await?;
                session.run("START TRANSACTION", &doing).await?;
                session.run(&take, &doing).await?;
            }
            other => {
                other?;
            }
        }
        let row = session.ask(&sql::lane(&table, &quoted, request.lane), &doing).await?;
        session.run("COMMIT", &doing).await?;
        let fence = row.get(0, "fence").and_then(|fence| fence.parse().ok());
        let fence =
            fence.ok_or_else(|| Error::new(ErrorKind::Protocol, format!("{table} holds no fence")))?;
        let last = row.get(0, "token").map(serde_json::from_str).transpose().map_err(|error| {
            Error::new(ErrorKind::Protocol, format!("The token in {table} cannot be read"))
                .with_source(&error)
                .with_hint("A newer version of the connector may have written it")
        })?;
        Ok(Self { table, pipeline: request.pipeline.clone(), quoted, lane: request.lane, fence, last })
    }

    /// The last token that is durable.
    pub(super) fn last(&self) -> Option<&CommitToken> {
        self.last.as_ref()
    }

    /// Puts a token into the open transaction, unless it does not follow or the lane was taken.
    ///
    /// # Errors
    /// [`ErrorKind::TokenConflict`], [`ErrorKind::Fenced`].
    pub(super) async fn store(&self, session: &mut Session, token: &CommitToken) -> Result<()> {
        token.check_follows(self.last())?;
        let text = literal(&serde_json::to_string(token)?);
        let of = (self.quoted.as_str(), self.lane, self.fence);
        let statement = sql::store_token(&self.table, of, token.generation, token.n, &text);
        let stored = session.run(&statement, "Could not store the commit token").await?;
        if stored.affected == 1 {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Fenced,
            format!("Another writer took lane {} of pipeline `{}`", self.lane, self.pipeline),
        )
        .with_hint("Stop the other run of this pipeline"))
    }

    /// The token is durable.
    pub(super) fn advance(&mut self, token: &CommitToken) {
        self.last = Some(token.clone());
    }
}
