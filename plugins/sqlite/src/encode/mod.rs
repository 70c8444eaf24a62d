//! Arrow columns as SQLite's values: the inverse of `decode`.

mod nested;
mod scalar;
mod store;

pub use scalar::ColumnEncoder;
pub use store::{Store, store_for};
