//! The client's half of the protocol that MySQL and MariaDB share (MySQL internals manual, "Client/Server Protocol";
//! MariaDB knowledge base, "Client/Server Protocol"): packets, login, results. Rows are decoded where they lie.

mod auth;
pub mod channel;
pub mod handshake;
pub mod result;
