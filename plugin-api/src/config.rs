use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// A connection's parameters or a strategy's options, by id, checked against the manifest and with every default
/// filled in by the host. Holds no secret: a plugin asks [`crate::Context::secret`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Config(Map<String, Value>);

impl Config {
    /// Without any value.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same config with one more value.
    #[must_use]
    pub fn with(mut self, id: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.insert(id.into(), value.into());
        self
    }

    /// Sets a value.
    pub fn set(&mut self, id: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(id.into(), value.into());
    }

    /// The value of a parameter; null counts as absent.
    pub fn get(&self, id: &str) -> Option<&Value> {
        self.0.get(id).filter(|value| !value.is_null())
    }

    /// All values.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }

    /// A text, absent when empty.
    pub fn text(&self, id: &str) -> Option<&str> {
        self.get(id).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidConfig`] with the field.
    pub fn required_text(&self, id: &str) -> Result<&str> {
        self.text(id).ok_or_else(|| Error::config(id, format!("`{id}` is required")))
    }

    /// A whole number.
    pub fn integer(&self, id: &str) -> Option<i64> {
        self.get(id).and_then(Value::as_i64)
    }

    /// Yes or no; absent is no.
    pub fn boolean(&self, id: &str) -> bool {
        self.get(id).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A list of texts; absent is empty.
    pub fn list(&self, id: &str) -> Vec<String> {
        let items = self.get(id).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
    }

    /// All values as a struct of the connector's own.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidConfig`] with serde's reason.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        let present = self.0.iter().filter(|(_, value)| !value.is_null());
        let object = Value::Object(present.map(|(id, value)| (id.clone(), value.clone())).collect());
        serde_json::from_value(object).map_err(|error| {
            Error::new(crate::ErrorKind::InvalidConfig, "The configuration cannot be read")
                .with_source(&error)
        })
    }
}

impl From<Map<String, Value>> for Config {
    fn from(values: Map<String, Value>) -> Self {
        Self(values)
    }
}

impl FromIterator<(String, Value)> for Config {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// A password, a key, a token: no Display, no clear Debug, no serialisation.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that must not be shown.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that sends it to the server.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(***)");
    }

    #[test]
    fn null_and_empty_text_count_as_absent() {
        let config = Config::new().with("a", Value::Null).with("b", "").with("c", "x");
        assert_eq!((config.text("a"), config.text("b"), config.text("c")), (None, None, Some("x")));
        assert_eq!(config.required_text("b").unwrap_err().field.as_deref(), Some("b"));
    }
}
