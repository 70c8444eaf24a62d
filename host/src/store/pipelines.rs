use std::collections::BTreeMap;

use hub_plugin_api::{CommitToken, Error, ErrorKind, PlanDescription, Result, SplitProgress, Value};
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Store, database::now};

/// What positions of a pipeline are bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceIdentity {
    /// The connector's id.
    pub connector: String,
    /// The plugin's id.
    pub plugin: String,
    /// The plugin's version.
    pub plugin_version: String,
    /// The strategy's id.
    pub strategy: String,
    /// The server's, in the connector's own words.
    pub identity: String,
}

/// A pipeline that ran before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipelineState {
    /// The pipeline's name.
    pub name: String,
    /// Raised by a reset and by a new snapshot.
    pub generation: u64,
    /// In this generation.
    pub completed_runs: u64,
    /// What the last completed run left for the next.
    pub carry: Option<Value>,
    /// What positions are bound to; absent as long as there are none.
    pub source: Option<SourceIdentity>,
}

/// The plan of a run that did not complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredPlan {
    /// How many writers the run began with.
    pub lanes: u32,
    /// As the connector made it.
    pub description: PlanDescription,
}

/// What the store knows of a lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneState {
    /// The last token that the destination confirmed.
    pub token: CommitToken,
    /// Every split's progress: as in the token, or newer where a source advanced without rows.
    pub splits: BTreeMap<String, SplitProgress>,
}

impl Store {
    /// A pipeline, if it ever ran.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn pipeline(&self, name: &str) -> Result<Option<PipelineState>> {
        let sql = "SELECT name, generation, completed_runs, carry, source FROM pipelines WHERE name = ?1";
        self.read(|db| db.prepare_cached(sql)?.query_row([name], pipeline_state).optional())?.transpose()
    }

    /// Every pipeline that ever ran, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn pipelines(&self) -> Result<Vec<PipelineState>> {
        let sql = "SELECT name, generation, completed_runs, carry, source FROM pipelines ORDER BY name";
        self.read(|db| {
            db.prepare_cached(sql)?.query_map([], pipeline_state)?.collect::<rusqlite::Result<Vec<_>>>()
        })?
        .into_iter()
        .collect()
    }

    /// Stores a pipeline. A newer generation forgets the plans, the lanes, the plugins' blobs and
    /// the signals of the older one.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save_pipeline(&self, state: &PipelineState) -> Result<()> {
        let carry = state.carry.as_ref().map(Value::to_string);
        let source = state.source.as_ref().map(to_json).transpose()?;
        self.write(|db| {
            let known: Option<u64> = db
                .query_row("SELECT generation FROM pipelines WHERE name = ?1", [&state.name], |row| row.get(0))
                .optional()?;
            if known.is_some_and(|known| known != state.generation) {
                for table in ["plans", "lanes", "plugin_state", "signals"] {
                    db.execute(&format!("DELETE FROM {table} WHERE pipeline = ?1"), [&state.name])?;
                }
            }
            db.execute(
                "INSERT INTO pipelines (name, generation, completed_runs, carry, source) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (name) DO UPDATE SET generation = ?2, completed_runs = ?3, carry = ?4, source = ?5",
                params![state.name, state.generation, state.completed_runs, carry, source],
            )?;
            Ok(())
        })
    }

    /// The plan of a run, if it was stored and the run did not complete.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn plan(&self, pipeline: &str, generation: u64, run: u64) -> Result<Option<StoredPlan>> {
        let sql = "SELECT lanes, description FROM plans WHERE pipeline = ?1 AND generation = ?2 AND run = ?3";
        let found: Option<(u32, String)> = self.read(|db| {
            db.prepare_cached(sql)?
                .query_row(params![pipeline, generation, run], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })?;
        found
            .map(|(lanes, text)| Ok(StoredPlan { lanes, description: from_json("plan", &text)? }))
            .transpose()
    }

    /// Stores the plan of a run, before any of its splits is opened.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save_plan(&self, pipeline: &str, generation: u64, run: u64, plan: &StoredPlan) -> Result<()> {
        let description = to_json(&plan.description)?;
        self.write(|db| {
            db.execute(
                "INSERT OR REPLACE INTO plans (pipeline, generation, run, lanes, description)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![pipeline, generation, run, plan.lanes, description],
            )?;
            Ok(())
        })
    }

    /// What is known of every lane of a pipeline.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn lanes(&self, pipeline: &str) -> Result<BTreeMap<u32, LaneState>> {
        let sql = "SELECT lane, token, splits FROM lanes WHERE pipeline = ?1 ORDER BY lane";
        let rows: Vec<(u32, String, String)> = self.read(|db| {
            db.prepare_cached(sql)?
                .query_map([pipeline], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })?;
        let parse = |(lane, token, splits): (u32, String, String)| {
            Ok((
                lane,
                LaneState { token: from_json("token", &token)?, splits: from_json("positions", &splits)? },
            ))
        };
        rows.into_iter().map(parse).collect()
    }

    /// Stores what a lane's destination confirmed, with what its positions are bound to.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn save_lane(
        &self,
        pipeline: &str,
        lane: u32,
        state: &LaneState,
        source: &SourceIdentity,
    ) -> Result<()> {
        let (token, splits) = (to_json(&state.token)?, to_json(&state.splits)?);
        self.write(|db| {
            db.prepare_cached(
                "INSERT OR REPLACE INTO lanes
                 (pipeline, lane, token, splits, plugin, plugin_version, strategy, identity, stored_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                pipeline,
                lane,
                token,
                splits,
                source.plugin,
                source.plugin_version,
                source.strategy,
                source.identity,
                now()
            ])?;
            Ok(())
        })
    }

    /// Marks a run complete: the next one has the next number and continues from `carry`.
    ///
    /// # Errors
    /// When the store cannot be written, or another run was the current one.
    pub fn complete_run(
        &self,
        pipeline: &str,
        generation: u64,
        run: u64,
        carry: Option<&Value>,
    ) -> Result<()> {
        let carry = carry.map(Value::to_string);
        let changed = self.write(|db| {
            db.execute(
                "DELETE FROM plans WHERE pipeline = ?1 AND generation = ?2 AND run = ?3",
                params![pipeline, generation, run],
            )?;
            // Tokens go on counting; positions were of this run's splits.
            db.execute("UPDATE lanes SET splits = '{}' WHERE pipeline = ?1", [pipeline])?;
            db.execute(
                "UPDATE pipelines SET completed_runs = ?3, carry = ?4
                 WHERE name = ?1 AND generation = ?2 AND completed_runs = ?3 - 1",
                params![pipeline, generation, run, carry],
            )
        })?;
        if changed == 1 {
            return Ok(());
        }
        Err(Error::internal(format!(
            "Run {run} of pipeline `{pipeline}` is not the one that the store waits for"
        )))
    }

    /// Forgets a pipeline, but keeps its runs and dead letters.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn forget_pipeline(&self, pipeline: &str) -> Result<()> {
        self.write(|db| {
            for table in ["plans", "lanes", "plugin_state", "signals"] {
                db.execute(&format!("DELETE FROM {table} WHERE pipeline = ?1"), [pipeline])?;
            }
            db.execute("DELETE FROM pipelines WHERE name = ?1", [pipeline])?;
            Ok(())
        })
    }

    /// A plugin's named blob.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn state_get(&self, pipeline: &str, side: &str, name: &str) -> Result<Option<String>> {
        let sql = "SELECT blob FROM plugin_state WHERE pipeline = ?1 AND side = ?2 AND name = ?3";
        self.read(|db| db.prepare_cached(sql)?.query_row([pipeline, side, name], |row| row.get(0)).optional())
    }

    /// Stores a plugin's named blob, or removes it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn state_put(&self, pipeline: &str, side: &str, name: &str, blob: Option<&str>) -> Result<()> {
        self.write(|db| {
            match blob {
                Some(blob) => db.execute(
                    "INSERT OR REPLACE INTO plugin_state (pipeline, side, name, blob) VALUES (?1, ?2, ?3, ?4)",
                    [pipeline, side, name, blob],
                )?,
                None => db.execute(
                    "DELETE FROM plugin_state WHERE pipeline = ?1 AND side = ?2 AND name = ?3",
                    [pipeline, side, name],
                )?,
            };
            Ok(())
        })
    }

    /// The names of a plugin's blobs, sorted.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn state_list(&self, pipeline: &str, side: &str) -> Result<Vec<String>> {
        let sql = "SELECT name FROM plugin_state WHERE pipeline = ?1 AND side = ?2 ORDER BY name";
        self.read(|db| db.prepare_cached(sql)?.query_map([pipeline, side], |row| row.get(0))?.collect())
    }
}

