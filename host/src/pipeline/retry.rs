use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use super::RetrySpec;

/// Counts failures in a row and says how long to wait after each.
pub(crate) struct Retry {
    spec: RetrySpec,
    failures: u32,
    commits: u64,
}

impl Retry {
    pub(crate) fn new(spec: RetrySpec) -> Self {
        Self { spec, failures: 0, commits: 0 }
    }

    /// After one more failure: how many there are in a row, and how long to wait; `None` when it is enough.
    /// A commit since the last failure starts the count again.
    pub(crate) fn after_failure(&mut self, commits: u64) -> Option<(u32, Duration)> {
        if commits > self.commits {
            (self.failures, self.commits) = (0, commits);
        }
        self.failures += 1;
        if self.failures > self.spec.attempts {
            return None;
        }
        let factor = 1_u64.checked_shl(self.failures - 1).unwrap_or(u64::MAX);
        let longest = self.spec.first_delay_ms.saturating_mul(factor).min(self.spec.max_delay_ms);
        // Half of it by chance, so that pipelines which failed together do not come back together.
        let chance = RandomState::new().build_hasher().finish() % (longest / 2 + 1);
        Some((self.failures, Duration::from_millis(longest - chance)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_doubles_up_to_the_longest_and_a_commit_starts_again() {
        let mut retry = Retry::new(RetrySpec { attempts: 4, first_delay_ms: 100, max_delay_ms: 300 });
        for (commits, failures, longest) in [(0, 1, 100), (0, 2, 200), (0, 3, 300), (0, 4, 300), (7, 1, 100)]
        {
            let (count, delay) = retry.after_failure(commits).unwrap();
            assert_eq!(count, failures);
            let delay = u64::try_from(delay.as_millis()).unwrap();
            assert!((longest / 2..=longest).contains(&delay), "{delay} of {longest}");
        }
    }

    #[test]
    fn enough_failures_in_a_row_are_enough() {
        let mut retry = Retry::new(RetrySpec { attempts: 1, first_delay_ms: 1, max_delay_ms: 1 });
        assert!(retry.after_failure(0).is_some());
        assert!(retry.after_failure(0).is_none());
        let mut never = Retry::new(RetrySpec { attempts: 0, first_delay_ms: 1, max_delay_ms: 1 });
        assert!(never.after_failure(0).is_none());
    }
}
