//! A session of our own on the server's wire protocol (PostgreSQL manual, chapter "Frontend/Backend Protocol").
//!
//! The driver makes an object of every row and hands it from a task of its own to the reader's; a read spends half of
//! its time on that. Here the reader's own task reads into one large buffer, and rows are decoded where they lie. It is
//! also what replication needs, which the driver does not speak.

mod answer;
mod bulk;
mod cancel;
mod copy;
mod login;
mod receive;
mod send;
mod session;
mod socket;
#[cfg(test)]
mod tests;

pub use copy::{CopyBoth, CopyOut, CopySender};
pub use session::{RawMode, RawSession};
