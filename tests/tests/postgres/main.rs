//! End to end with a real PostgreSQL.

mod interrupted;
mod moves;
mod notify;
mod server;
mod type_groups;
mod types;
