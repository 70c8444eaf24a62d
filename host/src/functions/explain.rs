//! Why a guest stopped, in words for the person who wrote it or runs it.

use hub_plugin_api::{Error, ErrorKind, json};
use wasmtime::Trap;

use super::{bindings::connector_hub::plugin::types::Failure, shell::Shell};

/// What the function said went wrong.
pub(super) fn failed(failure: Failure, shell: &Shell) -> Error {
    let kind = serde_json::from_value(json!(failure.kind)).unwrap_or(ErrorKind::InvalidData);
    // A kind of its own, or one that is a defect of ours, says nothing about the function's data.
    let kind = if kind == ErrorKind::Internal { ErrorKind::InvalidData } else { kind };
    // A kind that is retried anyway needs no second word; a wish to be retried is one for any other.
    let kind = if failure.retryable && !kind.is_retryable() { ErrorKind::Unavailable } else { kind };
    let error = Error::new(kind, short(&failure.message));
    match failure.hint {
        Some(hint) => error.with_hint(short(&hint)),
        None => with_denied(error, shell),
    }
}

/// The longest text of a guest's that an error quotes, in bytes.
const QUOTED_BYTES: usize = 4 << 10;

fn short(text: &str) -> String {
    let end =
        text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= QUOTED_BYTES).last();
    match end {
        Some(end) if end < text.len() => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}

/// The same error with what the guest asked for and did not get, unless it has a hint already.
pub(crate) fn with_denied(error: Error, shell: &Shell) -> Error {
    match shell.denied.hint() {
        Some(hint) if error.hint.is_none() => error.with_hint(hint),
        _ => error,
    }
}

/// Why the guest stopped. `options` is what the ids of its limits begin with.
pub(crate) fn explain(error: &wasmtime::Error, shell: &Shell, options: &str) -> Error {
    if shell.interrupt.is_cancelled() {
        return Error::new(ErrorKind::Cancelled, "The module was cancelled");
    }
    let quoted = |error: Error| match shell.complaints.quoted() {
        Some(lines) => error.with_context("stderr", lines),
        None => error,
    };
    let limits = shell.limits;
    let exhausted = |message: String, id: &str| {
        quoted(Error::new(ErrorKind::ResourceExhausted, message))
            .with_hint(format!("Hand over smaller batches, or raise the option `{options}{id}`"))
    };
    if shell.memory.refused {
        let message = format!("The module asked for more than {} bytes of memory", limits.memory_bytes);
        return exhausted(message, "memory_mib");
    }
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        let message = format!("The module ended its program with exit code {}", exit.0);
        return with_denied(quoted(Error::new(ErrorKind::InvalidData, message)), shell);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => {
            let message = format!(
                "The module computed for longer than {} s in one call",
                limits.call_time.as_secs_f64()
            );
            exhausted(message, "call_seconds")
        }
        Some(Trap::StackOverflow) => {
            let message = "The module's calls are nested too deeply: its stack is full";
            quoted(Error::new(ErrorKind::ResourceExhausted, message))
                .with_hint("This is a defect of the module: a recursion without an end")
        }
        Some(trap) => {
            let message = format!("The module stopped itself: {trap}");
            let error = with_denied(quoted(Error::new(ErrorKind::InvalidData, message)), shell);
            if error.hint.is_some() {
                return error;
            }
            error.with_hint("This is a defect of the module: a panic, or an access outside its memory")
        }
        None if format!("{error:#}").contains("fuel allocated for hostcalls") => {
            let message =
                format!("The module handed over far more than {} bytes at once", limits.batch_bytes);
            exhausted(message, "batch_mib")
        }
        None => {
            let error = Error::new(ErrorKind::InvalidData, "The module broke its contract with the hub")
                .with_source(error.as_ref());
            with_denied(quoted(error), shell)
        }
    }
}
