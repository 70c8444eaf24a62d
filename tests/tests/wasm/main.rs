//! End to end with WebAssembly guests.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod cli;
mod component;
mod connector;
mod denied;
mod golden;
mod guests;
mod hostile;
mod lines;
mod orders;
mod others;
mod resume;
mod session;
