//! Values as they lie in PostgreSQL's binary protocol.

pub(crate) mod decode;
mod decode_column;
pub(crate) mod decode_copy;
mod decode_nulls;
mod decode_numeric;
pub(crate) mod decode_text;
pub(crate) mod encode;
mod encode_integer;
mod encode_json;
mod encode_number;
pub(crate) mod encode_plan;
mod encode_put;
pub(crate) mod encode_target;
mod encode_time;
pub(crate) mod field;
mod input;
