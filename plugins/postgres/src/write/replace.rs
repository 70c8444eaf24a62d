//! Mode `replace`: rows gather in a staging table, which takes the table's place in one step at the end.
//!
//! The staging table is an ordinary one, because its rows are durable with the tokens of their commits. Its name tells
//! pipeline, table and run: what an older run left behind is dropped. Its comment tells the same in words, so that a
//! run that stopped right before its end is ended by a writer that no stream told of its tables.

use hub_plugin_api::{Result, WriterRequest};
use serde::{Deserialize, Serialize};

use super::{catalog::TargetTable, options::WriteOptions, table::left_out};
use crate::{connection::Session, error, sql};

/// The staging tables of one run of one pipeline.
pub(super) struct Staging {
    pipeline: String,
    run: u64,
}

/// The comment of a staging table.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    pipeline: String,
    run: u64,
    /// The table that is replaced.
    table: String,
    /// The columns that the stream brings: the others of a table that exists get the defaults of that table.
    columns: Vec<String>,
}

impl Staging {
    pub(super) fn new(request: &WriterRequest) -> Self {
        Self { pipeline: request.pipeline.clone(), run: request.run }
    }

    /// What the names of staging tables of every run start with. The server hashes, so that the name is the same
    /// whatever version of this connector made it.
    async fn prefix(&self, session: &Session, table: &str) -> Result<String> {
        let failed = |error| error::from_driver("Could not name a staging table", &error);
        let row = session
            .client()
            .query_one(sql::STAGING_PREFIX, &[&self.pipeline, &table])
            .await
            .map_err(failed)?;
        row.try_get(0).map_err(failed)
    }

    /// The name of the staging table for a table; drops those of other runs. It is a copy of the table where that
    /// exists, else the writer makes it like any other.
    pub(super) async fn prepare(&self, session: &Session, schema: &str, table: &str) -> Result<String> {
        let client = session.client();
        let prefix = self.prefix(session, table).await?;
        let name = format!("{prefix}{}", self.run);
        let quoted = sql::qualified(Some(schema), &name);
        let failed = |error| error::from_driver("Could not prepare a staging table", &error);
        // Other lanes of the run prepare the same one.
        client.execute(sql::LOCK_NAME, &[&quoted]).await.map_err(failed)?;
        for row in client.query(sql::STAGING_TABLES, &[&schema, &prefix]).await.map_err(failed)? {
            let other: String = row.try_get(0).map_err(failed)?;
            if other != name {
                let drop = format!("DROP TABLE {}", sql::qualified(Some(schema), &other));
                session.run(&drop, "Could not drop the staging table of an older run").await?;
            }
        }
        let there = TargetTable::find(client, schema, &name).await?.is_some();
        if !there && TargetTable::find(client, schema, table).await?.is_some() {
            let like = sql::create_like(&quoted, &sql::qualified(Some(schema), table));
            session.run(&like, "Could not make a staging table").await?;
        }
        Ok(name)
    }

    /// Writes down what the staging table is for.
    pub(super) async fn note(
        &self,
        session: &Session,
        stage: &str,
        table: &str,
        columns: Vec<String>,
    ) -> Result<()> {
        let (pipeline, run) = (self.pipeline.clone(), self.run);
        let note = Note { pipeline, run, table: table.to_owned(), columns };
        let comment = sql::comment_on(stage, &serde_json::to_string(&note)?);
        session.run(&comment, "Could not note what a staging table is for").await
    }

