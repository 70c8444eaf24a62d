//! The strategy that every connector has whose connections answer queries: what it takes, declared once.

use std::path::{Path, PathBuf};

use hub_plugin_api::{
    Config, ConnectorSpec, Error, Guarantee, Parameter, Result, Role, Strategy, StreamId, Value, json,
    types::Column,
};

use super::{declared::declared, limits::Limits};

/// The strategy's id.
pub const CUSTOM_FUNCTION: &str = "custom-function";

/// Lets the function's statements change data.
const GRANT_WRITE: &str = "write";

/// The strategy as every connector has it.
fn strategy() -> Strategy {
    let mut strategy = Strategy::source(CUSTOM_FUNCTION, "By Custom Function")
        .guarantee(Guarantee::AtLeastOnce)
        .describe(
            "Runs a function of your own, a WebAssembly module, which queries this connection and yields rows. It \
             gets no files, no environment and no network",
        )
        .option(Parameter::file("module", "Module").required().describe("Path of the WebAssembly module"))
        .option(
            Parameter::structured("arguments", "Arguments")
                .default(json!({}))
                .describe("A JSON object that the function gets as it is"),
        )
        .option(
            Parameter::text("stream", "Stream")
                .describe("Name of the stream that the rows are of; without it the module's name")
                .advanced(),
        )
        .option(
            Parameter::structured("columns", "Columns")
                .describe(
                    "For a program that prints JSON lines: an object of names and types, or a list of {name, type, \
                     nullable, key}; without it the columns of the first batch",
                )
                .advanced(),
        )
        .option(
            Parameter::list("grants", "Grants")
                .describe("What the function may do beyond reading: `write` lets its statements change data")
                .advanced(),
        );
    strategy.options.extend(Limits::parameters("", false));
    strategy
}

/// Adds the strategy behind those that read, to a connector that answers queries and has none of this id.
pub(crate) fn offer(spec: &mut ConnectorSpec) -> bool {
    if !spec.queries || spec.strategies.iter().any(|one| one.id == CUSTOM_FUNCTION) {
        return false;
    }
    let sources = spec.strategies.iter().rposition(|one| one.role == Role::Source).map_or(0, |last| last + 1);
    spec.strategies.insert(sources, strategy());
    true
}

/// The strategy's options, read.
pub(super) struct Options {
    pub(super) module: PathBuf,
    pub(super) arguments: Value,
    pub(super) stream: StreamId,
    pub(super) columns: Vec<Column>,
    pub(super) may_write: bool,
    pub(super) limits: Limits,
}

impl Options {
    /// Reads checked options.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field.
    pub(super) fn read(options: &Config) -> Result<Self> {
        let module = PathBuf::from(options.required_text("module")?);
        let arguments = options.get("arguments").cloned().unwrap_or_else(|| json!({}));
        if !arguments.is_object() {
            return Err(Error::config(
                "arguments",
                format!("`arguments` must be an object, not `{arguments}`"),
            ));
        }
        let stream = options.text("stream").map_or_else(|| name_of(&module), str::to_owned);
        let columns = options.get("columns").map_or_else(|| Ok(Vec::new()), declared)?;
        let mut may_write = false;
        for grant in options.list("grants") {
            if grant != GRANT_WRITE {
                return Err(Error::config("grants", format!("There is no grant `{grant}`")).with_hint(
                    format!("There is `{GRANT_WRITE}`: statements of the function may change data"),
                ));
            }
            may_write = true;
        }
        let limits = Limits::read("", options)?;
        Ok(Self { module, arguments, stream: StreamId::named(stream), columns, may_write, limits })
    }
}

/// A module's name without its ending.
fn name_of(module: &Path) -> String {
    module.file_stem().unwrap_or(module.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategy_stands_behind_those_that_read_and_only_where_queries_are_answered() {
        let spec = || {
            ConnectorSpec::new("demo", "Demo")
                .strategy(Strategy::source("query", "By Query"))
                .strategy(Strategy::destination("write", "By Write Operation"))
        };
        let mut silent = spec();
        assert!(!offer(&mut silent) && silent == spec());
        let mut offered = spec().answers_queries();
        assert!(offer(&mut offered) && !offer(&mut offered), "once");
        let ids: Vec<_> =
            offered.strategies.iter().map(|one| (one.id.as_str(), one.label.as_str())).collect();
        assert_eq!(
            ids,
            [
                ("query", "By Query"),
                ("custom-function", "By Custom Function"),
                ("write", "By Write Operation")
            ]
        );
        offered.check().unwrap();
    }

    #[test]
    fn options_are_read_and_refused_by_field() {
        let declared = strategy();
        let read = |options: Config| Options::read(&declared.validate(&options).unwrap());
        let options =
            read(Config::new().with("module", "/x/orders.wasm").with("grants", json!(["write"]))).unwrap();
        assert_eq!((options.stream.name.as_str(), options.may_write), ("orders", true));
        assert_eq!(options.limits, Limits::default());
        let refused = |options: Config| read(options.with("module", "m")).err().unwrap().field.unwrap();
        assert_eq!(refused(Config::new().with("arguments", json!([1]))), "arguments");
        assert_eq!(refused(Config::new().with("grants", json!(["network"]))), "grants");
        assert_eq!(refused(Config::new().with("columns", json!({"a": "int"}))), "columns");
    }
}
