//! End to end, with nothing installed.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod cli;
mod exit_codes;
mod handover;
mod load_matrix;
mod sqlite;
mod sqlite_signals;
