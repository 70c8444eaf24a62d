//! The lane's row in `__hub_commits`: fence and last token.

use hub_plugin_api::{CommitToken, Error, ErrorKind, Result, WriterRequest};
use tokio_postgres::Client;

use crate::{connection::Session, error, sql};

/// The table's name.
pub(super) const COMMITS: &str = "__hub_commits";

/// A lane that this writer has taken.
pub(super) struct Lane {
    table: String,
    pipeline: String,
    lane: i32,
    fence: i64,
    last: Option<CommitToken>,
}

impl Lane {
    /// Raises the fence in a transaction of its own, so that every earlier writer of the lane fails from now on.
    ///
    /// # Errors
    /// When the table cannot be made or changed.
    pub(super) async fn take(session: &Session, schema: &str, request: &WriterRequest) -> Result<Self> {
        let table = sql::qualified(Some(schema), COMMITS);
        let lane = i32::try_from(request.lane)
            .map_err(|_| Error::internal(format!("Lane {} is out of range", request.lane)))?;
        make_table(session, schema, &table).await?;
        let failed = |error| error::from_driver(&format!("Could not take the lane in {table}"), &error);
        let row = session
            .client()
            .query_one(&sql::take_lane(&table), &[&request.pipeline, &lane])
            .await
            .map_err(failed)?;
        let last: Option<String> = row.try_get(1).map_err(failed)?;
        let last = last.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| {
            Error::new(ErrorKind::Protocol, format!("The token in {table} cannot be read"))
                .with_source(&error)
                .with_hint("A newer version of the connector may have written it")
        })?;
        let fence = row.try_get(0).map_err(failed)?;
        Ok(Self { table, pipeline: request.pipeline.clone(), lane, fence, last })
    }

    /// The last token that is durable.
    pub(super) fn last(&self) -> Option<&CommitToken> {
        self.last.as_ref()
    }

    /// Puts a token into the open transaction, unless it does not follow or the lane was taken.
    ///
    /// # Errors
    /// [`ErrorKind::TokenConflict`], [`ErrorKind::Fenced`].
    pub(super) async fn store(&self, client: &Client, token: &CommitToken) -> Result<()> {
        token.check_follows(self.last())?;
        let number = |value: u64| {
            i64::try_from(value).map_err(|_| Error::internal("A token's number is out of range"))
        };
        let (generation, n) = (number(token.generation)?, number(token.n)?);
        let text = serde_json::to_string(token)?;
        let stored = client
            .execute(
                &sql::store_token(&self.table),
                &[&self.pipeline, &self.lane, &self.fence, &generation, &n, &text],
            )
            .await
            .map_err(|error| error::from_driver("Could not store the commit token", &error))?;
        if stored == 1 {
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

/// Makes the table of tokens if it is missing. Two sessions that do it at once would break each other's statement,
/// so one waits for the other.
async fn make_table(session: &Session, schema: &str, table: &str) -> Result<()> {
    let client = session.client();
    let doing = format!("Could not make the table {table}");
    let failed = |error| error::from_driver(&doing, &error);
    if client.query_opt(sql::FIND_TABLE, &[&schema, &COMMITS]).await.map_err(failed)?.is_some() {
        return Ok(());
    }
    session.run("BEGIN", &doing).await?;
    let made = async {
        client.execute(sql::LOCK_NAME, &[&table]).await.map_err(failed)?;
        session.run(&sql::create_commits(table), &doing).await
    };
    match made.await {
        Ok(()) => session.run("COMMIT", &doing).await,
        Err(error) => {
            // The first error is the one that tells.
            drop(session.run("ROLLBACK", &doing).await);
            Err(error
                .with_hint("Grant the role CREATE on the schema, or name another one in `commit_schema`"))
        }
    }
}
