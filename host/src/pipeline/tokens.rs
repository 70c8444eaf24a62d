//! What store and destination each remember of a pipeline, and what follows when they differ.

use std::collections::BTreeMap;

use hub_plugin_api::{CommitToken, Error, ErrorKind, Result};

use super::Trust;
use crate::store::LaneState;

/// One lane as both sides remember it.
pub(crate) struct Remembered {
    pub(crate) lane: u32,
    pub(crate) store: Option<LaneState>,
    /// Of whatever generation.
    pub(crate) destination: Option<CommitToken>,
}

/// What a run is about to continue.
#[derive(Clone, Copy)]
pub(crate) struct Situation<'a> {
    pub(crate) pipeline: &'a str,
    pub(crate) generation: u64,
    pub(crate) run: u64,
    /// The store knew the pipeline before this process.
    pub(crate) known: bool,
    pub(crate) trust: Option<Trust>,
}

/// How a run goes on.
#[derive(Debug, PartialEq)]
pub(crate) enum Start {
    /// From these tokens and positions, by lane.
    Continue(Vec<LaneState>),
    /// First the pipeline takes over the generation and the run of the destination's tokens.
    Adopt { generation: u64, run: u64 },
    /// The destination, which is believed, holds nothing: everything is read again.
    Anew,
}

