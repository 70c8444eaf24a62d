use hub_plugin_api::{Error, ErrorKind, Guarantee, Result};
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::{Store, database::now};

/// A run as the store remembers it. Times are microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its number.
    pub id: i64,
    /// The pipeline's name.
    pub pipeline: String,
    /// The generation.
    pub generation: u64,
    /// The run within the generation.
    pub run: u64,
    /// When it started.
    pub started_at: i64,
    /// When it ended, or was found to have; absent while it runs.
    pub ended_at: Option<i64>,
    /// `completed`, `stopped`, `failed`, or `interrupted` when its process died.
    pub outcome: Option<String>,
    /// Rows that became durable.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows that were refused and kept.
    pub dead_letters: u64,
    /// What was really promised.
    pub guarantee: Option<String>,
    /// Why.
    pub reasons: Option<String>,
    /// What failed, as JSON.
    pub error: Option<String>,
}

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct RunEnd {
    /// `completed`, `stopped` or `failed`.
    pub outcome: String,
    /// Rows that became durable.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows that were refused and kept.
    pub dead_letters: u64,
    /// What failed.
    pub error: Option<Error>,
}

/// A row that one side refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The lane.
    pub lane: u32,
    /// The generation of the token that the row would have been of.
    pub generation: u64,
    /// The number of that token.
    pub n: u64,
    /// Counts the rows refused before that token, from 0.
    pub ordinal: u64,
    /// The stream, as a person reads it.
    pub stream: String,
    /// `source` or `destination`.
    pub side: String,
    /// Why, as a kind.
    pub kind: String,
    /// Why, in one sentence.
    pub reason: String,
    /// The row as a JSON object of texts, or as the source sent it.
    pub payload: String,
    /// The row itself as an Arrow IPC stream; absent when the source could not decode it.
    #[serde(skip)]
    pub arrow_ipc: Option<Vec<u8>>,
}

