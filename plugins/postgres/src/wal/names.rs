use crate::sql::wal::name_prefix;

/// What a pipeline's slot and publication are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Of this generation's slot and publication.
    pub object: String,
}

impl Names {
    /// The names of a generation.
    pub fn of(pipeline: &str, generation: u64) -> Self {
        Self { object: format!("{}{generation}", name_prefix(pipeline)) }
    }
}
