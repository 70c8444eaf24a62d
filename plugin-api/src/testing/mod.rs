//! The conformance suite: what every connector must do, as rules that a test of its own runs.
//!
//! An author describes the connector's surroundings as a [`Subject`]: a config that works, configs that do not, and
//! how to make a source table and find a destination's rows. [`run`] then plays the host: every call goes through the
//! whole glue, as if the connector were in a library.
//!
//! ```ignore
//! #[test]
//! fn conforms() {
//!     hub_plugin_api::testing::run(MySubject::new()).assert();
//! }
//! ```

mod block;
mod cells;
mod context;
mod edge_values;
mod reading;
mod report;
mod rules;
mod session;
mod subject;
mod suite;
mod writing;

pub use block::block_on;
pub use cells::{cell, lines};
pub use context::TestContext;
pub use edge_values::{EdgeValues, every_type};
pub use report::{Outcome, Report, Verdict};
pub use subject::{Broken, Destination, ReadBack, Rejecting, Source, Subject, Table};
pub use suite::{RULES, Suite, run};
