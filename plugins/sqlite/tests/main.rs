//! The connector through its public traits, against real files.

mod check;
mod conformance;
mod cursor;
mod harness;
mod locks;
mod modes;
mod reading;
mod speed;
mod types;
