use std::ops::Range;

/// Finds what is refused among rows that are taken or refused together: by halves, in the order of the rows.
#[derive(Debug)]
pub struct Halves {
    /// The last is the next.
    open: Vec<Range<usize>>,
}

impl Halves {
    /// Begins with all of `count` rows.
    pub fn of(count: usize) -> Self {
        Self { open: std::iter::once(0..count).filter(|all| !all.is_empty()).collect() }
    }

    /// Begins with the halves of `count` rows that were refused together.
    pub fn of_refused(count: usize) -> Self {
        let mut halves = Self { open: Vec::new() };
        halves.split(0..count);
        halves
    }

    /// The rows that are to be tried next, none of them tried on its own before.
    #[expect(
        clippy::should_implement_trait,
        reason = "the answers given between two calls decide what comes next"
    )]
    pub fn next(&mut self) -> Option<Range<usize>> {
        self.open.pop()
    }

    /// Takes note that these rows were refused, and answers the one at fault when there is only one.
    pub fn refused(&mut self, rows: Range<usize>) -> Option<usize> {
        if rows.len() == 1 {
            return Some(rows.start);
        }
        self.split(rows);
        None
    }

    fn split(&mut self, rows: Range<usize>) {
        let middle = rows.start + rows.len() / 2;
        let halves = [middle..rows.end, rows.start..middle];
        self.open.extend(halves.into_iter().filter(|half| !half.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes rows until none is open: which were taken and which refused, in the order of the answers.
    fn run(mut halves: Halves, bad: &[bool]) -> (Vec<usize>, Vec<usize>) {
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        while let Some(rows) = halves.next() {
            if rows.clone().any(|row| bad[row]) {
                refused.extend(halves.refused(rows));
            } else {
                taken.extend(rows);
            }
        }
        (taken, refused)
    }

    proptest! {
        #[test]
        fn every_row_is_taken_or_refused_once_and_in_order(bad in prop::collection::vec(any::<bool>(), 0..70)) {
            let rows = |wanted: bool| (0..bad.len()).filter(|row| bad[*row] == wanted).collect::<Vec<_>>();
            prop_assert_eq!(run(Halves::of(bad.len()), &bad), (rows(false), rows(true)));
            prop_assert_eq!(run(Halves::of_refused(bad.len()), &bad), (rows(false), rows(true)));
        }
    }
}
