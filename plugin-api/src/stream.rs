use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::Column;

/// A table, a collection, a key pattern, a topic: never one dotted string.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId {
    /// Database, schema and the like, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespace: Vec<String>,
    /// The name inside the namespace.
    pub name: String,
}

impl StreamId {
    /// A stream of a namespace.
    pub fn new<N: Into<String>>(namespace: impl IntoIterator<Item = N>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into_iter().map(Into::into).collect(), name: name.into() }
    }

    /// A stream without a namespace.
    pub fn named(name: impl Into<String>) -> Self {
        Self { namespace: Vec::new(), name: name.into() }
    }
}

impl fmt::Display for StreamId {
    /// For people only: a dot may also be part of a name.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.namespace {
            write!(formatter, "{part}.")?;
        }
        formatter.write_str(&self.name)
    }
}

/// Which streams to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoverRequest {
    /// Only streams whose name or namespace contains this text, ignoring case.
    #[serde(default)]
    pub filter: Option<String>,
    /// What the last page gave as `next`.
    #[serde(default)]
    pub after: Option<String>,
    /// The most streams of one page; 0 leaves it to the connector.
    #[serde(default)]
    pub limit: u32,
}

/// A page of streams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPage {
    /// In a stable order.
    pub streams: Vec<StreamId>,
    /// What to ask for the next page with; absent on the last one.
    #[serde(default)]
    pub next: Option<String>,
}

/// A stream's columns, keys and estimates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamDescription {
    /// The stream.
    pub stream: StreamId,
    /// In the source's order.
    pub columns: Vec<Column>,
    /// Table, view, collection …, in the source's words.
    #[serde(default)]
    pub kind: String,
    /// The server's own estimate.
    #[serde(default)]
    pub estimated_rows: Option<u64>,
    /// The server's own estimate, in bytes.
    #[serde(default)]
    pub estimated_bytes: Option<u64>,
}