    /// The staging tables of this run, by name.
    async fn noted(&self, session: &Session, schema: &str) -> Result<Vec<(String, Note)>> {
        let failed = |error| error::from_driver("Could not list staging tables", &error);
        let mut noted = Vec::new();
        for row in session.client().query(sql::STAGING_NOTES, &[&schema]).await.map_err(failed)? {
            let (name, note): (String, String) =
                (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            match serde_json::from_str::<Note>(&note) {
                Ok(note) if note.pipeline == self.pipeline && note.run == self.run => {
                    noted.push((name, note))
                }
                _ => {}
            }
        }
        Ok(noted)
    }

    /// Puts every staging table in the place of its table, in the open transaction. A table that exists is emptied and
    /// filled, so that its indexes, rights and triggers stay; one that does not gets the staging table itself.
    pub(super) async fn swap(&self, session: &Session, options: &WriteOptions) -> Result<()> {
        let client = session.client();
        let schema = Some(options.schema.as_str());
        let doing = "Could not put the new rows in place";
        let failed = |error| error::from_driver(doing, &error);
        let mut filled = Vec::new();
        // The other lanes of the run wait, and find nothing left to do.
        let lock = format!("{} {}", self.pipeline, self.run);
        client.execute(sql::LOCK_NAME, &[&lock]).await.map_err(failed)?;
        for (name, Note { table, columns, .. }) in self.noted(session, &options.schema).await? {
            let (stage, quoted) = (sql::qualified(schema, &name), sql::qualified(schema, &table));
            let Some(staged) = TargetTable::find(client, &options.schema, &name).await? else {
                continue;
            };
            if TargetTable::find(client, &options.schema, &table).await?.is_some() {
                filled.push((stage, quoted, columns));
                continue;
            }
            session.run(&sql::rename_table(&stage, &table), doing).await?;
            session.run(&format!("COMMENT ON TABLE {quoted} IS NULL"), doing).await?;
            // The key's constraint and index carry the staging table's name.
            for row in client.query(sql::PRIMARY_KEY, &[&staged.oid]).await.map_err(failed)? {
                let constraint: String = row.try_get(0).map_err(failed)?;
                let rename = sql::rename_constraint(&quoted, &constraint, &format!("{table}_pkey"));
                // Another table may have an index of that name; the constraint is as good under its own.
                let statements = format!("SAVEPOINT hub_name; {rename}; RELEASE SAVEPOINT hub_name");
                if client.batch_execute(&statements).await.is_err() {
                    session.run("ROLLBACK TO SAVEPOINT hub_name", doing).await?;
                }
            }
        }
        let targets: Vec<String> = filled.iter().map(|(_, quoted, _)| quoted.clone()).collect();
        empty(session, &targets).await?;
        for (stage, quoted, columns) in &filled {
            let taken = session.work(client.execute(&sql::move_all(quoted, stage, columns), &[])).await;
            let taken = taken.map_err(failed)?;
            let sent = session.work(client.query_one(&sql::count_rows(stage), &[])).await.map_err(failed)?;
            let sent = u64::try_from(sent.try_get::<_, i64>(0).map_err(failed)?).unwrap_or_default();
            if taken != sent {
                return Err(left_out(quoted, taken, sent));
            }
            session.run(&format!("DROP TABLE {stage}"), doing).await?;
        }
        Ok(())
    }
}

/// Empties tables together: by TRUNCATE, or row by row where a foreign key of another table forbids it.
pub(super) async fn empty(session: &Session, tables: &[String]) -> Result<()> {
    if tables.is_empty() {
        return Ok(());
    }
    let failed = |error| error::from_driver("Could not empty tables", &error);
    session.run("SAVEPOINT hub_empty", "Could not set a savepoint").await?;
    let truncate = format!("TRUNCATE {}", tables.join(", "));
    match session.work(session.client().batch_execute(&truncate)).await {
        Ok(()) => session.run("RELEASE SAVEPOINT hub_empty", "Could not empty tables").await,
        Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::FEATURE_NOT_SUPPORTED) => {
            let delete: Vec<_> = tables.iter().map(|table| format!("; DELETE FROM {table}")).collect();
            session
                .run(&format!("ROLLBACK TO SAVEPOINT hub_empty{}", delete.concat()), "Could not empty tables")
                .await
        }
        Err(error) => Err(failed(error)),
    }
}
