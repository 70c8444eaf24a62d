use std::sync::Arc;

use hub_plugin_api::{ErrorKind, Rejected, Result, Rows};
use pollster::block_on;

use super::{
    super::{
        OnRejected, RunEvent, Side,
        dead_letters::{PARKED, TokenNumber, refused},
        lane_reader::State,
    },
    Lane,
};

/// How many letters are read from the store at once.
const LETTERS_PAGE: u32 = 1000;

/// What becomes of rows that a side refuses.
impl Lane {
    /// What earlier attempts put aside in this generation.
    pub(super) fn restore_letters(&mut self) -> Result<()> {
        let (attempt, mut after) = (&self.attempt, 0);
        loop {
            let page = attempt.store.dead_letters(&attempt.spec.name, after, LETTERS_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = *last;
            for (_, letter) in page.iter().filter(|(_, letter)| letter.generation == attempt.generation) {
                self.letters.restore(letter)?;
            }
        }
    }

    /// Puts changes aside whose row had an earlier one refused, and answers how many.
    pub(super) fn park(&mut self, rows: &mut Rows) -> Result<u64> {
        let parked = self.letters.park(rows, self.next_token_number())?;
        self.count.dead_letters += parked;
        for _ in 0..parked {
            self.attempt.emit(RunEvent::Rejected {
                stream: rows.stream.clone(),
                side: Side::Destination,
                kind: ErrorKind::ConstraintViolated,
                reason: PARKED.into(),
            });
        }
        Ok(parked)
    }

    pub(super) fn take_rejected(&mut self, index: usize, rejected: &Rejected) -> Result<()> {
        self.readers[index].state = State::Open;
        let reason = self.attempt.source.masks.text(&rejected.reason);
        if self.attempt.spec.on_rejected == OnRejected::Stop {
            return Err(refused(ErrorKind::InvalidData, Side::Source, &rejected.stream, None, &reason, 0));
        }
        let rejected = Rejected { reason: reason.clone(), ..rejected.clone() };
        self.letters.refused_by_source(&rejected, self.next_token_number());
        self.count.dead_letters += 1;
        self.needs_commit = true;
        let (stream, kind) = (rejected.stream, ErrorKind::InvalidData);
        self.attempt.emit(RunEvent::Rejected { stream, side: Side::Source, kind, reason });
        Ok(())
    }

    fn next_token_number(&self) -> TokenNumber {
        TokenNumber { lane: self.lane, generation: self.attempt.generation, n: self.token.n + 1 }
    }

    /// Sends what the writer buffers, and makes what it refuses durable in the store.
    pub(super) fn flush(&mut self) -> Result<()> {
        let attempt = Arc::clone(&self.attempt);
        let mut report =
            block_on(self.writer.flush()).map_err(|error| attempt.destination.describe(error))?;
        for rejected in &mut report.rejected {
            rejected.reason = attempt.destination.masks.text(&rejected.reason);
        }
        if let (OnRejected::Stop, Some(first)) = (attempt.spec.on_rejected, report.rejected.first()) {
            let more = report.rejected.len() - 1;
            return Err(refused(
                first.kind,
                Side::Destination,
                &first.stream,
                Some(first.row),
                &first.reason,
                more,
            ));
        }
        self.letters.flushed(&report, self.next_token_number())?;
        for rejected in report.rejected {
            self.count.dead_letters += 1;
            self.count.rows = self.count.rows.saturating_sub(1);
            if let Some(rows) = self.count.streams.get_mut(&rejected.stream) {
                *rows = rows.saturating_sub(1);
            }
            attempt.emit(RunEvent::Rejected {
                stream: rejected.stream,
                side: Side::Destination,
                kind: rejected.kind,
                reason: rejected.reason,
            });
        }
        let letters = self.letters.take();
        if !letters.is_empty() {
            attempt.store.save_dead_letters(&attempt.spec.name, &letters)?;
        }
        Ok(())
    }
}
