//! End to end, with nothing installed.

mod exit_codes;
mod handover;
mod sqlite;
mod sqlite_signals;
