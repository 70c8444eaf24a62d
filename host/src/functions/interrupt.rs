//! What stops a guest: the user's wish wherever it is, and its own time when it computes.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hub_plugin_api::Canceller;
use tokio::sync::Notify;

/// How often a running guest is asked whether it may go on.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Cancels a guest wherever it is: in its own code, in a wait, or in a statement.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<State>);

#[derive(Default)]
struct State {
    cancelled: AtomicBool,
    notify: Notify,
    /// What the guest waits for inside the hub.
    waiting: Mutex<Option<Canceller>>,
}

impl Interrupt {
    pub(crate) fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        self.0.notify.notify_waiters();
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waiting) = waiting {
            waiting.cancel();
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Waits until it is cancelled.
    pub(crate) async fn cancelled(&self) {
        loop {
            let notified = self.0.notify.notified();
            if self.is_cancelled() {
                return;
            }
            notified.await;
        }
    }

    /// Runs what the guest waits for, which `canceller` cuts short.
    pub(crate) fn during<T>(&self, canceller: Canceller, work: impl FnOnce() -> T) -> T {
        let set = |canceller| *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner) = canceller;
        set(Some(canceller));
        let result = work();
        set(None);
        result
    }

    /// What cancels it.
    pub(crate) fn canceller(&self) -> Canceller {
        let interrupt = self.clone();
        Canceller::new(move || interrupt.cancel())
    }
}

/// How long a guest has computed in the call under way.
pub(crate) struct Clock {
    began: Instant,
    in_host: Duration,
    ticks: u32,
    /// Set by whoever has not the clock itself: the next tick is the first of a new call.
    restart: Arc<AtomicBool>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), in_host: Duration::ZERO, ticks: 0, restart: Arc::default() }
    }

    /// What begins a new call from outside: a program that prints rows is one long call, of which each batch is a part.
    pub(crate) fn restarter(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.restart)
    }

    /// A new call begins.
    pub(crate) fn start(&mut self) {
        (self.began, self.in_host, self.ticks) = (Instant::now(), Duration::ZERO, 0);
    }

    /// The guest was found computing.
    pub(crate) fn tick(&mut self) {
        if self.restart.swap(false, Ordering::Relaxed) {
            self.start();
        }
        self.ticks = self.ticks.saturating_add(1);
    }

    /// Leaves out time that the hub needed.
    pub(crate) fn leave_out(&mut self, time: Duration) {
        self.in_host += time;
    }

    /// Time in which the guest itself computed. A guest that sleeps is not found computing; one that calls the hub
    /// all the time is, but the time inside is left out.
    pub(crate) fn guest_time(&self) -> Duration {
        self.began.elapsed().saturating_sub(self.in_host).min(TICK * self.ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_waiting_nor_time_inside_the_hub_is_the_guests() {
        let mut clock = Clock::new();
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(clock.guest_time(), Duration::ZERO, "it slept");
        (0..3).for_each(|_| clock.tick());
        assert!(clock.guest_time() > Duration::from_millis(20));
        clock.leave_out(Duration::from_secs(1));
        assert_eq!(clock.guest_time(), Duration::ZERO);
        (clock.in_host, clock.ticks) = (Duration::ZERO, 100);
        clock.restarter().store(true, Ordering::Relaxed);
        clock.tick();
        assert!(clock.guest_time() <= TICK, "a new call began");
    }

    #[test]
    fn cancelling_reaches_what_the_guest_waits_for() {
        let (interrupt, reached) = (Interrupt::default(), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&reached);
        interrupt.during(Canceller::new(move || seen.store(true, Ordering::SeqCst)), || interrupt.cancel());
        assert!(reached.load(Ordering::SeqCst) && interrupt.is_cancelled());
        pollster::block_on(interrupt.cancelled());
    }
}
