use hub_plugin_api::{Config, Value};

use crate::pipeline::EndpointSpec;

/// How to read from a connection or write to it: a strategy's id and its options.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strategy {
    id: String,
    options: Config,
}

impl Strategy {
    /// A strategy by its id, without options yet.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), options: Config::new() }
    }

    /// Reads a statement's rows: strategy `query` with its option `statement`.
    pub fn query(statement: impl Into<String>) -> Self {
        Self::new("query").option("statement", statement.into())
    }

    /// The same strategy with one more option.
    #[must_use]
    pub fn option(mut self, id: impl Into<String>, value: impl Into<Value>) -> Self {
        self.options.set(id, value);
        self
    }

    pub(crate) fn of(endpoint: &EndpointSpec) -> Self {
        Self { id: endpoint.strategy.clone(), options: endpoint.options.clone() }
    }

    pub(crate) fn apply(self, endpoint: &EndpointSpec) -> EndpointSpec {
        EndpointSpec { strategy: self.id, options: self.options, ..endpoint.clone() }
    }
}
