//! One instance of a component with one connection in it. Its objects share it, so their calls come one after another.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use hub_plugin_api::{Canceller, CheckReporter, Context, Error, ErrorKind, Result};
use wasmtime::{Store, component::ResourceAny};

use super::{
    bindings::{Connector, ConnectorPre, exports::connector_hub::plugin::plugin::Guest},
    network::Network,
    state::{State, TICK_EVERY},
};
use crate::functions::{HasShell, Interrupt, Limits, Sandbox, Shell, explain, with_denied};

/// What the ids of a connector's limits begin with.
pub(super) const PREFIX: &str = "sandbox_";

/// What every instance of a component is made from.
#[derive(Clone)]
pub(super) struct Template {
    pub(super) sandbox: Sandbox,
    pub(super) ready: ConnectorPre<State>,
    pub(super) limits: Limits,
    pub(super) network: Network,
    pub(super) context: Context,
}

/// An object of a session's, as it is cancelled: a call of another object's goes on.
#[derive(Clone, Default)]
pub(super) struct Handle(Arc<AtomicBool>);

/// An instance, and the one call that may be under way in it.
pub(super) struct Session {
    template: Template,
    interrupt: Interrupt,
    /// Whose call is under way.
    active: Mutex<Option<Handle>>,
    inner: Mutex<Inner>,
}

struct Inner {
    store: Store<State>,
    instance: Connector,
    connection: Option<ResourceAny>,
    /// Why nothing can be called any more.
    broken: Option<Error>,
    last_call: Instant,
}

/// A call of a guest's: its store and its exports.
pub(super) type Exports<'a> = &'a Guest;

impl Template {
    /// Makes an instance without a connection in it.
    pub(super) fn instance(&self) -> Result<Session> {
        let machine = self.sandbox.machine()?;
        let shell = Shell::new(self.limits, &self.context, |wasi, denied| self.network.furnish(wasi, denied));
        let interrupt = shell.interrupt.clone();
        let state =
            State { shell, context: self.context.clone(), network: self.network.clone(), reporter: None };
        let mut store = machine.store(state);
        let made = machine.run(&interrupt, self.ready.instantiate_async(&mut store));
        let instance = made.map_err(|error| explain(&error, store.data().shell(), PREFIX))?;
        let inner = Inner { store, instance, connection: None, broken: None, last_call: Instant::now() };
        Ok(Session { template: self.clone(), interrupt, active: Mutex::default(), inner: Mutex::new(inner) })
    }

    /// Makes an instance and connects in it. `made` gets it before the component can block.
    pub(super) fn connect(
        &self,
        request: &String,
        handle: &Handle,
        made: impl FnOnce(&Arc<Session>),
    ) -> Result<Arc<Session>> {
        let session = Arc::new(self.instance()?);
        made(&session);
        let connection =
            session.call(handle, async |store, guest| guest.call_connect(store, request).await)?;
        session.inner().connection = Some(connection);
        session.keep_alive()?;
        Ok(session)
    }
}

impl Session {
    /// Calls the component. The inner error is JSON of the component's own.
    pub(super) fn call<T>(
        &self,
        handle: &Handle,
        call: impl AsyncFnOnce(&mut Store<State>, Exports<'_>) -> wasmtime::Result<Result<T, String>>,
    ) -> Result<T> {
        self.call_within(handle, None, call)
    }

    /// The same, with a reporter for the time of the call.
    pub(super) fn call_within<T>(
        &self,
        handle: &Handle,
        reporter: Option<CheckReporter>,
        call: impl AsyncFnOnce(&mut Store<State>, Exports<'_>) -> wasmtime::Result<Result<T, String>>,
    ) -> Result<T> {
        let machine = self.template.sandbox.machine()?;
        let mut inner = self.inner();
        if let Some(broken) = &inner.broken {
            return Err(broken.clone());
        }
        *self.active() = Some(handle.clone());
        // Either this sees the wish, or whoever cancels sees the call.
        let result = if handle.0.load(Ordering::SeqCst) {
            *self.active() = None;
            return Err(cancelled());
        } else {
            let Inner { store, instance, .. } = &mut *inner;
            store.data_mut().shell_mut().clock.start();
            store.data_mut().reporter = reporter;
            machine.run(&self.interrupt, call(store, instance.connector_hub_plugin_plugin()))
        };
        *self.active() = None;
        inner.last_call = Instant::now();
        inner.store.data_mut().reporter = None;
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(json)) => Err(with_denied(Error::from_json(&json), inner.store.data().shell())),
            Err(error) => {
                let error = explain(&error, inner.store.data().shell(), PREFIX);
                let message = format!("An earlier call ended the instance: {}", error.message);
                inner.broken = Some(match error.kind {
                    ErrorKind::Cancelled => cancelled(),
                    _ => Error::new(ErrorKind::Poisoned, message),
                });
                Err(error)
            }
        }
    }

    /// The connection in this instance.
    pub(super) fn connection(&self) -> Result<ResourceAny> {
        self.inner().connection.ok_or_else(|| Error::internal("An instance without a connection"))
    }

    /// Tells the component that one of its objects is not needed any more.
    pub(super) fn release(&self, object: ResourceAny) {
        let handle = Handle::default();
        let released = self.call(&handle, async |store, _| {
            object.resource_drop_async(store).await?;
            Ok(Ok(()))
        });
        if let Err(error) = released
            && !matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Poisoned)
        {
            tracing::warn!(%error, "An object of a component did not end well");
        }
    }

    /// What cancels the calls of one object.
    pub(super) fn canceller(self: &Arc<Self>, handle: &Handle) -> Canceller {
        let (session, handle) = (Arc::downgrade(self), handle.clone());
        Canceller::new(move || handle.cancel(&session))
    }

    /// Calls `tick` whenever the component was left alone for a while, until the session is gone.
    fn keep_alive(self: &Arc<Self>) -> Result<()> {
        let (session, runtime) = (Arc::downgrade(self), self.template.sandbox.machine()?.runtime());
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(TICK_EVERY / 4).await;
                let Some(session) = session.upgrade() else { return };
                let ticked = tokio::task::spawn_blocking(move || session.tick()).await;
                if !matches!(ticked, Ok(true)) {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Ticks when it is time; whether it goes on.
    fn tick(&self) -> bool {
        // Whoever holds it calls the component right now.
        let Ok(inner) = self.inner.try_lock() else { return true };
        if inner.broken.is_some() {
            return false;
        }
        let is_time = inner.last_call.elapsed() >= TICK_EVERY;
        drop(inner);
        if !is_time {
            return true;
        }
        let ticked = self.call(&Handle::default(), async |store, guest| {
            guest.call_tick(store).await?;
            Ok(Ok(()))
        });
        if let Err(error) = &ticked {
            tracing::warn!(%error, "A component did not take a tick");
        }
        ticked.is_ok()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn active(&self) -> MutexGuard<'_, Option<Handle>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Cancels the object: the call that is under way, and all to come.
    pub(super) fn cancel(&self, session: &Weak<Session>) {
        self.0.store(true, Ordering::SeqCst);
        if let Some(session) = session.upgrade()
            && session.active().as_ref().is_some_and(|active| Arc::ptr_eq(&active.0, &self.0))
        {
            session.interrupt.cancel();
        }
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "The call was cancelled")
}
