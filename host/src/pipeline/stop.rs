use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use hub_plugin_api::{Canceller, Error, ErrorKind, Result};

/// Asks a run to stop, from any thread or a signal handler's thread. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct StopSignal(Arc<Inner>);

#[derive(Default)]
struct Inner {
    requests: AtomicU32,
    cancellers: Mutex<Cancellers>,
}

#[derive(Default)]
struct Cancellers {
    next: u64,
    registered: Vec<(u64, Canceller)>,
}

impl StopSignal {
    /// A signal that nobody has given yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first request drains and commits, the second one cancels.
    pub fn request(&self) {
        if self.0.requests.fetch_add(1, Ordering::SeqCst) > 0 {
            self.cancel();
        }
    }

    /// Cancels without draining: what is not committed is rolled back.
    pub fn cancel(&self) {
        self.0.requests.fetch_max(2, Ordering::SeqCst);
        let cancellers: Vec<_> = {
            let cancellers = self.0.cancellers.lock().unwrap_or_else(PoisonError::into_inner);
            cancellers.registered.iter().map(|(_, canceller)| canceller.clone()).collect()
        };
        cancellers.iter().for_each(Canceller::cancel);
    }

    /// Whether anything was requested.
    pub fn is_requested(&self) -> bool {
        self.0.requests.load(Ordering::SeqCst) > 0
    }

    /// Whether the run is to end without draining.
    pub fn is_cancelled(&self) -> bool {
        self.0.requests.load(Ordering::SeqCst) > 1
    }

    /// Cancels `canceller` too, as long as the answer lives; at once when that was requested already.
    pub(crate) fn register(&self, canceller: Canceller) -> Registration {
        let mut cancellers = self.0.cancellers.lock().unwrap_or_else(PoisonError::into_inner);
        let id = cancellers.next;
        cancellers.next += 1;
        cancellers.registered.push((id, canceller.clone()));
        drop(cancellers);
        if self.is_cancelled() {
            canceller.cancel();
        }
        Registration { signal: self.clone(), id }
    }

    /// Fails when the run is to end without draining.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "The run was cancelled"));
        }
        Ok(())
    }
}

impl fmt::Debug for StopSignal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("StopSignal").field(&self.0.requests).finish()
    }
}

/// Keeps a canceller registered.
pub(crate) struct Registration {
    signal: StopSignal,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut cancellers = self.signal.0.cancellers.lock().unwrap_or_else(PoisonError::into_inner);
        cancellers.registered.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn second_request_cancels_what_is_registered() {
        let (signal, cancelled) = (StopSignal::new(), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&cancelled);
        let registration = signal.register(Canceller::new(move || seen.store(true, Ordering::SeqCst)));
        signal.request();
        assert!(signal.is_requested() && signal.check().is_ok() && !cancelled.load(Ordering::SeqCst));
        signal.request();
        assert!(signal.check().is_err() && cancelled.load(Ordering::SeqCst));
        drop(registration);
        assert!(signal.0.cancellers.lock().unwrap().registered.is_empty());
    }
}
