use hub_plugin_api::{Result, Signal};
use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use super::{
    Store,
    database::now,
    pipelines::{from_json, to_json},
};

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalState {
    /// No run of the pipeline has taken it yet.
    Waiting,
    /// It is part of a durable position: the run fulfils it, or the one that follows.
    Taken,
    /// The source refused it.
    Refused,
}

impl SignalState {
    /// As it is written in the store and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Taken => "taken",
            Self::Refused => "refused",
        }
    }
}

/// A wish of the user's for a running pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalRecord {
    /// Its number in the store.
    pub id: i64,
    /// What is wished.
    pub signal: Signal,
    /// When, in microseconds since 1970 UTC.
    pub given_at: i64,
    /// What became of it.
    pub state: SignalState,
    /// Why it was refused.
    pub reason: Option<String>,
}

impl Store {
    /// Keeps a signal for the run of a pipeline that goes on, or else for its next one.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn add_signal(&self, pipeline: &str, signal: &Signal) -> Result<i64> {
        let text = to_json(signal)?;
        self.write(|db| {
            db.execute(
                "INSERT INTO signals (pipeline, signal, given_at, state) VALUES (?1, ?2, ?3, ?4)",
                params![pipeline, text, now(), SignalState::Waiting.as_str()],
            )?;
            Ok(db.last_insert_rowid())
        })
    }

    /// The signals of a pipeline that are in a state, or in any, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn signals(&self, pipeline: &str, state: Option<SignalState>) -> Result<Vec<SignalRecord>> {
        let sql = "SELECT id, signal, given_at, state, reason FROM signals
             WHERE pipeline = ?1 AND (?2 IS NULL OR state = ?2) ORDER BY id";
        let state = state.map(SignalState::as_str);
        self.read(|db| {
            db.prepare_cached(sql)?
                .query_map(params![pipeline, state], record)?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?
        .into_iter()
        .collect()
    }

    /// Notes what became of a signal; `reason` says why it was refused.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn end_signal(&self, id: i64, state: SignalState, reason: Option<&str>) -> Result<()> {
        self.write(|db| {
            db.execute(
                "UPDATE signals SET state = ?2, reason = ?3, ended_at = ?4 WHERE id = ?1",
                params![id, state.as_str(), reason, now()],
            )?;
            Ok(())
        })
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<Result<SignalRecord>> {
    let (id, signal, given_at): (_, String, _) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (state, reason): (String, _) = (row.get(3)?, row.get(4)?);
    let state = match state.as_str() {
        "taken" => SignalState::Taken,
        "refused" => SignalState::Refused,
        _ => SignalState::Waiting,
    };
    Ok(from_json("signal", &signal).map(|signal| SignalRecord { id, signal, given_at, state, reason }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Paths, PipelineState};

    #[test]
    fn signal_waits_until_it_is_ended_and_a_new_generation_forgets_it() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&Paths::below(home.path())).unwrap();
        let state = |generation| PipelineState {
            name: "p".into(),
            generation,
            completed_runs: 0,
            carry: None,
            source: None,
        };
        store.save_pipeline(&state(1)).unwrap();
        let first = store.add_signal("p", &Signal::snapshot(&["a".into()])).unwrap();
        let second = store.add_signal("p", &Signal::snapshot(&["b".into()])).unwrap();
        store.add_signal("q", &Signal::snapshot(&["c".into()])).unwrap();
        store.end_signal(first, SignalState::Refused, Some("no such table")).unwrap();
        let waiting = store.signals("p", Some(SignalState::Waiting)).unwrap();
        assert_eq!(waiting.iter().map(|record| record.id).collect::<Vec<_>>(), [second]);
        assert_eq!(waiting[0].signal.arguments["tables"][0], "b");
        let all = store.signals("p", None).unwrap();
        assert_eq!((all[0].state, all[0].reason.as_deref()), (SignalState::Refused, Some("no such table")));
        store.save_pipeline(&state(2)).unwrap();
        assert!(store.signals("p", None).unwrap().is_empty());
        assert_eq!(store.signals("q", None).unwrap().len(), 1);
    }
}
