use hub_plugin_api::{Error, ErrorKind, Result};
use rusqlite::{
    ToSql,
    types::{ToSqlOutput, Value, ValueRef},
};
use serde::{Deserialize, Serialize};

use crate::text;

/// One of SQLite's values in JSON, exactly: `1`, `"a"`, `{"real":"0.5"}`, `{"blob":"00ff"}`, `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(String),
    /// A float, as the shortest digits that read back as the same.
    Real {
        /// The digits.
        real: String,
    },
    /// Bytes, in hex.
    Blob {
        /// The digits.
        blob: String,
    },
    /// NULL.
    Null,
}

impl Bound {
    /// A value in JSON.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] for a text that is not UTF-8.
    pub fn of(value: ValueRef<'_>) -> Result<Self> {
        Ok(match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(integer) => Self::Integer(integer),
            ValueRef::Real(float) => Self::Real { real: format!("{float:?}") },
            ValueRef::Text(bytes) => Self::Text(String::from_utf8(bytes.to_vec()).map_err(|_| {
                Error::new(ErrorKind::InvalidData, "A text of the cursor is not UTF-8")
                    .with_field("cursor")
                    .with_hint("Cast the column in the statement to blob")
            })?),
            ValueRef::Blob(bytes) => {
                let mut blob = String::new();
                text::write_hex(&mut blob, bytes);
                Self::Blob { blob }
            }
        })
    }

    /// The value that it stands for.
    ///
    /// # Errors
    /// [`ErrorKind::PositionLost`] for digits that are none.
    pub fn value(&self) -> Result<Value> {
        let wrong = || Error::new(ErrorKind::PositionLost, "A value of the stored position cannot be read");
        Ok(match self {
            Self::Null => Value::Null,
            Self::Integer(integer) => Value::Integer(*integer),
            Self::Text(text) => Value::Text(text.clone()),
            Self::Real { real } => Value::Real(real.parse().map_err(|_| wrong())?),
            Self::Blob { blob } => Value::Blob(text::parse_hex(blob).ok_or_else(wrong)?),
        })
    }
}

/// A value of a row as a parameter.
pub struct Borrowed<'a>(pub ValueRef<'a>);

impl ToSql for Borrowed<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_value_comes_back_from_its_json(integer: i64, real in -1e300..1e300_f64, text: String, blob: Vec<u8>) {
            for value in [Value::Integer(integer), Value::Real(real), Value::Text(text), Value::Blob(blob), Value::Null] {
                let json = serde_json::to_string(&Bound::of((&value).into()).unwrap()).unwrap();
                let back: Bound = serde_json::from_str(&json).unwrap();
                prop_assert_eq!(back.value().unwrap(), value);
            }
        }
    }
}
