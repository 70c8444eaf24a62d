use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use hub_plugin_api::{Canceller, Error, ErrorKind, Result};

use super::supervisor::Supervisor;

/// How often a cancel is repeated until the call returns: a plugin may miss one that comes before it blocks.
const REPEAT_CANCEL: Duration = Duration::from_millis(500);

/// A blocking call of a plugin's that runs on a thread of its own.
///
/// Dropped without [`Task::wait`]: the call is cancelled, and nobody looks after it any more.
pub struct Task<T> {
    supervisor: Supervisor,
    what: String,
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    canceller: Canceller,
}

struct State<T> {
    result: Option<Result<T>>,
    finished: bool,
    cancelled_at: Option<Instant>,
    abandoned: bool,
}

impl<T: Send + 'static> Task<T> {
    pub(super) fn start(
        supervisor: Supervisor,
        what: String,
        canceller: Canceller,
        call: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { result: None, finished: false, cancelled_at: None, abandoned: false }),
            changed: Condvar::new(),
            canceller,
        });
        let task = Self { supervisor, what, shared };
        let (shared, supervisor, what) =
            (Arc::clone(&task.shared), task.supervisor.clone(), task.what.clone());
        let spawned = thread::Builder::new().name(thread_name(&what)).spawn(move || {
            let result =
                catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(panicked(&what, &*panic)));
            let mut state = shared.lock();
            state.finished = true;
            if state.abandoned {
                drop(state);
                tracing::warn!(
                    plugin = supervisor.name(),
                    call = what,
                    "A call that was given up has returned"
                );
                drop_quietly(result);
                return;
            }
            state.result = Some(result);
            drop(state);
            shared.changed.notify_all();
        });
        if let Err(error) = spawned {
            let mut state = task.shared.lock();
            state.finished = true;
            state.result = Some(Err(Error::new(
                ErrorKind::ResourceExhausted,
                format!("No thread could be started to {}", task.what),
            )
            .with_source(&error)));
        }
        task
    }

    /// Whether the call has returned.
    pub fn is_finished(&self) -> bool {
        self.shared.lock().finished
    }

    /// Cancels the call; the time until it is given up begins now. Never blocks, also when the plugin does.
    pub fn cancel(&self) {
        self.shared.cancel();
    }

    /// Cancels the call from any thread, as [`Task::cancel`] does; outlives the task.
    pub fn canceller(&self) -> Canceller {
        let shared = Arc::downgrade(&self.shared);
        Canceller::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.cancel();
            }
        })
    }

    /// Waits for the call, cancels it after `timeout`, and gives it up when the grace is over too.
    ///
    /// # Errors
    /// As [`Supervisor::call`].
    pub fn wait(self, timeout: Option<Duration>) -> Result<T> {
        let started = Instant::now();
        let mut timed_out = false;
        let mut state = self.shared.lock();
        loop {
            if let Some(result) = state.result.take() {
                return match result {
                    Err(error) if timed_out && error.kind == ErrorKind::Cancelled => {
                        Err(self.timed_out(timeout))
                    }
                    result => result,
                };
            }
            let until = match (state.cancelled_at, timeout) {
                (Some(at), _) => {
                    let left = self.supervisor.grace().checked_sub(at.elapsed());
                    let Some(left) = left.filter(|left| !left.is_zero()) else {
                        state.abandoned = true;
                        drop(state);
                        self.supervisor.count_abandoned(&self.what);
                        return Err(self.hung());
                    };
                    Some(left.min(REPEAT_CANCEL))
                }
                (None, Some(timeout)) => match timeout.checked_sub(started.elapsed()) {
                    Some(left) if !left.is_zero() => Some(left),
                    _ => {
                        timed_out = true;
                        drop(state);
                        self.cancel();
                        state = self.shared.lock();
                        continue;
                    }
                },
                (None, None) => None,
            };
            let cancelled = state.cancelled_at.is_some();
            state = match until {
                Some(until) => {
                    let (state, waited) = self
                        .shared
                        .changed
                        .wait_timeout(state, until)
                        .unwrap_or_else(PoisonError::into_inner);
                    if cancelled && waited.timed_out() {
                        drop(state);
                        self.shared.call_canceller();
                        self.shared.lock()
                    } else {
                        state
                    }
                }
                None => self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn timed_out(&self, timeout: Option<Duration>) -> Error {
        let seconds = timeout.unwrap_or_default().as_secs_f64();
        Error::new(
            ErrorKind::TimedOut,
            format!("Plugin `{}` did not {} within {seconds} s", self.supervisor.name(), self.what),
        )
    }

    fn hung(&self) -> Error {
        Error::new(
            ErrorKind::PluginHung,
            format!(
                "Plugin `{}` did not return from `{}` within {} s after it was cancelled",
                self.supervisor.name(),
                self.what,
                self.supervisor.grace().as_secs_f64()
            ),
        )
        .with_hint(
            "The call was given up; its thread and its server session stay until the hub is started again",
        )
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        let state = self.shared.lock();
        if !state.finished && !state.abandoned {
            drop(state);
            self.shared.call_canceller();
        }
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cancel(&self) {
        let mut state = self.lock();
        if state.finished || state.cancelled_at.is_some() {
            return;
        }
        state.cancelled_at = Some(Instant::now());
        drop(state);
        self.changed.notify_all();
        self.call_canceller();
    }

    /// On a thread of its own: the plugin's cancel may block too.
    fn call_canceller(&self) {
        let canceller = self.canceller.clone();
        let cancel = move || drop(catch_unwind(AssertUnwindSafe(|| canceller.cancel())));
        if let Err(error) = thread::Builder::new().name("hub-cancel".into()).spawn(cancel) {
            tracing::error!(%error, "No thread could be started to cancel a call");
        }
    }
}

fn drop_quietly<T>(value: T) {
    drop(catch_unwind(AssertUnwindSafe(|| drop(value))));
}

fn panicked(what: &str, panic: &(dyn Any + Send)) -> Error {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let error = Error::new(ErrorKind::PluginPanicked, format!("A panic ended `{what}`"));
    match text {
        Some(text) => Error { source: Some(text.to_owned()), ..error },
        None => error,
    }
}

/// Linux keeps 15 bytes of a thread's name.
fn thread_name(what: &str) -> String {
    let name: String = what.chars().filter(|letter| *letter != '\0').collect();
    format!("hub {name}")
}
