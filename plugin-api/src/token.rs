use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Position;

/// How far one split is durable at the destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SplitProgress {
    /// Where the split resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The split ended and is not opened again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finished: bool,
}

/// Written beside the rows in one transaction: what the destination holds of a lane.
///
/// Made by the host; a writer stores it as it is, and checks only that `n` follows the last one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommitToken {
    /// The pipeline's id.
    pub pipeline: String,
    /// The lane, from 0.
    pub lane: u32,
    /// Raised by a reset and by a new snapshot.
    pub generation: u64,
    /// The run of the pipeline that made it: 1 for the first.
    pub run: u64,
    /// One more than the last token of the generation: 1 for the first.
    pub n: u64,
    /// Every split's progress, by split id.
    pub splits: BTreeMap<String, SplitProgress>,
    /// For a transaction that is made visible in parts: the last change that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_seq: Option<u64>,
}

impl CommitToken {
    /// The number that the token after `last` must have, in generation `generation`.
    pub fn next_n(last: Option<&CommitToken>, generation: u64) -> u64 {
        last.filter(|token| token.generation == generation).map_or(1, |token| token.n + 1)
    }

    /// Fails unless this token may follow `last`: same generation and the next n, or a newer generation and n 1.
    ///
    /// # Errors
    /// [`crate::ErrorKind::TokenConflict`].
    pub fn check_follows(&self, last: Option<&CommitToken>) -> crate::Result<()> {
        let older = last.is_some_and(|token| token.generation > self.generation);
        let expected = Self::next_n(last, self.generation);
        if !older && self.n == expected {
            return Ok(());
        }
        Err(crate::Error::new(
            crate::ErrorKind::TokenConflict,
            format!(
                "Commit token {}.{} of pipeline `{}` lane {} does not follow {}",
                self.generation,
                self.n,
                self.pipeline,
                self.lane,
                last.map_or_else(|| "none".into(), |token| format!("{}.{}", token.generation, token.n)),
            ),
        ))
    }
}
