//! By Query: any SELECT, with or without a cursor.

mod bound;
mod change;
mod options;
mod plan;
mod reader;
mod resolve;

pub use bound::{Borrowed, Bound};
pub use change::{change, is_change};
pub use options::{Parameters, QueryOptions, Ties};
pub use plan::{QueryPlan, SplitSpec, check_cursor};
pub use reader::{ReadRequest, open};
pub use resolve::resolve;
