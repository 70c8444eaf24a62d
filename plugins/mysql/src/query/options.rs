use hub_plugin_api::{Config, Error, Parameter, Result, Value};
use serde::Deserialize;

use crate::raw::column::ZeroDates;

/// What the rows that share a cursor value, or have none, mean for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CursorTies {
    /// They stop the run.
    Refuse,
    /// They are read again by later runs, so that none is missed.
    Reread,
}

/// Options of strategy `query`.
#[derive(Clone, Debug, Deserialize)]
pub struct QueryOptions {
    /// The statement.
    pub statement: String,
    /// Values of the `?`, in order.
    #[serde(default)]
    pub parameters: Vec<Value>,
    /// Columns whose tuple is unique, NOT NULL and grows with new rows.
    #[serde(default)]
    pub cursor: Vec<String>,
    /// Default `refuse`.
    pub cursor_ties: CursorTies,
    /// Key ranges that are read side by side; 0: as many as the host reads at a time.
    pub splits: u32,
    /// The stream's name; absent: the table's where one table is read, else `query`.
    #[serde(default)]
    pub stream: Option<String>,
    /// Default `error`.
    pub zero_dates: ZeroDates,
    /// Milliseconds to wait for a lock. Default 10,000.
    pub lock_timeout_ms: u64,
}

impl QueryOptions {
    /// Reads and checks options.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field.
    pub fn read(options: &Config) -> Result<Self> {
        let mut complete = Config::new();
        for parameter in parameters() {
            if let Some(value) = options.get(&parameter.id).or(parameter.default.as_ref()) {
                complete.set(parameter.id, value.clone());
            }
        }
        complete.required_text("statement")?;
        if complete.get("parameters").is_some_and(|parameters| !parameters.is_array()) {
            return Err(Error::config(
                "parameters",
                "`parameters` must be a list of values, the first for the first `?`",
            ));
        }
        let mut options: Self = complete.parse()?;
        options.stream.take_if(|stream| stream.is_empty());
        if options.statement.contains('\0') {
            return Err(Error::config("statement", "`statement` holds a NUL character"));
        }
        for (index, column) in options.cursor.iter().enumerate() {
            if options.cursor[..index].contains(column) {
                return Err(Error::config("cursor", format!("Column `{column}` is in the cursor twice")));
            }
        }
        Ok(options)
    }

    /// Options for a statement and nothing else.
    ///
    /// # Errors
    /// As [`QueryOptions::read`].
    pub fn of_statement(statement: &str) -> Result<Self> {
        Self::read(&Config::new().with("statement", statement))
    }
}

/// The options of strategy `query`, in the order in which a form shows them.
pub fn parameters() -> Vec<Parameter> {
    vec![
        Parameter::multiline("statement", "Statement")
            .required()
            .describe("One SELECT, VALUES, TABLE or WITH statement, or one like SHOW that gives rows"),
        Parameter::structured("parameters", "Parameters")
            .describe("List of values, one for each ? of the statement in order"),
        Parameter::list("cursor", "Cursor").describe(
            "Columns whose values together are unique, never null and greater in newer rows: a later run reads only \
             what is behind them",
        ),
        Parameter::dropdown("cursor_ties", "Cursor ties", &[("refuse", "Refuse"), ("reread", "Reread")])
            .default("refuse")
            .advanced()
            .describe(
                "Whether rows with equal or missing cursor values stop the run, or are read again by every run, \
                 which needs a destination that updates by key",
            ),
        Parameter::number("splits", "Splits").default(0).range(0, 256).advanced().describe(
            "Ranges of the first cursor column, or of the table's key, that may be read side by side; 0 leaves it \
             to the pipeline's lanes",
        ),
        Parameter::text("stream", "Stream")
            .advanced()
            .describe("Name that the rows go under; without it the table's own, or `query`"),
        Parameter::dropdown("zero_dates", "Zero dates", &[("error", "Error"), ("null", "Null")])
            .default("error")
            .advanced()
            .describe("Whether 0000-00-00 and other days that no calendar has stop the run, or become null"),
        Parameter::number("lock_timeout_ms", "Lock timeout")
            .default(10_000)
            .range(1, i64::from(i32::MAX))
            .advanced()
            .describe("Milliseconds to wait for a lock on a table, rounded up to seconds"),
    ]
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::json;

    use super::*;

    #[test]
    fn options_that_make_no_sense_name_their_field() {
        let statement = Config::new().with("statement", "select 1");
        for (options, field) in [
            (Config::new(), "statement"),
            (Config::new().with("statement", "select '\0'"), "statement"),
            (statement.clone().with("cursor", json!(["a", "b", "a"])), "cursor"),
            (statement.clone().with("parameters", json!({"a": 1})), "parameters"),
        ] {
            assert_eq!(QueryOptions::read(&options).unwrap_err().field.as_deref(), Some(field));
        }
        assert_eq!(QueryOptions::read(&statement).unwrap().zero_dates, ZeroDates::Error);
    }
}
