//! What one instance of a component has while it runs, and what it may call.

use std::time::Duration;

use hub_plugin_api::{
    CheckReporter, CheckStatus, CheckStep, Context, Error, ErrorKind, LogRecord, Metric, Result,
    ffi::wire::{NamedRequest, NamesAnswer, StatePutRequest, ValueAnswer},
};
use serde::{Serialize, de::DeserializeOwned};
use wasmtime::component::{HasData, Linker};
use wasmtime_wasi::{WasiCtxView, WasiView, p2::bindings::sockets::ip_name_lookup};

use super::{
    bindings::connector_hub::plugin::{connector_types, context, reporter},
    network::Network,
};
use crate::functions::{HasShell, Shell, guard_names};

/// What one instance has.
pub(super) struct State {
    pub(super) shell: Shell,
    pub(super) context: Context,
    pub(super) network: Network,
    /// There while a connection test runs.
    pub(super) reporter: Option<CheckReporter>,
}

impl HasShell for State {
    fn shell(&self) -> &Shell {
        &self.shell
    }

    fn shell_mut(&mut self) -> &mut Shell {
        &mut self.shell
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.shell.wasi()
    }
}

/// What a component of the world `connector` links against.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    struct Own;

    impl HasData for Own {
        type Data<'a> = &'a mut State;
    }

    connector_types::add_to_linker::<_, Own>(linker, |state| state)?;
    context::add_to_linker::<_, Own>(linker, |state| state)?;
    reporter::add_to_linker::<_, Own>(linker, |state| state)?;
    linker.allow_shadowing(true);
    ip_name_lookup::add_to_linker::<_, Own>(linker, |state| state)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| {
        Error::new(ErrorKind::Protocol, "The module sent a message of another shape").with_source(&error)
    })
}

fn write(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(value)?)
}

impl State {
    /// Answers a call with JSON, without counting its time.
    fn answer(
        &mut self,
        answer: impl FnOnce(&Self) -> Result<String>,
    ) -> wasmtime::Result<Result<String, String>> {
        Ok(self.outside(|state| answer(state)).map_err(|error| error.to_json()))
    }
}

impl connector_types::Host for State {}

impl context::Host for State {
    fn log(&mut self, request: String) -> wasmtime::Result<()> {
        if let Ok(record) = read::<LogRecord>(&request) {
            self.shell.budget.log(&self.context, record.level, record.message);
        }
        Ok(())
    }

    fn metric(&mut self, request: String) -> wasmtime::Result<()> {
        if let Ok(metric) = read::<Metric>(&request) {
            self.context.host().metric(metric);
        }
        Ok(())
    }

    fn secret(&mut self, request: String) -> wasmtime::Result<Result<String, String>> {
        self.answer(|state| {
            let secret = state.context.secret(&read::<NamedRequest>(&request)?.name)?;
            write(&ValueAnswer { value: secret.map(|secret| secret.expose().to_owned()) })
        })
    }

    fn state_get(&mut self, request: String) -> wasmtime::Result<Result<String, String>> {
        self.answer(|state| {
            let value = state.context.host().state_get(&read::<NamedRequest>(&request)?.name)?;
            write(&ValueAnswer { value })
        })
    }

    fn state_put(&mut self, request: String) -> wasmtime::Result<Result<String, String>> {
        self.answer(|state| {
            let put: StatePutRequest = read(&request)?;
            state.context.host().state_put(&put.name, put.blob.as_deref())?;
            Ok("{}".into())
        })
    }

    fn state_list(&mut self, _: String) -> wasmtime::Result<Result<String, String>> {
        self.answer(|state| write(&NamesAnswer { names: state.context.host().state_list()? }))
    }

    fn spill(&mut self, _: String) -> wasmtime::Result<Result<String, String>> {
        Ok(Err(Error::unsupported("A directory for a component, which has no files,").to_json()))
    }
}

impl reporter::Host for State {
    fn step(&mut self, request: String) -> wasmtime::Result<()> {
        if let (Some(reporter), Ok(mut step)) = (&self.reporter, read::<CheckStep>(&request)) {
            if step.status == CheckStatus::Failed && step.hint.is_none() {
                step.hint = self.shell.denied.hint();
            }
            reporter.report(step);
        }
        Ok(())
    }
}

guard_names!(State, |state, name| state.network.may_look_up(name, &state.shell.denied));

/// How long a component is left alone at the most.
pub(super) const TICK_EVERY: Duration = Duration::from_secs(4);
