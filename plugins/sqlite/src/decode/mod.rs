//! SQLite's values as Arrow columns. A value that its column's type cannot hold is an error, never a guess.

mod builder;
mod nested;
mod scalar;

pub use builder::ColumnDecoder;

/// Why a value does not fit, and what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What was found, without the value itself.
    pub found: String,
    /// What the statement can do about it.
    pub hint: &'static str,
}

impl Misfit {
    fn new(found: impl Into<String>, hint: &'static str) -> Self {
        Self { found: found.into(), hint }
    }
}