impl Situation<'_> {
    /// Compares what both sides remember. The same number: the store's positions count, because an idle source
    /// advances without a commit. The destination one ahead: a crash came between the two, and its token counts.
    pub(crate) fn compare(&self, lanes: Vec<Remembered>) -> Result<Start> {
        let disagreement = lanes.iter().find(|lane| !self.agrees(lane));
        let Some(lane) = disagreement else {
            return Ok(Start::Continue(lanes.into_iter().map(|lane| self.state(lane, false)).collect()));
        };
        let newest = lanes.iter().filter_map(|lane| lane.destination.as_ref());
        let newest = newest.max_by_key(|token| (token.generation, token.run));
        match (self.trust, newest) {
            (None, _) => Err(self.disagreement(lane)),
            (Some(Trust::Store), _) if !self.known => Err(Error::new(
                ErrorKind::TokenConflict,
                format!(
                    "The store knows nothing of pipeline `{}`, so it cannot be trusted about it",
                    self.pipeline
                ),
            )
            .with_hint("Choose `--trust destination` or `--from-scratch`")),
            (Some(Trust::Store), Some(token)) if token.generation > self.generation => Err(Error::new(
                ErrorKind::TokenConflict,
                format!(
                    "The destination holds generation {} of pipeline `{}`, the store only {}",
                    token.generation, self.pipeline, self.generation
                ),
            )
            .with_hint("Choose `--trust destination` or `--from-scratch`")),
            (Some(Trust::Store), _) => {
                Ok(Start::Continue(lanes.into_iter().map(|lane| self.state(lane, false)).collect()))
            }
            (Some(Trust::Destination), Some(token)) if token.generation >= self.generation => {
                if (token.generation, token.run) != (self.generation, self.run) {
                    return Ok(Start::Adopt { generation: token.generation, run: token.run });
                }
                Ok(Start::Continue(lanes.into_iter().map(|lane| self.state(lane, true)).collect()))
            }
            (Some(Trust::Destination), _) => Ok(Start::Anew),
        }
    }

    fn agrees(&self, lane: &Remembered) -> bool {
        let store = lane.store.as_ref().map_or(0, |state| state.token.n);
        match &lane.destination {
            Some(token) if token.generation > self.generation => false,
            Some(token) if token.generation == self.generation => {
                self.known && (token.n == store || token.n == store + 1)
            }
            _ => store == 0,
        }
    }

    fn state(&self, lane: Remembered, trust_destination: bool) -> LaneState {
        let none = CommitToken {
            pipeline: self.pipeline.to_owned(),
            lane: lane.lane,
            generation: self.generation,
            run: self.run,
            n: 0,
            splits: BTreeMap::new(),
            applied_seq: None,
        };
        let token = lane.destination.filter(|token| token.generation == self.generation).unwrap_or(none);
        let stored = lane.store.filter(|_| !trust_destination);
        let from_store = stored.filter(|state| state.token.n == token.n || self.trust == Some(Trust::Store));
        let splits = match from_store {
            Some(state) => state.splits,
            // A finished run's token says nothing about this one.
            None if token.run == self.run => token.splits.clone(),
            None => BTreeMap::new(),
        };
        LaneState { token, splits }
    }

    fn disagreement(&self, lane: &Remembered) -> Error {
        let show = |token: Option<&CommitToken>| {
            token
                .filter(|token| token.n > 0)
                .map_or_else(|| "none".to_owned(), |token| format!("{}.{}", token.generation, token.n))
        };
        let (store, destination) =
            (show(lane.store.as_ref().map(|state| &state.token)), show(lane.destination.as_ref()));
        Error::new(
            ErrorKind::TokenConflict,
            format!(
                "Store and destination disagree about what pipeline `{}` has committed: the store has token {store}, \
                 the destination {destination} (lane {})",
                self.pipeline, lane.lane
            ),
        )
        .with_hint(
            "Choose `--trust destination` to go on behind the rows that it holds, `--trust store` to go on where the \
             hub was, or `--from-scratch` to read everything again",
        )
    }
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::{Position, SplitProgress};
    use serde_json::json;

    use super::*;

    fn token(generation: u64, run: u64, n: u64) -> CommitToken {
        let progress =
            SplitProgress { position: Some(Position::from(json!({"v": 1, "at": n}))), finished: false };
        let splits = BTreeMap::from([("s".to_owned(), progress)]);
        CommitToken { pipeline: "p".into(), lane: 0, generation, run, n, splits, applied_seq: None }
    }

    fn stored(n: u64, at: u64) -> LaneState {
        let mut splits = token(1, 1, at).splits;
        splits.retain(|_, _| n > 0 || at > 0);
        LaneState { token: token(1, 1, n), splits }
    }

    fn situation(known: bool, trust: Option<Trust>) -> Situation<'static> {
        Situation { pipeline: "p", generation: 1, run: 1, known, trust }
    }

    fn compare(
        situation: Situation<'_>,
        store: Option<LaneState>,
        destination: Option<CommitToken>,
    ) -> Result<Start> {
        situation.compare(vec![Remembered { lane: 0, store, destination }])
    }

    /// The number that the run goes on after, and the position.
    fn went_on(start: Result<Start>) -> (u64, u64) {
        match start.unwrap() {
            Start::Continue(lanes) => {
                let position = lanes[0].splits.get("s").and_then(|split| split.position.as_ref());
                (lanes[0].token.n, position.map_or(0, |position| position.as_value()["at"].as_u64().unwrap()))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn same_number_takes_the_position_of_the_store() {
        assert_eq!(went_on(compare(situation(true, None), Some(stored(5, 7)), Some(token(1, 1, 5)))), (5, 7));
        assert_eq!(went_on(compare(situation(false, None), None, None)), (0, 0));
    }

    #[test]
    fn destination_one_ahead_takes_its_token() {
        assert_eq!(went_on(compare(situation(true, None), Some(stored(5, 5)), Some(token(1, 1, 6)))), (6, 6));
        assert_eq!(went_on(compare(situation(true, None), None, Some(token(1, 1, 1)))), (1, 1));
    }

    #[test]
    fn one_ahead_by_the_end_of_an_older_run_has_no_positions_for_this_one() {
        let now = Situation { run: 2, ..situation(true, None) };
        let cleared = LaneState { token: token(1, 1, 5), splits: BTreeMap::new() };
        assert_eq!(went_on(compare(now, Some(cleared), Some(token(1, 1, 6)))), (6, 0));
    }

    #[test]
    fn older_generation_counts_as_none() {
        let now = Situation { generation: 2, ..situation(true, None) };
        assert_eq!(went_on(compare(now, None, Some(token(1, 1, 9)))), (0, 0));
    }

    #[test]
    fn anything_else_stops_with_the_choices() {
        for (known, store, destination) in [
            (false, None, Some(token(1, 1, 1))),
            (true, Some(stored(5, 5)), Some(token(1, 1, 7))),
            (true, Some(stored(5, 5)), Some(token(1, 1, 4))),
            (true, Some(stored(5, 5)), None),
            (true, Some(stored(5, 5)), Some(token(2, 1, 5))),
        ] {
            let error = compare(situation(known, None), store, destination).unwrap_err();
            assert_eq!(error.kind, ErrorKind::TokenConflict);
            assert!(error.hint.unwrap().contains("--from-scratch"));
        }
    }

    #[test]
    fn user_decides_whom_to_trust() {
        let (destination, store) = (Some(Trust::Destination), Some(Trust::Store));
        assert_eq!(
            went_on(compare(situation(true, destination), Some(stored(5, 5)), Some(token(1, 1, 9)))),
            (9, 9)
        );
        assert_eq!(
            went_on(compare(situation(true, store), Some(stored(5, 5)), Some(token(1, 1, 9)))),
            (9, 5)
        );
        assert_eq!(
            compare(situation(false, destination), None, Some(token(3, 2, 9))).unwrap(),
            Start::Adopt { generation: 3, run: 2 }
        );
        assert_eq!(compare(situation(true, destination), Some(stored(5, 5)), None).unwrap(), Start::Anew);
        assert!(compare(situation(false, store), None, Some(token(1, 1, 1))).is_err());
    }
}