fn pipeline_state(row: &Row<'_>) -> rusqlite::Result<Result<PipelineState>> {
    let (name, generation, completed_runs) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (carry, source): (Option<String>, Option<String>) = (row.get(3)?, row.get(4)?);
    let parse = || {
        Ok(PipelineState {
            name,
            generation,
            completed_runs,
            carry: carry.map(|text| from_json("carry", &text)).transpose()?,
            source: source.map(|text| from_json("source", &text)).transpose()?,
        })
    };
    Ok(parse())
}

pub(super) fn to_json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(value)?)
}

pub(super) fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        Error::new(ErrorKind::InvalidData, format!("The store's {what} cannot be read")).with_source(&error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Paths;

    fn state(generation: u64) -> PipelineState {
        PipelineState { name: "p".into(), generation, completed_runs: 0, carry: None, source: None }
    }

    #[test]
    fn state_is_there_after_opening_again_and_a_new_generation_forgets_it() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::below(home.path());
        let store = Store::open(&paths).unwrap();
        store.save_pipeline(&state(1)).unwrap();
        store.state_put("p", "source", "b", Some("2")).unwrap();
        store.state_put("p", "source", "a", Some("1")).unwrap();
        store.complete_run("p", 1, 1, Some(&serde_json::json!({"to": 9}))).unwrap();
        assert!(store.complete_run("p", 1, 1, None).is_err());
        drop(store);
        let store = Store::open(&paths).unwrap();
        let found = store.pipeline("p").unwrap().unwrap();
        assert_eq!((found.completed_runs, found.carry), (1, Some(serde_json::json!({"to": 9}))));
        assert_eq!(store.state_list("p", "source").unwrap(), ["a", "b"]);
        assert!(store.state_list("p", "destination").unwrap().is_empty());
        store.save_pipeline(&state(2)).unwrap();
        assert!(store.state_list("p", "source").unwrap().is_empty());
    }
}
