//! Change equivalence: whatever happens in a source arrives at a destination, transaction by transaction, nothing lost,
//! nothing doubled, whatever is killed or cut meanwhile.
//!
//! - A [`Workload`] makes random transactions over several tables, and knows what the tables hold after each. The last
//!   statement of each transaction writes that into a *ledger*, a table of the source: the truth, in the same
//!   transaction.
//! - A [`Sampler`] looks at the destination in snapshots of its own: the commit token, the ledger as it has arrived,
//!   and what the tables really hold. All of it must be what the source's ledger says of that transaction.
//! - Faults strike while the workload runs: see [`Faults`].
//! - [`equivalence`] puts it together; at the end the tables are equal.
//!
//! What differs between servers is in [`Dialect`].

mod dialect;
mod equivalence;
mod faults;
mod ledger;
mod mysql;
mod postgres;
mod random;
mod sampler;
mod workload;

pub use dialect::{Dialect, Failure, Rows, Session, Store};
pub use equivalence::{Equivalence, Outcome, equivalence};
pub use faults::{Fault, Faults};
pub use ledger::{Entry, TableState};
pub use mysql::{MySqlStore, PostgresBesideMySql};
pub use postgres::PostgresStore;
pub use random::Random;
pub use sampler::{Sample, Sampler};
pub use workload::{Pace, Workload, WorkloadEnd, connect};
