//! End to end with a real PostgreSQL.

mod server;
