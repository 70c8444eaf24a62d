//! A field of the driver's row, undecoded.

use std::error::Error;

use tokio_postgres::types::{FromSql, Type};

/// A field's bytes as they are.
pub(crate) struct FieldBytes<'a>(pub &'a [u8]);

impl<'a> FromSql<'a> for FieldBytes<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
