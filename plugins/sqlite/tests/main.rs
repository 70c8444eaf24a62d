//! The connector through its public traits, against real files.

mod cursor;
mod harness;
