//! Nothing unwinds across the boundary, and a cancelled call returns.

use std::{
    any::Any,
    cell::RefCell,
    future::Future,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, Once, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
};

use hub_plugin_abi::{
    Answer,
    reexport::{RResult, RString},
};
use tokio::sync::Notify;

use super::runtime;
use crate::{Context, Error, ErrorKind, Level, Result};

thread_local! {
    /// Where this thread panicked last, for the error that the panic becomes.
    static PANICKED_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The context that a panic on a thread of nobody's is logged to: the one of the last connection made.
static LAST_CONTEXT: Mutex<Option<Context>> = Mutex::new(None);

/// Remembers where a panic of this library is logged to.
pub(super) fn log_panics_to(context: &Context) {
    *LAST_CONTEXT.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.clone());
}

/// Sends this library's panics to the host's log instead of stderr. A shared library has a hook of its own, so the
/// host's stays as it is; never called where connectors are linked into somebody's program.
pub(super) fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let message = format!("Panicked at {place}: {}", text_of(info.payload()));
            PANICKED_AT.with(|at| *at.borrow_mut() = Some(place));
            let context = LAST_CONTEXT.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(context) = context {
                context.log(Level::Error, "panic", message);
            }
        }));
    });
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

/// Runs code of an author's; a panic becomes an error.
pub(super) fn caught<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        let place = PANICKED_AT.with(|at| at.borrow_mut().take());
        let mut error =
            Error::new(ErrorKind::PluginPanicked, format!("The plugin panicked: {}", text_of(&*payload)))
                .with_hint("This is a defect of the plugin; only the work that it was doing is lost");
        if let Some(place) = place {
            error = error.with_context("at", place);
        }
        Err(error)
    })
}

/// Runs code of an author's and answers as the interface does.
pub(super) fn answered<T>(run: impl FnOnce() -> Result<T>) -> Answer<T> {
    match caught(run) {
        Ok(value) => RResult::ROk(value),
        Err(error) => RResult::RErr(RString::from(error.to_json())),
    }
}

/// Holds a value of an author's, whose drop may panic and may need the runtime.
pub(super) struct Kept<T>(ManuallyDrop<T>);

impl<T> Kept<T> {
    pub(super) fn new(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }
}

impl<T> std::ops::Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> std::ops::DerefMut for Kept<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        let dropped = caught(|| {
            let _inside = runtime::enter();
            // SAFETY: the value is not used again: this is the drop of its only holder.
            unsafe { ManuallyDrop::drop(&mut self.0) };
            Ok(())
        });
        if let Err(error) = dropped {
            let context = LAST_CONTEXT.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(context) = context {
                context.log(Level::Error, "drop", error.to_string());
            }
        }
    }
}

/// Whether an object was cancelled, and who waits to hear it.
#[derive(Default)]
pub(super) struct Cancelled {
    flag: AtomicBool,
    notify: Notify,
}

impl Cancelled {
    pub(super) fn set(&self) {
        self.flag.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    async fn wait(&self) {
        loop {
            // Made before the flag is read, so that a `set` in between wakes it.
            let notified = self.notify.notified();
            if self.flag.load(Ordering::SeqCst) {
                return;
            }
            notified.await;
        }
    }

    /// Runs a future of an author's on the library's runtime until it is done or the object is cancelled.
    pub(super) fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        runtime::block_on(async {
            tokio::select! {
                biased;
                () = self.wait() => Err(Error::new(ErrorKind::Cancelled, "The call was cancelled")),
                result = future => result,
            }
        })
    }
}

/// An object whose calls come one after another, and which accepts nothing after a failed one.
pub(super) struct Serial<T> {
    inner: Mutex<Kept<T>>,
    failed: AtomicBool,
}

impl<T> Serial<T> {
    pub(super) fn new(value: T) -> Self {
        Self { inner: Mutex::new(Kept::new(value)), failed: AtomicBool::new(false) }
    }

    pub(super) fn call<R>(&self, run: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(Error::new(
                ErrorKind::Poisoned,
                "A call failed before; the object can only be dropped",
            ));
        }
        let mut inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(ErrorKind::Protocol, "Two calls on one object at the same time"));
            }
        };
        let result = caught(|| run(&mut inner));
        if let Err(error) = &result
            && error.kind != ErrorKind::Unsupported
        {
            self.failed.store(true, Ordering::SeqCst);
        }
        result
    }
}
