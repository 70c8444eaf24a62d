//! The client's half of the protocol that MySQL and MariaDB share (MySQL internals manual, "Client/Server Protocol";
//! MariaDB knowledge base, "Client/Server Protocol"), for what is hot: rows of large results and events of the log are
//! decoded where they lie in the socket's buffer. Everything else goes through `mysql_async`.

mod auth;
mod channel;
pub mod column;
pub mod decode;
mod handshake;
pub mod result;
mod session;
pub mod text;

pub use session::{RawSession, Row};
