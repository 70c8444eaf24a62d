//! Values as they lie in PostgreSQL's binary protocol.

pub mod decode;
mod decode_column;
pub mod decode_copy;
mod decode_numeric;
