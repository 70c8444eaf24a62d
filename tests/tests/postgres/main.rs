//! End to end with a real PostgreSQL.

mod check;
mod check_steps;
mod interrupted;
mod moves;
mod notify;
mod server;
mod type_groups;
mod types;
