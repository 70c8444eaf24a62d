//! Keys that are missing between others. A key is drawn before its row is committed, so a missing one may belong to a
//! transaction that is late; most belong to one that was rolled back and never come.

use serde::{Deserialize, Serialize};

/// The most ranges that are kept: a position must stay small.
pub const MAX_GAPS: usize = 1_000;

/// Missing keys, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first.
    pub from: i64,
    /// The last.
    pub to: i64,
    /// When it was found, in milliseconds since 1970.
    pub since: u64,
}

/// Missing keys in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Gaps(Vec<Gap>);

impl Gaps {
    /// Whether no key is missing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges.
    pub fn ranges(&self) -> Vec<(i64, i64)> {
        self.0.iter().map(|gap| (gap.from, gap.to)).collect()
    }

    /// Takes note that between two keys that follow each other some are missing; returns a range that is given up for
    /// it, when there are too many.
    pub fn note(&mut self, before: i64, key: i64, increment: i64, now: u64) -> Option<Gap> {
        if key <= before || key.checked_sub(before).is_some_and(|step| step <= increment) {
            return None;
        }
        // Both ends are keys that exist, so there is a key between them.
        self.0.push(Gap { from: before + 1, to: key - 1, since: now });
        (self.0.len() > MAX_GAPS).then(|| self.0.remove(0))
    }

    /// Takes note that a missing key has come.
    pub fn fill(&mut self, key: i64) {
        let Some(at) = self.0.iter().position(|gap| gap.from <= key && key <= gap.to) else { return };
        let gap = self.0.remove(at);
        let parts = [
            (gap.from < key).then(|| Gap { to: key - 1, ..gap }),
            (gap.to > key).then(|| Gap { from: key + 1, ..gap }),
        ];
        for part in parts.into_iter().flatten().rev() {
            self.0.insert(at, part);
        }
    }

    /// Gives up the keys that have been missing since `then` or longer.
    pub fn give_up(&mut self, then: u64) -> Vec<Gap> {
        let (old, young) = self.0.iter().partition(|gap| gap.since <= then);
        self.0 = young;
        old
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_of_the_sequence_are_no_gaps() {
        let mut gaps = Gaps::default();
        assert_eq!(gaps.note(1, 2, 1, 0), None);
        gaps.note(2, 12, 10, 0);
        assert!(gaps.is_empty());
        gaps.note(12, 15, 1, 7);
        gaps.note(i64::MIN, i64::MAX, 1, 8);
        assert_eq!(gaps.ranges(), [(13, 14), (i64::MIN + 1, i64::MAX - 1)]);
        assert_eq!(gaps.give_up(7).len(), 1);
        assert_eq!(gaps.ranges().len(), 1);
    }

    #[test]
    fn too_many_gaps_push_the_oldest_out() {
        let mut gaps = Gaps::default();
        let given_up: Vec<_> =
            (0..1_002).filter_map(|index| gaps.note(index * 2, index * 2 + 2, 1, 0)).collect();
        assert_eq!(given_up.iter().map(|gap| gap.from).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(gaps.ranges().len(), MAX_GAPS);
    }

    proptest! {
        #[test]
        fn gaps_hold_exactly_the_keys_that_have_not_come(
            present in prop::collection::btree_set(0i64..60, 2..30),
            late in prop::collection::vec(0i64..60, 0..40),
        ) {
            let mut gaps = Gaps::default();
            let keys: Vec<i64> = present.iter().copied().collect();
            for pair in keys.windows(2) {
                gaps.note(pair[0], pair[1], 1, 0);
            }
            late.iter().for_each(|key| gaps.fill(*key));
            let missing: Vec<i64> = gaps.ranges().iter().flat_map(|(from, to)| *from..=*to).collect();
            let expected: Vec<i64> =
                (keys[0]..=keys[keys.len() - 1]).filter(|key| !present.contains(key) && !late.contains(key)).collect();
            prop_assert_eq!(missing, expected);
        }
    }
}
