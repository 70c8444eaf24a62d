//! The connector against a real server.

mod cancelling;
mod checking;
mod conformance;
mod cursors;
mod reading;
mod shapes;
mod support;
mod types;
mod write;
