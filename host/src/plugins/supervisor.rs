use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use hub_plugin_api::{Canceller, Error, ErrorKind, Result};

use super::task::Task;

/// How long a call may go on after it was cancelled.
const GRACE: Duration = Duration::from_secs(10);

/// How many calls of one plugin may be given up before it gets no new connections.
const MOST_ABANDONED: u32 = 8;

/// Runs the blocking calls of one plugin on threads of their own, and counts those that never came back. Cheap to
/// clone; all clones count together.
#[derive(Clone)]
pub struct Supervisor(Arc<Plugin>);

struct Plugin {
    name: String,
    grace: Duration,
    abandoned: AtomicU32,
}

impl Supervisor {
    /// Supervises the plugin that messages call `name`. A cancelled call is given up after 10 seconds.
    pub fn new(name: impl Into<String>) -> Self {
        Self::with_grace(name, GRACE)
    }

    /// Supervises the plugin that messages call `name`. A cancelled call is given up after `grace`.
    pub fn with_grace(name: impl Into<String>, grace: Duration) -> Self {
        Self(Arc::new(Plugin { name: name.into(), grace, abandoned: AtomicU32::new(0) }))
    }

    /// The plugin's name in messages.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How many calls were given up so far.
    pub fn abandoned(&self) -> u32 {
        self.0.abandoned.load(Ordering::Relaxed)
    }

