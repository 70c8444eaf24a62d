use std::{collections::BTreeMap, path::PathBuf};

use hub_plugin_api::{Config, Secret, Value};

use crate::pipeline::{EndpointSpec, SecretReference};

/// A connection's parameters. Made by [`config!`](crate::config).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionConfig {
    values: Config,
    secrets: BTreeMap<String, SecretReference>,
}

/// One value of [`config!`](crate::config): a plain one, or where a secret is found.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigValue(Kind);

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Plain(Value),
    Secret(SecretReference),
}

/// The value of an environment variable, read when the connection is made.
pub fn env(name: impl Into<String>) -> ConfigValue {
    ConfigValue(Kind::Secret(SecretReference::Env(name.into())))
}

/// The content of a file without its final line break, read when the connection is made.
pub fn file(path: impl Into<PathBuf>) -> ConfigValue {
    ConfigValue(Kind::Secret(SecretReference::File(path.into())))
}

/// A secret that the program has at hand.
pub fn secret(value: impl Into<String>) -> ConfigValue {
    ConfigValue(Kind::Secret(SecretReference::Literal(Secret::new(value))))
}

impl<V: Into<Value>> From<V> for ConfigValue {
    fn from(value: V) -> Self {
        Self(Kind::Plain(value.into()))
    }
}

impl ConnectionConfig {
    /// Without any parameter.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same parameters and one more.
    #[must_use]
    pub fn with(mut self, id: impl Into<String>, value: impl Into<ConfigValue>) -> Self {
        match value.into().0 {
            Kind::Plain(value) => self.values.set(id, value),
            Kind::Secret(reference) => {
                self.secrets.insert(id.into(), reference);
            }
        }
        self
    }

    pub(crate) fn endpoint(self, connector: &str) -> EndpointSpec {
        EndpointSpec {
            connector: connector.to_owned(),
            config: self.values,
            secrets: self.secrets,
            strategy: String::new(),
            options: Config::new(),
        }
    }
}

/// A connection's parameters by id: texts, numbers, lists, and [`env`](crate::env), [`file`](crate::file) or
/// [`secret`](crate::secret) for secrets.
///
/// ```
/// use connector_hub::{config, env};
///
/// let parameters = config! { "host": "localhost", "port": 5432, "password": env("PGPASSWORD") };
/// ```
#[macro_export]
macro_rules! config {
    ($($id:literal : $value:expr),* $(,)?) => {
        $crate::ConnectionConfig::new()$(.with($id, $crate::ConfigValue::from($value)))*
    };
}
