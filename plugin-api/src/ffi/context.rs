//! The host's context and a test's reporter, lent to the plugin.

use std::{path::PathBuf, sync::Arc};

use hub_plugin_abi::{
    Answer, Message, Object, ObjectRef, make_object,
    methods::{context as methods, reporter},
    reexport::{RResult, RStr},
};
use serde::Serialize;

use super::{
    guard::answered,
    wire::{
        ConnectRequest, NamedRequest, NamesAnswer, StatePutRequest, ValueAnswer, nothing, read,
        unknown_method, write,
    },
};
use crate::{
    CheckReporter, CheckStep, Context, Error, HostContext, Level, LogRecord, Metric, Result, Secret, Spill,
};

/// Lends a context to the other side.
pub fn export_context(context: &Context) -> ObjectRef {
    make_object(ExportedContext(context.clone()))
}

/// A context of the other side; what does not change came with the request.
pub(super) fn import_context(object: ObjectRef, request: &ConnectRequest) -> Context {
    Context::new(Arc::new(ImportedContext {
        object,
        level: request.log_level,
        reserved_files: request.reserved_files.clone(),
        queries_may_write: request.queries_may_write,
    }))
}

struct ExportedContext(Context);

impl ExportedContext {
    fn answer(&self, method: &str, message: &Message) -> Result<Message> {
        let host = self.0.host();
        match method {
            methods::LOG => host.log(read(message)?),
            methods::METRIC => host.metric(read(message)?),
            methods::SECRET => {
                let secret = host.secret(&read::<NamedRequest>(message)?.name)?;
                return write(&ValueAnswer { value: secret.map(|secret| secret.expose().to_owned()) });
            }
            methods::STATE_GET => {
                return write(&ValueAnswer { value: host.state_get(&read::<NamedRequest>(message)?.name)? });
            }
            methods::STATE_PUT => {
                let StatePutRequest { name, blob } = read(message)?;
                host.state_put(&name, blob.as_deref())?;
            }
            methods::STATE_LIST => return write(&NamesAnswer { names: host.state_list()? }),
            methods::SPILL => return write(&host.spill()?),
            _ => return Err(unknown_method(method)),
        }
        Ok(nothing())
    }
}

impl Object for ExportedContext {
    fn call(&self, method: RStr<'_>, message: Message) -> Answer<Message> {
        answered(|| self.answer(method.as_str(), &message))
    }

    fn cancel(&self) {}
}

struct ImportedContext {
    object: ObjectRef,
    level: Level,
    reserved_files: Vec<PathBuf>,
    queries_may_write: bool,
}

impl ImportedContext {
    fn call(&self, method: &str, request: &impl Serialize) -> Result<Message> {
        call(&self.object, method, write(request)?)
    }
}

impl HostContext for ImportedContext {
    fn log(&self, record: LogRecord) {
        // A line that cannot be handed over has nowhere else to go.
        let _ = self.call(methods::LOG, &record);
    }

    fn log_level(&self) -> Level {
        self.level
    }

    fn metric(&self, metric: Metric) {
        let _ = self.call(methods::METRIC, &metric);
    }

    fn secret(&self, id: &str) -> Result<Option<Secret>> {
        let found: ValueAnswer = read(&self.call(methods::SECRET, &NamedRequest { name: id.into() })?)?;
        Ok(found.value.map(Secret::new))
    }

    fn state_get(&self, name: &str) -> Result<Option<String>> {
        let found: ValueAnswer = read(&self.call(methods::STATE_GET, &NamedRequest { name: name.into() })?)?;
        Ok(found.value)
    }

    fn state_put(&self, name: &str, blob: Option<&str>) -> Result<()> {
        let put = StatePutRequest { name: name.into(), blob: blob.map(Into::into) };
        self.call(methods::STATE_PUT, &put).map(drop)
    }

    fn state_list(&self) -> Result<Vec<String>> {
        let names: NamesAnswer = read(&self.call(methods::STATE_LIST, &())?)?;
        Ok(names.names)
    }

    fn spill(&self) -> Result<Spill> {
        read(&self.call(methods::SPILL, &())?)
    }

    fn reserved_files(&self) -> Vec<PathBuf> {
        self.reserved_files.clone()
    }

    fn queries_may_write(&self) -> bool {
        self.queries_may_write
    }
}

/// Calls a method of an object of the other side.
pub(super) fn call(object: &ObjectRef, method: &str, message: Message) -> Result<Message> {
    match object.call(RStr::from(method), message) {
        RResult::ROk(answer) => Ok(answer),
        RResult::RErr(error) => Err(Error::from_json(&error)),
    }
}

/// Lends a reporter to the other side.
pub(super) fn export_reporter(report: &CheckReporter) -> ObjectRef {
    make_object(ExportedReporter(report.clone()))
}

/// A reporter of the other side.
pub(super) fn import_reporter(object: ObjectRef) -> CheckReporter {
    CheckReporter::new(move |step| {
        if let Ok(message) = write(&step) {
            // The test goes on when nobody listens any more.
            let _ = call(&object, reporter::STEP, message);
        }
    })
}

struct ExportedReporter(CheckReporter);

impl Object for ExportedReporter {
    fn call(&self, method: RStr<'_>, message: Message) -> Answer<Message> {
        answered(|| match method.as_str() {
            reporter::STEP => {
                self.0.report(read::<CheckStep>(&message)?);
                Ok(nothing())
            }
            other => Err(unknown_method(other)),
        })
    }

    fn cancel(&self) {}
}
