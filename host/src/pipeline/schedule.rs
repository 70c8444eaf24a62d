use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hub_plugin_api::{Split, SplitProgress};

use super::channel::Doorbell;

/// A split to read, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) split: Split,
    pub(crate) progress: SplitProgress,
    /// The lane that its progress is kept in; absent: any.
    pub(crate) lane: Option<u32>,
}

/// Which splits are still to be read, shared by all lanes.
pub(crate) struct Schedule {
    state: Mutex<State>,
    doorbells: Vec<Doorbell>,
}

struct State {
    waiting: VecDeque<Job>,
    /// Ended and committed.
    finished: BTreeSet<String>,
    /// Bounded splits that are being read, by lane.
    bounded_active: Vec<u32>,
    active: u32,
    parallel: u32,
}

impl Schedule {
    /// Splits that `progress` says are finished are not read again. `lanes_of` says where progress is kept.
    pub(crate) fn new(
        splits: &[Split],
        progress: &BTreeMap<String, (u32, SplitProgress)>,
        parallel: u32,
        doorbells: Vec<Doorbell>,
    ) -> Self {
        let (mut waiting, mut finished) = (VecDeque::new(), BTreeSet::new());
        for split in splits {
            match progress.get(&split.id) {
                Some((_, progress)) if progress.finished => {
                    finished.insert(split.id.clone());
                }
                Some((lane, progress)) => {
                    waiting.push_back(Job {
                        split: split.clone(),
                        progress: progress.clone(),
                        lane: Some(*lane),
                    });
                }
                None => {
                    // A change stream has one lane, always the same.
                    let lane = (!split.bounded).then_some(0);
                    waiting.push_back(Job { split: split.clone(), progress: SplitProgress::default(), lane });
                }
            }
        }
        let (parallel, bounded_active) = (parallel.max(1), vec![0; doorbells.len()]);
        Self {
            state: Mutex::new(State { waiting, finished, bounded_active, active: 0, parallel }),
            doorbells,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next split that a lane may read now; none when it has its share of the parallel ones. Change streams do
    /// not count.
    pub(crate) fn take(&self, lane: u32) -> Option<Job> {
        let mut state = self.lock();
        let (own, all) = (state.bounded_active[lane as usize], state.bounded_active.iter().sum::<u32>());
        let share = state.parallel.div_ceil(state.bounded_active.len() as u32);
        let is_ready = |job: &Job| {
            job.lane.is_none_or(|pinned| pinned == lane)
                && job.split.after.iter().all(|id| state.finished.contains(id))
                && (!job.split.bounded || (all < state.parallel && own < share))
        };
        let index = state.waiting.iter().position(is_ready)?;
        let job = state.waiting.remove(index)?;
        state.active += 1;
        state.bounded_active[lane as usize] += u32::from(job.split.bounded);
        Some(job)
    }

    /// A split ended, is committed, and its reader may be dropped.
    pub(crate) fn finish(&self, lane: u32, split: &Split) {
        let mut state = self.lock();
        state.active -= 1;
        state.bounded_active[lane as usize] -= u32::from(split.bounded);
        state.finished.insert(split.id.clone());
        drop(state);
        self.doorbells.iter().for_each(Doorbell::ring);
    }

    /// Whether every split of every lane is finished.
    pub(crate) fn is_complete(&self) -> bool {
        let state = self.lock();
        state.waiting.is_empty() && state.active == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::split;

    fn ids(schedule: &Schedule, lane: u32) -> Vec<String> {
        std::iter::from_fn(|| schedule.take(lane)).map(|job| job.split.id).collect()
    }

    fn doorbells(lanes: usize) -> Vec<Doorbell> {
        std::iter::repeat_with(Doorbell::default).take(lanes).collect()
    }

    #[test]
    fn lanes_share_what_is_parallel() {
        let splits: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|id| split(id, true, &[])).collect();
        let schedule = Schedule::new(&splits, &BTreeMap::new(), 3, doorbells(2));
        assert_eq!(ids(&schedule, 0), ["a", "b"]);
        assert_eq!(ids(&schedule, 1), ["c"]);
        schedule.finish(0, &splits[0]);
        assert_eq!(ids(&schedule, 1), ["d"]);
    }

    #[test]
    fn stream_waits_for_its_snapshot_in_every_lane() {
        let splits = [split("stream", false, &["a", "b"]), split("a", true, &[]), split("b", true, &[])];
        let schedule = Schedule::new(&splits, &BTreeMap::new(), 1, doorbells(2));
        assert_eq!(ids(&schedule, 1), ["a"]);
        assert!(ids(&schedule, 0).is_empty());
        schedule.finish(1, &splits[1]);
        assert_eq!(ids(&schedule, 0), ["b"]);
        schedule.finish(0, &splits[2]);
        assert!(ids(&schedule, 1).is_empty(), "a change stream is read in lane 0");
        assert_eq!(ids(&schedule, 0), ["stream"]);
        assert!(!schedule.is_complete());
    }

    #[test]
    fn split_with_progress_stays_in_its_lane_and_a_finished_one_is_not_read() {
        let splits = [split("a", true, &[]), split("b", true, &[])];
        let done = SplitProgress { position: None, finished: true };
        let progress = BTreeMap::from([("a".into(), (0, done)), ("b".into(), (1, SplitProgress::default()))]);
        let schedule = Schedule::new(&splits, &progress, 4, doorbells(2));
        assert!(ids(&schedule, 0).is_empty());
        assert_eq!(ids(&schedule, 1), ["b"]);
        schedule.finish(1, &splits[1]);
        assert!(schedule.is_complete());
    }
}
