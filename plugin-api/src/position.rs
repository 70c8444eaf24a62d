use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// The most bytes that a position's JSON may have.
pub const MAX_POSITION_BYTES: usize = 1024 * 1024;

/// Where a reader resumes: a JSON object of the connector's own, with a version `v` and no secrets.
///
/// The host stores it with plugin, strategy, split and identity, and shows it as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(Value);

impl Position {
    /// Wraps a serialisable position of version `v`.
    ///
    /// # Errors
    /// When it does not serialise to a JSON object, or to one above [`MAX_POSITION_BYTES`].
    pub fn new(v: u32, position: &impl Serialize) -> Result<Self> {
        let mut value = serde_json::to_value(position)?;
        let object =
            value.as_object_mut().ok_or_else(|| Error::internal("A position must be a JSON object"))?;
        object.insert("v".into(), v.into());
        let length = value.to_string().len();
        if length > MAX_POSITION_BYTES {
            return Err(Error::internal(format!(
                "A position has {length} bytes, more than {MAX_POSITION_BYTES}"
            )));
        }
        Ok(Self(value))
    }

    /// The version that the connector gave it.
    pub fn version(&self) -> Option<u64> {
        self.0.get("v").and_then(Value::as_u64)
    }

    /// Reads a position of version `v`.
    ///
    /// # Errors
    /// When it is of another version or shape: [`crate::ErrorKind::PositionLost`].
    pub fn read<T: for<'de> Deserialize<'de>>(&self, v: u32) -> Result<T> {
        let lost = |message| Error::new(crate::ErrorKind::PositionLost, message);
        if self.version() != Some(v.into()) {
            return Err(lost(format!("The stored position is not of version {v}: `{}`", self.0)).with_hint(
                "Start again with `--from-scratch`, or use the version of the plugin that stored it",
            ));
        }
        serde_json::from_value(self.0.clone()).map_err(|error| {
            lost(format!("The stored position cannot be read: `{}`", self.0)).with_source(&error)
        })
    }

    /// The JSON as it is.
    pub fn as_value(&self) -> &Value {
        &self.0
    }
}

impl From<Value> for Position {
    fn from(value: Value) -> Self {
        Self(value)
    }
}
