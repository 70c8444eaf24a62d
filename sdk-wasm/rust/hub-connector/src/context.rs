use serde_json::{Value, json};

use crate::{Error, Result, bindings::connector_hub::plugin::context};

/// A level of the hub's log.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is odd.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
}

/// Writes a line into the hub's log. Never values of cells, never secrets.
pub fn log(level: Level, message: &str) {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    };
    let record = json!({ "level": level, "target": "connector", "message": message, "fields": [] });
    context::log(&record.to_string());
}

/// The value of a password parameter; none where the user gave none.
///
/// # Errors
/// When it cannot be read.
pub fn secret(id: &str) -> Result<Option<String>> {
    let answer = context::secret(&json!({ "id": id }).to_string())
        .map_err(|json| Error::new("internal", format!("The secret `{id}` cannot be read: {json}")))?;
    let answer: Value = serde_json::from_str(&answer)?;
    Ok(answer["value"].as_str().map(str::to_owned))
}
