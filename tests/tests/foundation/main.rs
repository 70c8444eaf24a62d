//! End to end, with nothing installed.

mod cli;
mod exit_codes;
mod handover;
mod load_matrix;
mod sqlite;
mod sqlite_signals;
