//! How far a run is: a bar on a terminal, a line every few seconds elsewhere.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use connector_hub::pipeline::{RunEvent, SplitSummary};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    logging,
    output::note,
    text::{bytes, duration, number, per_second},
};

const LINE_EVERY: Duration = Duration::from_secs(5);
/// Rates are those of this time, so that a slow beginning does not stick.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// Shows how far a run is.
pub struct Progress {
    bar: Option<ProgressBar>,
    last_line: Instant,
    /// Rows that the source expects in all, when it says so of every split.
    expected_rows: Option<u64>,
    samples: VecDeque<Sample>,
}

struct Sample {
    at: Duration,
    rows: u64,
    bytes: u64,
}

impl Progress {
    /// A bar on a terminal, lines elsewhere.
    pub fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
            bar.set_style(style("{spinner} {msg}"));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        logging::set_bar(bar.clone());
        Self { bar, last_line: Instant::now(), expected_rows: None, samples: VecDeque::new() }
    }

    /// Takes what the run tells.
    pub fn event(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Plan { splits, .. } => self.plan(splits),
            RunEvent::Progress { rows, bytes, committed_rows, elapsed_ms, .. } => {
                let at = Duration::from_millis(*elapsed_ms);
                self.samples.push_back(Sample { at, rows: *rows, bytes: *bytes });
                while self.samples.len() > 2 && at.saturating_sub(self.samples[0].at) > RATE_WINDOW {
                    self.samples.pop_front();
                }
                self.show(*rows, *bytes, *committed_rows, at);
            }
            _ => {}
        }
    }

    /// Removes the bar.
    pub fn finish(&mut self) {
        logging::set_bar(None);
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn plan(&mut self, splits: &[SplitSummary]) {
        // A split that resumes reads fewer rows than its estimate, so there is no telling how many are left.
        let fresh = splits.iter().all(|split| split.bounded && split.position.is_none());
        let estimates = splits.iter().filter(|split| !split.finished).map(|split| split.estimated_rows);
        self.expected_rows = fresh.then(|| estimates.sum::<Option<u64>>()).flatten().filter(|rows| *rows > 0);
        if let (Some(bar), Some(rows)) = (&self.bar, self.expected_rows) {
            bar.set_length(rows);
            bar.set_style(style("{spinner} {bar:24} {percent:>3}% {msg}").progress_chars("━━╌"));
        }
    }

    fn show(&mut self, rows: u64, total_bytes: u64, committed_rows: u64, at: Duration) {
        let (row_rate, byte_rate) = self.rates();
        let mut text =
            format!("{} rows · {} rows/s · {}/s", number(rows), number(row_rate), bytes(byte_rate));
        if let Some(left) = self.expected_rows.and_then(|expected| expected.checked_sub(rows))
            && row_rate > 0
        {
            text.push_str(&format!(" · about {} left", duration(Duration::from_secs(left / row_rate))));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(rows.min(self.expected_rows.unwrap_or(rows)));
            bar.set_message(text);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            note(format!(
                "{}: {text} · {} committed · {} in all",
                duration(at),
                number(committed_rows),
                bytes(total_bytes)
            ));
        }
    }

    /// Rows and bytes a second, lately.
    fn rates(&self) -> (u64, u64) {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else { return (0, 0) };
        // A single sample counts from the beginning of the run.
        let zero = Sample { at: Duration::ZERO, rows: 0, bytes: 0 };
        let first = if self.samples.len() == 1 { &zero } else { first };
        let time = last.at.saturating_sub(first.at);
        (
            per_second(last.rows.saturating_sub(first.rows), time),
            per_second(last.bytes.saturating_sub(first.bytes), time),
        )
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_that_of_the_last_seconds() {
        let mut progress =
            Progress { bar: None, last_line: Instant::now(), expected_rows: None, samples: VecDeque::new() };
        for (seconds, rows) in [(1, 0), (10, 0), (12, 400), (14, 800)] {
            let splits = Vec::new();
            progress.event(&RunEvent::Progress {
                rows,
                bytes: rows * 10,
                committed_rows: 0,
                splits,
                elapsed_ms: seconds * 1000,
            });
        }
        assert_eq!(progress.rates(), (200, 2000));
    }

    #[test]
    fn expected_rows_are_known_only_when_every_split_says_so() {
        let split = |estimated_rows, finished| SplitSummary {
            id: String::new(),
            streams: Vec::new(),
            bounded: true,
            estimated_rows,
            finished,
            position: None,
        };
        let mut progress =
            Progress { bar: None, last_line: Instant::now(), expected_rows: None, samples: VecDeque::new() };
        progress.plan(&[split(Some(5), false), split(Some(7), false), split(Some(9), true)]);
        assert_eq!(progress.expected_rows, Some(12));
        progress.plan(&[split(Some(5), false), split(None, false)]);
        assert_eq!(progress.expected_rows, None);
    }
}
