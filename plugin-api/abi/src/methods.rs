//! The names of every call that crosses the boundary, by the object that answers them.
//! The WebAssembly world `connector` mirrors these lists one for one.

/// Answered by the plugin itself: its first object.
pub mod plugin {
    /// The specifications of all its connectors.
    pub const SPEC: &str = "spec";
    /// A connection of one of its connectors. The message carries the host's context.
    pub const CONNECT: &str = "connect";
    /// Every method of this object.
    pub const ALL: &[&str] = &[SPEC, CONNECT];
}

/// Answered by a connection.
pub mod connection {
    /// What every stored position is bound to.
    pub const IDENTITY: &str = "identity";
    /// The connection test. The message carries a reporter.
    pub const CHECK: &str = "check";
    /// The streams, a page at a time.
    pub const DISCOVER: &str = "discover";
    /// Columns, keys and estimates of named streams.
    pub const DESCRIBE: &str = "describe";
    /// A statement's rows. The message may carry one row of parameters.
    pub const QUERY: &str = "query";
    /// What is to be read, cut into splits.
    pub const PLAN: &str = "plan";
    /// A writer that has taken a lane.
    pub const WRITER: &str = "writer";
    /// Drops everything that plans of a pipeline made on the server.
    pub const RELEASE: &str = "release";
    /// Every method of this object.
    pub const ALL: &[&str] = &[IDENTITY, CHECK, DISCOVER, DESCRIBE, QUERY, PLAN, WRITER, RELEASE];
}

/// Answered by a plan.
pub mod plan {
    /// A reader of one split.
    pub const OPEN: &str = "open";
    /// Every method of this object.
    pub const ALL: &[&str] = &[OPEN];
}

/// Answered by a reader.
pub mod reader {
    /// The next event.
    pub const NEXT: &str = "next";
    /// Everything up to a boundary is durable at the destination.
    pub const ACKNOWLEDGE: &str = "acknowledge";
    /// A wish of the user's for a running stream.
    pub const SIGNAL: &str = "signal";
    /// Every method of this object.
    pub const ALL: &[&str] = &[NEXT, ACKNOWLEDGE, SIGNAL];
}

/// Answered by a writer.
pub mod writer {
    /// A stream's shape. The message carries the Arrow schema.
    pub const SCHEMA: &str = "schema";
    /// A batch of a stream. The message carries the rows.
    pub const WRITE: &str = "write";
    /// Empties streams.
    pub const TRUNCATE: &str = "truncate";
    /// Sends what is buffered, and answers with the rows refused.
    pub const FLUSH: &str = "flush";
    /// Makes rows and token durable together.
    pub const COMMIT: &str = "commit";
    /// Ends the work after the last commit.
    pub const FINISH: &str = "finish";
    /// Every method of this object.
    pub const ALL: &[&str] = &[SCHEMA, WRITE, TRUNCATE, FLUSH, COMMIT, FINISH];
}

/// Answered by the host's context.
pub mod context {
    /// A line for the host's log.
    pub const LOG: &str = "log";
    /// A measurement.
    pub const METRIC: &str = "metric";
    /// A secret's value.
    pub const SECRET: &str = "secret";
    /// A named blob of this pipeline.
    pub const STATE_GET: &str = "state-get";
    /// Stores a named blob of this pipeline; durable on return.
    pub const STATE_PUT: &str = "state-put";
    /// The names of this pipeline's blobs.
    pub const STATE_LIST: &str = "state-list";
    /// A private directory with a quota.
    pub const SPILL: &str = "spill";
    /// Every method of this object.
    pub const ALL: &[&str] = &[LOG, METRIC, SECRET, STATE_GET, STATE_PUT, STATE_LIST, SPILL];
}

/// Answered by the reporter of a connection test.
pub mod reporter {
    /// A finished step.
    pub const STEP: &str = "step";
    /// Every method of this object.
    pub const ALL: &[&str] = &[STEP];
}
