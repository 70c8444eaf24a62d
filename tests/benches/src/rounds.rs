use std::time::{Duration, Instant};

use crate::Outcome;

/// How often ours and the reference are compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    rounds: usize,
    /// No round begins after this.
    limit: Duration,
}

/// A machine's mood changes from minute to minute, so few rounds say little about a few per cent.
const ROUNDS_FOR_HIGH_AIMS: usize = 11;
const ROUNDS: usize = 7;
const LEAST_ROUNDS: usize = 5;

impl Plan {
    /// At least 11 rounds for aims above 0.9, at least 5 otherwise; at most five minutes.
    pub(crate) fn for_aim(aim: f64) -> Self {
        let rounds = if aim > 0.9 { ROUNDS_FOR_HIGH_AIMS } else { ROUNDS };
        Self { rounds, limit: Duration::from_secs(270) }
    }
}

/// What one run of ours took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours {
    pub elapsed: Duration,
    pub rows: u64,
    pub peak_mib: f64,
}

/// What all rounds say together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Result {
    /// Median of the rounds' ratios.
    pub ratio: f64,
    /// Their 10th and 90th percentile.
    pub spread: [f64; 2],
    /// Ours, in the median round.
    pub rows_per_s: f64,
    /// The highest of ours.
    pub peak_mib: f64,
}

/// Runs ours and the reference in turns, each round the other one first, after one round that does not count.
pub(crate) fn compare(
    plan: Plan,
    mut ours: impl FnMut() -> Outcome<Ours>,
    mut reference: impl FnMut() -> Outcome<Duration>,
) -> Outcome<Result> {
    let started = Instant::now();
    let (mut ratios, mut speeds, mut peak_mib) = (Vec::new(), Vec::new(), 0_f64);
    for round in 0..=plan.rounds {
        if started.elapsed() > plan.limit {
            break;
        }
        let (one, other) = if round % 2 == 0 {
            let one = ours()?;
            (one, reference()?)
        } else {
            let other = reference()?;
            (ours()?, other)
        };
        let ratio = other.as_secs_f64() / one.elapsed.as_secs_f64();
        let speed = one.rows as f64 / one.elapsed.as_secs_f64();
        let label = if round == 0 { "warm-up".to_owned() } else { format!("round {round}") };
        println!(
            "{label}: ours {:.3} s ({speed:.0} rows/s, {:.1} MiB), reference {:.3} s, ratio {ratio:.3}",
            one.elapsed.as_secs_f64(),
            one.peak_mib,
            other.as_secs_f64(),
        );
        peak_mib = peak_mib.max(one.peak_mib);
        if round > 0 {
            ratios.push(ratio);
            speeds.push(speed);
        }
    }
    if ratios.len() < plan.rounds.min(LEAST_ROUNDS) {
        return Err(format!("Only {} rounds fit into {} s", ratios.len(), plan.limit.as_secs()).into());
    }
    Ok(Result {
        ratio: percentile(&mut ratios, 0.5),
        spread: [percentile(&mut ratios, 0.1), percentile(&mut ratios, 0.9)],
        rows_per_s: percentile(&mut speeds, 0.5),
        peak_mib,
    })
}

/// Between the two nearest values, by distance.
fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = part * (values.len() - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    values[low] + (values[high] - values[low]) * (place - place.floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_between_their_neighbours() {
        let mut values = [3.0, 1.0, 2.0, 4.0];
        assert_eq!(percentile(&mut values, 0.5), 2.5);
        assert_eq!(percentile(&mut values, 0.0), 1.0);
        assert_eq!(percentile(&mut values, 1.0), 4.0);
    }

    #[test]
    fn the_warm_up_does_not_count() {
        let mut seconds = [100, 2, 2, 2, 2, 2, 2, 2].into_iter();
        let plan = Plan::for_aim(0.8);
        let ours = || {
            let elapsed = Duration::from_secs(seconds.next().unwrap());
            Ok(Ours { elapsed, rows: 10, peak_mib: 1.0 })
        };
        let result = compare(plan, ours, || Ok(Duration::from_secs(1))).unwrap();
        assert_eq!((result.ratio, result.spread, result.rows_per_s), (0.5, [0.5, 0.5], 5.0));
    }
}
