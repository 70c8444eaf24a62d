use super::random::Random;

/// Something that goes wrong from outside.
pub struct Fault<'a> {
    /// What, in words.
    pub name: &'static str,
    /// How many times.
    pub times: u32,
    /// Makes it happen.
    pub strike: Box<dyn FnMut() + 'a>,
}

impl<'a> Fault<'a> {
    /// A fault that happens so many times.
    pub fn new(name: &'static str, times: u32, strike: impl FnMut() + 'a) -> Self {
        Self { name, times, strike: Box::new(strike) }
    }
}

/// When which fault strikes, as shares of the workload.
pub struct Faults {
    /// In order: thousandths of the workload, and the fault's place.
    pub moments: Vec<(u64, usize)>,
}

impl Faults {
    /// Spreads faults over a workload, each at moments of its own.
    pub fn spread(faults: &[Fault<'_>], random: &mut Random) -> Self {
        let mut moments = Vec::new();
        for (index, fault) in faults.iter().enumerate() {
            for turn in 0..u64::from(fault.times) {
                // One in each part of the workload, somewhere in it.
                let width = 960 / u64::from(fault.times);
                moments.push((20 + turn * width + random.below(width.max(1)), index));
            }
        }
        moments.sort_unstable();
        Self { moments }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_strikes_as_often_as_it_should_within_the_workload() {
        let faults = [Fault::new("a", 3, || {}), Fault::new("b", 20, || {})];
        let moments = Faults::spread(&faults, &mut Random::new(7)).moments;
        assert_eq!(moments.iter().filter(|(_, index)| *index == 1).count(), 20);
        assert_eq!(moments.len(), 23);
        assert!(moments.is_sorted() && moments.iter().all(|(at, _)| (20..1000).contains(at)));
    }
}
