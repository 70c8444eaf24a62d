//! The one runtime of this library: made when it is first needed, never dropped.

use std::{
    future::Future,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::runtime::{Builder, EnterGuard, Runtime};

/// The most worker threads that a host may ask for.
const MAX_WORKERS: usize = 4;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static WORKERS: AtomicUsize = AtomicUsize::new(1);

/// How many workers the runtime gets; without effect once it is made.
pub(super) fn set_workers(workers: usize) {
    WORKERS.store(workers.clamp(1, MAX_WORKERS), Ordering::Relaxed);
}

fn runtime() -> &'static Runtime {
    RUNTIME.get_or_init(|| {
        let workers = WORKERS.load(Ordering::Relaxed);
        let built = Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("hub-plugin")
            .enable_all()
            .build();
        match built {
            Ok(runtime) => runtime,
            // Caught by the entry point that needed it, which answers with the text.
            Err(error) => std::panic::panic_any(format!("no threads for the plugin's runtime: {error}")),
        }
    })
}

/// Runs a future to its end on the calling thread.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// Makes the runtime the current one of this thread, if there is one yet.
pub(super) fn enter() -> Option<EnterGuard<'static>> {
    RUNTIME.get().map(Runtime::enter)
}
