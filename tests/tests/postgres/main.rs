//! End to end with a real PostgreSQL.

mod check;
mod check_headroom;
mod check_steps;
mod interrupted;
mod moves;
mod notify;
mod server;
mod standby;
mod tls;
mod tls_in_the_middle;
mod type_groups;
mod types;
mod versions;
mod wal;
mod wal_again;
mod wal_cases;
mod wal_equivalence;
mod wal_identity;
mod wal_servers;
mod wal_tables;