impl Store {
    /// Notes that a run began, and that one whose process died is over.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn begin_run(&self, pipeline: &str, generation: u64, run: u64) -> Result<i64> {
        self.write(|db| {
            // Whoever holds the pipeline's lock knows that no other run goes on.
            db.execute(
                "UPDATE runs SET ended_at = ?2, outcome = 'interrupted' WHERE pipeline = ?1 AND ended_at IS NULL",
                params![pipeline, now()],
            )?;
            db.execute(
                "INSERT INTO runs (pipeline, generation, run, started_at) VALUES (?1, ?2, ?3, ?4)",
                params![pipeline, generation, run, now()],
            )?;
            Ok(db.last_insert_rowid())
        })
    }

    /// Notes which generation and run a run turned out to be of, and what it promises.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn describe_run(
        &self,
        id: i64,
        generation: u64,
        run: u64,
        guarantee: Guarantee,
        reasons: &[String],
    ) -> Result<()> {
        let (guarantee, reasons) = (guarantee.to_string(), reasons.join("; "));
        self.write(|db| {
            db.execute(
                "UPDATE runs SET generation = ?2, run = ?3, guarantee = ?4, reasons = ?5 WHERE id = ?1",
                params![id, generation, run, guarantee, reasons],
            )?;
            Ok(())
        })
    }

    /// Notes how a run ended.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn end_run(&self, id: i64, end: &RunEnd) -> Result<()> {
        let error = end.error.as_ref().map(Error::to_json);
        self.write(|db| {
            db.execute(
                "UPDATE runs SET ended_at = ?2, outcome = ?3, rows = ?4, bytes = ?5, dead_letters = ?6, error = ?7
                 WHERE id = ?1",
                params![id, now(), end.outcome, end.rows, end.bytes, end.dead_letters, error],
            )?;
            Ok(())
        })
    }

    /// The last runs of a pipeline, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn runs(&self, pipeline: &str, limit: u32) -> Result<Vec<RunRecord>> {
        let sql =
            "SELECT id, pipeline, generation, run, started_at, ended_at, outcome, rows, bytes, dead_letters,
                          guarantee, reasons, error
                   FROM runs WHERE pipeline = ?1 ORDER BY id DESC LIMIT ?2";
        self.read(|db| {
            db.prepare_cached(sql)?
                .query_map(params![pipeline, limit], |row| {
                    Ok(RunRecord {
                        id: row.get(0)?,
                        pipeline: row.get(1)?,
                        generation: row.get(2)?,
                        run: row.get(3)?,
                        started_at: row.get(4)?,
                        ended_at: row.get(5)?,
                        outcome: row.get(6)?,
                        rows: row.get(7)?,
                        bytes: row.get(8)?,
                        dead_letters: row.get(9)?,
                        guarantee: row.get(10)?,
                        reasons: row.get(11)?,
                        error: row.get(12)?,
                    })
                })?
                .collect()
        })
    }

    /// Keeps refused rows, durable before the token that they would have been of. The same row of the same token
    /// replaces what a failed attempt left.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save_dead_letters(&self, pipeline: &str, letters: &[DeadLetter]) -> Result<()> {
        self.write(|db| {
            let mut insert = db.prepare_cached(
                "INSERT OR REPLACE INTO dead_letters
                 (pipeline, lane, generation, n, ordinal, stream, side, kind, reason, payload, arrow_ipc, stored_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?;
            for letter in letters {
                insert.execute(params![
                    pipeline,
                    letter.lane,
                    letter.generation,
                    letter.n,
                    letter.ordinal,
                    letter.stream,
                    letter.side,
                    letter.kind,
                    letter.reason,
                    letter.payload,
                    letter.arrow_ipc,
                    now()
                ])?;
            }
            Ok(())
        })
    }

    /// Drops the rows of tokens after `n`, which never became durable: their rows will come again.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn drop_dead_letters_after(&self, pipeline: &str, lane: u32, generation: u64, n: u64) -> Result<()> {
        self.write(|db| {
            db.execute(
                "DELETE FROM dead_letters WHERE pipeline = ?1 AND lane = ?2 AND generation = ?3 AND n > ?4",
                params![pipeline, lane, generation, n],
            )?;
            Ok(())
        })
    }

    /// How many refused rows a pipeline has.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn count_dead_letters(&self, pipeline: &str) -> Result<u64> {
        let sql = "SELECT count(*) FROM dead_letters WHERE pipeline = ?1";
        self.read(|db| db.query_row(sql, [pipeline], |row| row.get(0)))
    }

    /// Refused rows of a pipeline in the order in which they were kept, and each one's number for the next page.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn dead_letters(&self, pipeline: &str, after: i64, limit: u32) -> Result<Vec<(i64, DeadLetter)>> {
        let sql = "SELECT id, lane, generation, n, ordinal, stream, side, kind, reason, payload, arrow_ipc
                   FROM dead_letters WHERE pipeline = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
        self.read(|db| {
            db.prepare_cached(sql)?
                .query_map(params![pipeline, after, limit], |row| {
                    let letter = DeadLetter {
                        lane: row.get(1)?,
                        generation: row.get(2)?,
                        n: row.get(3)?,
                        ordinal: row.get(4)?,
                        stream: row.get(5)?,
                        side: row.get(6)?,
                        kind: row.get(7)?,
                        reason: row.get(8)?,
                        payload: row.get(9)?,
                        arrow_ipc: row.get(10)?,
                    };
                    Ok((row.get(0)?, letter))
                })?
                .collect()
        })
    }

    /// The last run of a pipeline.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it never ran.
    pub fn last_run(&self, pipeline: &str) -> Result<RunRecord> {
        let missing = || Error::new(ErrorKind::NotFound, format!("Pipeline `{pipeline}` never ran"));
        self.runs(pipeline, 1)?.pop().ok_or_else(missing)
    }
}
