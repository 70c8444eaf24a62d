//! The client's half of the protocol that MySQL and MariaDB share (MySQL internals manual, "Client/Server Protocol";
//! MariaDB knowledge base, "Client/Server Protocol"), for what is hot: rows of large results and events of the log are
//! decoded where they lie in the socket's buffer. Everything else goes through `mysql_async`.
//!
//! Why not there too, measured on one machine (loopback, the tests' servers):
//!
//! | | `mysql_async` | here, into Arrow |
//! |---|---|---|
//! | a million rows of `lineitem`, 16 columns, MariaDB | 0.65 s of CPU with the values dropped, 0.82 s into columns | 0.22 s |
//! | 200,000 changed rows of MySQL's log, 6 columns | 0.52 s with the values dropped | 0.04 s |
//!
//! The driver makes an object a row and a buffer a value, which costs more than decoding them.

mod auth;
mod channel;
pub mod column;
pub mod decode;
mod handshake;
pub mod result;
mod session;
pub mod text;

pub use session::{RawSession, Row};
