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

/// What is said of a trap where the module asked for nothing that it did not get.
const DEFECT: &str = "This is a defect of the module: it panicked, or computed what is not defined. It has no files and no environment";

/// The same of an access outside its memory: where a language keeps a stack in there, that is where a full one ends.
const WILD: &str =
    "This is a defect of the module: its calls are nested too deeply, or it used a pointer that is none";

/// What a trap means. The engine's own words are for whoever builds engines.
fn trapped(trap: Trap) -> String {
    match trap {
        Trap::UnreachableCodeReached => "The module stopped itself: it panicked or was aborted".into(),
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => "The module reached outside its memory".into(),
        Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => {
            "The module called a function that is not there, or is another".into()
        }
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => {
            let what = trap.to_string();
            format!("The module stopped at a calculation: {}", what.trim_start_matches("wasm trap: "))
        }
        other => {
            let what = other.to_string();
            format!("The module was stopped: {}", what.trim_start_matches("wasm trap: "))
        }
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
        let message = match exit.0 {
            // WASI 0.2 tells that a program failed, and no number.
            1 => "The module ended its program as failed".to_owned(),
            code => format!("The module ended its program with exit code {code}"),
        };
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
            let error = quoted(Error::new(ErrorKind::InvalidData, trapped(*trap)));
            // Every language looks for variables and files on its way to a trap, so that alone is no hint.
            let defect = if matches!(trap, Trap::MemoryOutOfBounds) { WILD } else { DEFECT };
            error.with_hint(shell.denied.asked().unwrap_or_else(|| defect.into()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traps_are_told_without_the_engines_words() {
        let traps = [
            Trap::UnreachableCodeReached,
            Trap::MemoryOutOfBounds,
            Trap::IndirectCallToNull,
            Trap::IntegerDivisionByZero,
            Trap::BadConversionToInteger,
            Trap::CannotLeaveComponent,
        ];
        let told: Vec<String> = traps.into_iter().map(trapped).collect();
        assert_eq!(
            told,
            [
                "The module stopped itself: it panicked or was aborted",
                "The module reached outside its memory",
                "The module called a function that is not there, or is another",
                "The module stopped at a calculation: integer divide by zero",
                "The module stopped at a calculation: invalid conversion to integer",
                "The module was stopped: cannot leave component instance",
            ]
        );
    }
}
