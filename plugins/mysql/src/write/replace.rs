//! Mode `replace`: rows gather in a staging table, and take the place of the table's rows in one transaction at the end.
//!
//! The staging table is an ordinary one, because its rows are durable with the tokens of their commits. Its name tells
//! pipeline, table and run: what an older run left behind is dropped. Its comment tells the same in words, so that a run
//! that stopped right before its end is ended by a writer that no stream told of its tables.

use hub_plugin_api::{ErrorKind, Result, WriterRequest};
use serde::{Deserialize, Serialize};

use crate::{
    catalog::columns_of_table,
    connection::Session,
    sql::{literal, write as sql},
};

/// The staging tables of one run of one pipeline.
pub(super) struct Staging {
    pipeline: String,
    generation: u64,
    run: u64,
    database: String,
}

/// The comment of a staging table.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    pipeline: u64,
    generation: u64,
    run: u64,
    /// The table that is replaced.
    table: String,
}

/// FNV-1a: the same in every version of this connector.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Staging {
    pub(super) fn new(request: &WriterRequest, database: &str) -> Self {
        Self {
            pipeline: request.pipeline.clone(),
            generation: request.generation,
            run: request.run,
            database: database.to_owned(),
        }
    }

    fn note(&self, table: &str) -> Note {
        Note {
            pipeline: hash(&self.pipeline),
            generation: self.generation,
            run: self.run,
            table: table.to_owned(),
        }
    }

    /// The name of the staging table for a table; drops those of other runs. It is a copy of the table where that
    /// exists, else the writer makes it like any other.
    pub(super) async fn prepare(&self, session: &mut Session, table: &str) -> Result<String> {
        let place = hash(&format!("{}\0{table}", self.pipeline));
        let name = format!("__hub_stage_{place:016x}_{}_{}", self.generation, self.run);
        for (other, note) in self.noted(session).await? {
            if other != name && note.pipeline == hash(&self.pipeline) && note.table == table {
                let drop = format!("DROP TABLE IF EXISTS {}", sql::table_name(&self.database, &other));
                session.run(&drop, "Could not drop the staging table of an older run").await?;
            }
        }
        let there = !columns_of_table(session, &self.database, &name).await?.is_empty();
        if !there && !columns_of_table(session, &self.database, table).await?.is_empty() {
            let (stage, quoted) =
                (sql::table_name(&self.database, &name), sql::table_name(&self.database, table));
            session.run(&sql::create_like(&stage, &quoted), "Could not make a staging table").await?;
        }
        Ok(name)
    }

    /// Writes down what the staging table is for.
    pub(super) async fn comment(&self, session: &mut Session, stage: &str, table: &str) -> Result<()> {
        let note = self.note(table);
        // Another lane of the run may have done it, and its open transaction would hold this one up.
        if self.noted(session).await?.iter().any(|(_, there)| *there == note) {
            return Ok(());
        }
        let comment = sql::comment_on(stage, &serde_json::to_string(&note)?);
        session.run(&comment, "Could not note what a staging table is for").await?;
        Ok(())
    }

    async fn noted(&self, session: &mut Session) -> Result<Vec<(String, Note)>> {
        let answer =
            session.ask(&sql::staging_tables(&self.database), "Could not list staging tables").await?;
        let note = |row| {
            let name = answer.get(row, "name")?.to_owned();
            Some((name, serde_json::from_str(answer.get(row, "note")?).ok()?))
        };
        Ok((0..answer.rows.len()).filter_map(note).collect())
    }

    /// The staging tables of this run that are still there, with the tables they are for. Other lanes of the run wait
    /// at the lock, and find nothing left to do.
    pub(super) async fn lock(&self, session: &mut Session) -> Result<Vec<(String, String)>> {
        let name = literal(&format!("hub {:016x}", hash(&self.pipeline)));
        session.ask(&format!("SELECT GET_LOCK({name}, 3600)"), "Could not wait for other lanes").await?;
        let noted = self.noted(session).await?;
        let own = |note: &Note| *note == self.note(&note.table);
        Ok(noted.into_iter().filter(|(_, note)| own(note)).map(|(name, note)| (name, note.table)).collect())
    }

    /// Lets the other lanes go on.
    pub(super) async fn unlock(&self, session: &mut Session) -> Result<()> {
        let name = literal(&format!("hub {:016x}", hash(&self.pipeline)));
        session.ask(&format!("SELECT RELEASE_LOCK({name})"), "Could not let other lanes go on").await?;
        Ok(())
    }

    /// Puts the staged rows in place of the table's, in the open transaction.
    pub(super) async fn swap(&self, session: &mut Session, stage: &str, table: &str) -> Result<()> {
        const DOING: &str = "Could not put the new rows in place";
        let columns = columns_of_table(session, &self.database, stage).await?;
        let names = columns.into_iter().filter(|column| !column.generated).map(|column| column.name);
        let names: Vec<_> = names.collect();
        let (stage, table) = (sql::table_name(&self.database, stage), sql::table_name(&self.database, table));
        // TRUNCATE would end the transaction.
        session.run(&format!("DELETE FROM {table}"), DOING).await.map_err(|error| match error.kind {
            ErrorKind::ConstraintViolated => error
                .with_hint("Rows of another table name those that are replaced: mode `upsert` keeps them"),
            _ => error,
        })?;
        session.run(&sql::copy_all(&table, &stage, &names), DOING).await?;
        Ok(())
    }

    /// Drops what is in place now.
    pub(super) async fn drop_stage(&self, session: &mut Session, stage: &str) -> Result<()> {
        let statement = format!("DROP TABLE IF EXISTS {}", sql::table_name(&self.database, stage));
        session.run(&statement, "Could not drop a staging table").await?;
        Ok(())
    }
}
