//! The host's context and a test's reporter, lent to the plugin.

use std::{path::PathBuf, sync::Arc};

use hub_plugin_abi::{
    Answer, Message, Object, ObjectRef, make_object,
    methods::{context as methods, reporter},
    reexport::{RResult, RStr},
};
use serde::{Deserialize, Serialize};

use super::{
    guard::answered,
    wire::{nothing, read, unknown_method, write},
};
use crate::{
    CheckReporter, CheckStep, Context, Error, HostContext, Level, LogRecord, Metric, Result, Secret, Spill,
};

#[derive(Serialize, Deserialize)]
struct Named {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct StatePut {
    name: String,
    blob: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Found {
    value: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Names {
    names: Vec<String>,
}

/// Lends a context to the other side.
pub fn export_context(context: &Context) -> ObjectRef {
    make_object(ExportedContext(context.clone()))
}

/// A context of the other side, whose level and reserved files came with the request.
pub fn import_context(object: ObjectRef, level: Level, reserved_files: Vec<PathBuf>) -> Context {
    Context::new(Arc::new(ImportedContext { object, level, reserved_files }))
}

struct ExportedContext(Context);

impl ExportedContext {
    fn answer(&self, method: &str, message: &Message) -> Result<Message> {
        let host = self.0.host();
        match method {
            methods::LOG => host.log(read(message)?),
            methods::METRIC => host.metric(read(message)?),
            methods::SECRET => {
                let secret = host.secret(&read::<Named>(message)?.name)?;
                return write(&Found { value: secret.map(|secret| secret.expose().to_owned()) });
            }
            methods::STATE_GET => {
                return write(&Found { value: host.state_get(&read::<Named>(message)?.name)? });
            }
            methods::STATE_PUT => {
                let StatePut { name, blob } = read(message)?;
                host.state_put(&name, blob.as_deref())?;
            }
            methods::STATE_LIST => return write(&Names { names: host.state_list()? }),
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
        let found: Found = read(&self.call(methods::SECRET, &Named { name: id.into() })?)?;
        Ok(found.value.map(Secret::new))
    }

    fn state_get(&self, name: &str) -> Result<Option<String>> {
        let found: Found = read(&self.call(methods::STATE_GET, &Named { name: name.into() })?)?;
        Ok(found.value)
    }

    fn state_put(&self, name: &str, blob: Option<&str>) -> Result<()> {
        let put = StatePut { name: name.into(), blob: blob.map(Into::into) };
        self.call(methods::STATE_PUT, &put).map(drop)
    }

    fn state_list(&self) -> Result<Vec<String>> {
        let names: Names = read(&self.call(methods::STATE_LIST, &())?)?;
        Ok(names.names)
    }

    fn spill(&self) -> Result<Spill> {
        read(&self.call(methods::SPILL, &())?)
    }

    fn reserved_files(&self) -> Vec<PathBuf> {
        self.reserved_files.clone()
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
