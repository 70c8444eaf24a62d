//! What every guest has while it runs: its memory, its clock, WASI without anything to reach, its log.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use hub_plugin_api::{Context, Level};
use wasmtime::{ResourceLimiter, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView};

use super::{
    interrupt::{Clock, Interrupt},
    limits::Limits,
    pipe::Complaints,
};

/// What the log calls a guest.
const TARGET: &str = "function";

/// Bytes that an entry of a guest's table takes at the most.
const TABLE_ENTRY_BYTES: usize = 16;

/// Things of the hub's that a guest may hold at the same time: cursors, streams, sockets.
const MAX_HANDLES: usize = 1_000;

/// What a guest of either world has.
pub(crate) struct Shell {
    pub(crate) limits: Limits,
    pub(crate) memory: Memory,
    pub(crate) clock: Clock,
    pub(crate) interrupt: Interrupt,
    pub(crate) table: ResourceTable,
    pub(crate) complaints: Complaints,
    pub(crate) budget: LogBudget,
    pub(crate) denied: Denied,
    wasi: WasiCtx,
}

impl Shell {
    /// A shell without files, environment and network; `furnish` may add to its WASI.
    pub(crate) fn new(
        limits: Limits,
        context: &Context,
        furnish: impl FnOnce(&mut WasiCtxBuilder, &Denied),
    ) -> Self {
        let budget = LogBudget::new(limits.log_bytes);
        let complaints = Complaints::new(context.clone(), budget.clone());
        let denied = Denied::default();
        let mut wasi = WasiCtxBuilder::new();
        wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        wasi.stderr(complaints.clone()).max_random_size(1 << 16);
        furnish(&mut wasi, &denied);
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        let memory = Memory { limit: limits.memory_bytes, used: 0, refused: false };
        let (clock, interrupt) = (Clock::new(), Interrupt::default());
        Self { limits, memory, clock, interrupt, table, complaints, budget, denied, wasi: wasi.build() }
    }

    pub(crate) fn wasi(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// The guest of a store.
pub(crate) trait HasShell: Send + 'static {
    fn shell(&self) -> &Shell;
    fn shell_mut(&mut self) -> &mut Shell;

    /// Runs what the guest waits for without counting the time. What it runs may wait on a runtime of its own.
    fn outside<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T
    where
        Self: Sized,
    {
        let began = Instant::now();
        let result = tokio::task::block_in_place(|| run(self));
        self.shell_mut().clock.leave_out(began.elapsed());
        result
    }
}

/// The memories and tables of a guest, counted together.
pub(crate) struct Memory {
    limit: usize,
    used: usize,
    pub(crate) refused: bool,
}

impl Memory {
    fn grow(&mut self, current: usize, desired: usize, unit: usize) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current).saturating_mul(unit);
        if more > self.limit.saturating_sub(self.used) {
            self.refused = true;
            return Err(wasmtime::Error::msg("more memory than the guest may have"));
        }
        self.used += more;
        Ok(true)
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(current, desired, 1)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(current, desired, TABLE_ENTRY_BYTES)
    }
}

/// Bytes that a guest may still log.
#[derive(Clone)]
pub(crate) struct LogBudget {
    limit: usize,
    logged: Arc<AtomicUsize>,
}

impl LogBudget {
    fn new(limit: usize) -> Self {
        Self { limit, logged: Arc::default() }
    }

    /// Hands a line over, or says once that the rest is dropped.
    pub(crate) fn log(&self, context: &Context, level: Level, message: String) {
        let before = self.logged.fetch_add(message.len().min(self.limit + 1), Ordering::Relaxed);
        if before.saturating_add(message.len()) <= self.limit {
            context.log(level, TARGET, message);
        } else if before <= self.limit {
            let message = format!("The module logged more than {} bytes: the rest is dropped", self.limit);
            context.log(Level::Warn, TARGET, message);
            self.logged.fetch_max(self.limit + 1, Ordering::Relaxed);
        }
    }
}

/// What a guest asked for and did not get, for the hint of the error that may follow.
#[derive(Clone, Default)]
pub(crate) struct Denied(Arc<Mutex<DeniedState>>);

#[derive(Default)]
struct DeniedState {
    /// What the module itself asked for.
    asked: Vec<String>,
    /// What may also have been the run-time of its language, which looks around before it prints or begins.
    looked_for: Vec<&'static str>,
}

/// The most that is noted.
const MAX_DENIED: usize = 8;

impl Denied {
    /// Notes what was asked for and what would grant it.
    pub(crate) fn note(&self, what: impl Into<String>) {
        let (what, mut state) = (what.into(), self.state());
        if state.asked.len() < MAX_DENIED && !state.asked.contains(&what) {
            state.asked.push(what);
        }
    }

    /// Notes what was looked for, perhaps by nobody who needs it.
    pub(crate) fn note_look(&self, what: &'static str) {
        let mut state = self.state();
        if !state.looked_for.contains(&what) {
            state.looked_for.push(what);
        }
    }

    /// What was asked for, a line each; nothing where something may only have been looked for.
    pub(crate) fn asked(&self) -> Option<String> {
        let state = self.state();
        (!state.asked.is_empty()).then(|| state.asked.join("\n"))
    }

    /// What was asked for, else what was looked for, a line each.
    pub(crate) fn hint(&self) -> Option<String> {
        self.asked().or_else(|| {
            let state = self.state();
            (!state.looked_for.is_empty()).then(|| state.looked_for.join("\n"))
        })
    }

    fn state(&self) -> MutexGuard<'_, DeniedState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_are_counted_together() {
        let mut memory = Memory { limit: 100, used: 0, refused: false };
        assert!(memory.memory_growing(0, 60, None).unwrap());
        assert!(memory.memory_growing(0, 20, None).unwrap(), "a second memory");
        assert!(memory.table_growing(0, 1, None).unwrap());
        assert!(!memory.refused);
        assert!(memory.table_growing(1, 3, None).is_err());
        assert!(memory.refused);
        assert!(memory.memory_growing(0, usize::MAX, None).is_err());
    }

    #[test]
    fn what_was_asked_for_hides_what_was_only_looked_for() {
        let denied = Denied::default();
        assert_eq!(denied.hint(), None);
        denied.note_look("files");
        denied.note_look("variables");
        denied.note_look("files");
        assert_eq!((denied.hint().as_deref(), denied.asked()), (Some("files\nvariables"), None));
        denied.note("network");
        assert_eq!(denied.hint().as_deref(), Some("network"));
    }
}
