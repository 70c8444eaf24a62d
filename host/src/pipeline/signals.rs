use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hub_plugin_api::{Error, Result, Signal, Split};

use super::{RunEvent, lane::Attempt};
use crate::store::{SignalState, Store};

/// The user's wishes on their way from the store to the readers of streams, and back when they are durable.
///
/// What is here is lost with the attempt: the store has a wish until every stream's committed position holds it, so the
/// next attempt gives it again.
pub(crate) struct Signals {
    /// The ids of unbounded splits.
    streams: BTreeSet<String>,
    waiting: Mutex<BTreeMap<i64, Waiting>>,
}

struct Waiting {
    signal: Signal,
    /// Splits whose readers were not given it yet.
    to_give: BTreeSet<String>,
    /// Splits whose committed position does not hold it yet.
    to_hold: BTreeSet<String>,
}

impl Signals {
    /// For a plan's splits.
    pub(crate) fn new(splits: &[Split]) -> Self {
        let streams = splits.iter().filter(|split| !split.bounded).map(|split| split.id.clone()).collect();
        Self { streams, waiting: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a split's reader is to be given now.
    pub(crate) fn take(&self, split: &str) -> Vec<(i64, Signal)> {
        let mut waiting = self.lock();
        let wanted = waiting.iter_mut().filter(|(_, waiting)| waiting.to_give.contains(split));
        wanted
            .map(|(id, waiting)| {
                waiting.to_give.remove(split);
                (*id, waiting.signal.clone())
            })
            .collect()
    }

    fn look(&self, store: &Store, pipeline: &str) -> Result<()> {
        let records = store.signals(pipeline, Some(SignalState::Waiting))?;
        let mut waiting = self.lock();
        for record in records {
            waiting.entry(record.id).or_insert_with(|| Waiting {
                signal: record.signal,
                to_give: self.streams.clone(),
                to_hold: self.streams.clone(),
            });
        }
        Ok(())
    }

    /// A split's committed position holds it; returns it when all do.
    fn confirm(&self, id: i64, split: &str) -> Option<Signal> {
        let mut waiting = self.lock();
        let one = waiting.get_mut(&id)?;
        one.to_hold.remove(split);
        if !one.to_hold.is_empty() {
            return None;
        }
        waiting.remove(&id).map(|one| one.signal)
    }
}

impl Attempt {
    /// Looks for signals that were given since the last look.
    pub(crate) fn look_for_signals(&self) -> Result<()> {
        self.signals.look(&self.store, &self.spec.name)?;
        if !self.signals.streams.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = self.signals.lock().keys().copied().collect();
        let error = Error::unsupported("A signal to a pipeline that reads no stream");
        ids.into_iter().try_for_each(|id| self.refuse_signal(id, &error))
    }

    /// The position of a split that holds a signal is durable.
    pub(crate) fn confirm_signal(&self, id: i64, split: &str) -> Result<()> {
        let Some(signal) = self.signals.confirm(id, split) else { return Ok(()) };
        self.store.end_signal(id, SignalState::Taken, None)?;
        self.emit(RunEvent::Signal { id, signal, refused: None });
        Ok(())
    }

    /// A reader refused a signal.
    pub(crate) fn refuse_signal(&self, id: i64, error: &Error) -> Result<()> {
        let removed = self.signals.lock().remove(&id);
        let Some(Waiting { signal, .. }) = removed else { return Ok(()) };
        self.store.end_signal(id, SignalState::Refused, Some(&error.to_string()))?;
        self.emit(RunEvent::Signal { id, signal, refused: Some(error.clone()) });
        Ok(())
    }
}
