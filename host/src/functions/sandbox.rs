//! The one engine that compiles and runs guests, and the clock that interrupts them.
//!
//! # Signals
//! A guest's access outside its memory is found by the processor, not by a comparison in front of each access. So the
//! engine, which is made when the first module is used, has the process handle `SIGSEGV`, `SIGILL` and `SIGFPE`
//! (on macOS the exception ports of the same faults): a fault inside a guest ends that guest's call, and any other goes
//! to the handler that was there before, or to the system's. A process that sets handlers of its own for these afterwards
//! must call the one that it replaces.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread,
};

use hub_plugin_api::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Runtime};
use wasmtime::{
    Cache, CacheConfig, Config, Engine, Store, UpdateDeadline,
    component::{Component, Linker},
};
use wasmtime_wasi::WasiView;

use super::{
    interrupt::{Interrupt, TICK},
    module::Module,
    shell::HasShell,
};

/// The deepest stack of a guest, in bytes.
const STACK_BYTES: usize = 1 << 20;

/// What a guest's stack lies in, with room for the hub's own calls.
const FIBER_BYTES: usize = 4 << 20;

/// Bytes of the hub's that the values of a batch may take for each byte that the batch may have.
const LIFTED_BYTES: usize = 4;

/// Compiles and runs guests. Cheap to clone; nothing is made before the first one. Compiled code is kept on disk, by
/// content and version of the engine.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    cache: PathBuf,
    machine: OnceLock<Result<Machine>>,
}

/// The engine and what its guests wait on.
pub(crate) struct Machine {
    engine: Engine,
    runtime: Runtime,
}

impl Sandbox {
    /// A sandbox whose compiled code lies in `wasm/` below `cache`.
    pub fn new(cache: &Path) -> Self {
        Self(Arc::new(Inner { cache: cache.join("wasm"), machine: OnceLock::new() }))
    }

    /// The engine, made when it is first needed.
    pub(crate) fn machine(&self) -> Result<&Machine> {
        self.0.machine.get_or_init(|| Machine::new(&self.0.cache)).as_ref().map_err(Clone::clone)
    }
}

impl Machine {
    fn new(cache: &Path) -> Result<Self> {
        let failed = |error: wasmtime::Error| {
            Error::internal("The engine for WebAssembly could not be made").with_source(error.as_ref())
        };
        let unusable = |error: &(dyn std::error::Error + 'static)| {
            Error::new(ErrorKind::ResourceExhausted, "No folder could be made for compiled WebAssembly")
                .with_source(error)
                .with_context("folder", cache.display())
        };
        create_private(cache).map_err(|error| unusable(&error))?;
        let folder = cache.canonicalize().map_err(|error| unusable(&error))?;
        let mut on_disk = CacheConfig::new();
        on_disk.with_directory(folder);
        let mut config = Config::new();
        config.wasm_component_model(true).epoch_interruption(true);
        config.max_wasm_stack(STACK_BYTES).async_stack_size(FIBER_BYTES);
        // Its text is of no use without the guest's symbols, and names variables that nobody asked for.
        config.wasm_backtrace_max_frames(None);
        config.cache(Some(Cache::new(on_disk).map_err(failed)?));
        let engine = Engine::new(&config).map_err(failed)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("hub sandbox")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::internal("No thread for WebAssembly could be started").with_source(&error)
            })?;
        let weak = engine.weak();
        thread::Builder::new()
            .name("hub sandbox clock".into())
            .spawn(move || {
                while let Some(engine) = weak.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    thread::sleep(TICK);
                }
            })
            .map_err(|error| {
                Error::internal("No clock for WebAssembly could be started").with_source(&error)
            })?;
        Ok(Self { engine, runtime })
    }

    /// What guests wait on.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// A linker with WASI 0.2 and nothing else.
    pub(crate) fn linker<T: HasShell + WasiView>(&self) -> wasmtime::Result<Linker<T>> {
        let mut linker = Linker::new(&self.engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        Ok(linker)
    }

    /// Compiles a module, or takes its compiled code from disk.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] when it is not valid.
    pub(crate) fn compile(&self, module: &Module) -> Result<Component> {
        Component::new(&self.engine, module.component()).map_err(|error| {
            Error::config("module", format!("The module `{}` is not valid WebAssembly", module.name))
                .with_source(error.as_ref())
        })
    }

    /// A store in which a guest runs within its limits.
    pub(crate) fn store<T: HasShell>(&self, guest: T) -> Store<T> {
        let limits = guest.shell().limits;
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.shell_mut().memory);
        // What a guest hands over may point to the same bytes many times: this bounds what is made of it.
        store.set_hostcall_fuel(limits.batch_bytes.saturating_mul(LIFTED_BYTES).saturating_add(1 << 20));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context| {
            let shell = context.data_mut().shell_mut();
            shell.clock.tick();
            let is_over = shell.clock.guest_time() > shell.limits.call_time || shell.interrupt.is_cancelled();
            Ok(if is_over { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
        });
        store
    }

    /// Waits for a guest, unless it is cancelled: then it is dropped wherever it is.
    pub(crate) fn run<T>(
        &self,
        interrupt: &Interrupt,
        guest: impl Future<Output = wasmtime::Result<T>>,
    ) -> wasmtime::Result<T> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = interrupt.cancelled() => Err(wasmtime::Error::msg("cancelled")),
                result = guest => result,
            }
        })
    }
}

/// Nobody else may put code where this host runs it.
fn create_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&folder.metadata()?.permissions()) & 0o002 != 0 {
        return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, "everyone can write there"));
    }
    Ok(())
}