    /// Fails when too many calls were given up: asked before every new connection.
    ///
    /// # Errors
    /// [`ErrorKind::PluginHung`].
    pub fn admit(&self) -> Result<()> {
        let abandoned = self.abandoned();
        if abandoned < MOST_ABANDONED {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::PluginHung,
            format!(
                "Plugin `{}` gets no new connections: {abandoned} of its calls never returned after they were cancelled",
                self.name()
            ),
        )
        .with_hint("Start the hub again to release their threads, and report the hang to the plugin's author"))
    }

    /// Runs `call` on a thread of its own and goes on at once. `what` names the call in messages and the thread's
    /// name (`read orders`); `canceller` is the one of the object that is called.
    pub fn spawn<T: Send + 'static>(
        &self,
        what: impl Into<String>,
        canceller: Canceller,
        call: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Task<T> {
        Task::start(self.clone(), what.into(), canceller, call)
    }

    /// Runs `call` on a thread of its own and waits. After `timeout` it is cancelled; what has not returned when the
    /// grace is over too is given up.
    ///
    /// # Errors
    /// The call's own; [`ErrorKind::TimedOut`] when it was cancelled for its time; [`ErrorKind::PluginHung`] when it
    /// was given up; [`ErrorKind::PluginPanicked`] when it panicked on this side of the boundary.
    pub fn call<T: Send + 'static>(
        &self,
        what: impl Into<String>,
        canceller: Canceller,
        timeout: Option<Duration>,
        call: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.spawn(what, canceller, call).wait(timeout)
    }

    /// Drops an object of the plugin's, whose drop may hang as well. Waits for it as long as for a cancelled call.
    ///
    /// # Errors
    /// [`ErrorKind::PluginHung`] when it was given up; [`ErrorKind::PluginPanicked`].
    pub fn dispose<T: Send + 'static>(&self, what: impl Into<String>, object: T) -> Result<()> {
        let task = self.spawn(what, Canceller::none(), move || {
            drop(object);
            Ok(())
        });
        task.cancel();
        task.wait(None)
    }

    pub(super) fn grace(&self) -> Duration {
        self.0.grace
    }

    pub(super) fn count_abandoned(&self, what: &str) {
        let count = self.0.abandoned.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::error!(
            plugin = self.name(),
            call = what,
            abandoned = count,
            "A call did not return after it was cancelled and was given up with its thread"
        );
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Supervisor")
            .field("plugin", &self.0.name)
            .field("abandoned", &self.abandoned())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Mutex,
            mpsc::{self, Receiver},
        },
        thread,
        time::Instant,
    };

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    /// A call that blocks until its canceller is used, and answers as a plugin does.
    fn cancellable() -> (Canceller, impl FnOnce() -> Result<u32>) {
        let (sender, receiver) = mpsc::channel::<()>();
        let canceller = Canceller::new(move || {
            let _ = sender.send(());
        });
        let call = move || {
            let _ = receiver.recv();
            Err(Error::new(ErrorKind::Cancelled, "Cancelled"))
        };
        (canceller, call)
    }

    fn wait_forever(receiver: Receiver<()>) -> impl FnOnce() -> Result<u32> {
        let receiver = Mutex::new(receiver);
        move || {
            let _ = receiver.into_inner().map(|receiver| receiver.recv());
            Ok(0)
        }
    }

    #[test]
    fn answer_comes_back() {
        let supervisor = Supervisor::new("p");
        assert_eq!(supervisor.call("answer", Canceller::none(), None, || Ok(42)).unwrap(), 42);
        let error = supervisor
            .call("answer", Canceller::none(), Some(SHORT), || Err::<(), _>(Error::unsupported("It")))
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
    }

    #[test]
    fn panic_on_this_side_becomes_an_error() {
        let supervisor = Supervisor::new("p");
        let call = || -> Result<()> { panic!("of the call") };
        let error = supervisor.call("connect", Canceller::none(), None, call).unwrap_err();
        assert_eq!(error.kind, ErrorKind::PluginPanicked);
        assert_eq!(error.to_string(), "A panic ended `connect`: of the call");
    }

    #[test]
    fn call_is_cancelled_when_its_time_is_over() {
        let (canceller, call) = cancellable();
        let error = Supervisor::new("p").call("connect", canceller, Some(SHORT), call).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TimedOut);
        assert_eq!(error.message, "Plugin `p` did not connect within 0.05 s");
    }

    #[test]
    fn another_thread_cancels() {
        let (canceller, call) = cancellable();
        let supervisor = Supervisor::new("p");
        let task = supervisor.spawn("read", canceller, call);
        let cancel = task.canceller();
        thread::spawn(move || {
            thread::sleep(SHORT);
            cancel.cancel();
        });
        assert_eq!(task.wait(None).unwrap_err().kind, ErrorKind::Cancelled);
        assert_eq!(supervisor.abandoned(), 0);
    }

    #[test]
    fn hanging_calls_are_given_up_and_then_the_plugin_is_refused() {
        let supervisor = Supervisor::with_grace("p", SHORT);
        let mut senders = Vec::new();
        for count in 1..=MOST_ABANDONED {
            supervisor.admit().unwrap();
            let (sender, receiver) = mpsc::channel();
            senders.push(sender);
            let started = Instant::now();
            let error = supervisor
                .call("read", Canceller::none(), Some(Duration::ZERO), wait_forever(receiver))
                .unwrap_err();
            assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
            assert_eq!(error.kind, ErrorKind::PluginHung);
            assert_eq!(
                error.message,
                "Plugin `p` did not return from `read` within 0.05 s after it was cancelled"
            );
            assert_eq!(supervisor.abandoned(), count);
        }
        let error = supervisor.admit().unwrap_err();
        assert_eq!(
            error.message,
            "Plugin `p` gets no new connections: 8 of its calls never returned after they were cancelled"
        );
    }

    #[test]
    fn canceller_that_blocks_holds_nobody() {
        let supervisor = Supervisor::with_grace("p", SHORT);
        let (_sender, receiver) = mpsc::channel();
        let (_blocked, blocker) = mpsc::channel::<()>();
        let blocker = Mutex::new(blocker);
        let canceller = Canceller::new(move || {
            let _ = blocker.lock().map(|blocker| blocker.recv());
        });
        let error =
            supervisor.call("read", canceller, Some(Duration::ZERO), wait_forever(receiver)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::PluginHung);
    }

    #[test]
    fn drop_that_hangs_is_given_up() {
        struct HangsOnDrop(Receiver<()>);
        impl Drop for HangsOnDrop {
            fn drop(&mut self) {
                let _ = self.0.recv();
            }
        }
        let (_sender, receiver) = mpsc::channel();
        let supervisor = Supervisor::with_grace("p", SHORT);
        let error = supervisor.dispose("drop a reader", HangsOnDrop(receiver)).unwrap_err();
        assert_eq!((error.kind, supervisor.abandoned()), (ErrorKind::PluginHung, 1));
        supervisor.dispose("drop a number", 1).unwrap();
    }
}
