use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Config, Error, Result,
    parameter::{Group, Parameter, check_value},
};

/// What a connector connects to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectorKind {
    /// A relational database.
    #[default]
    Relational,
    /// A document or key-value database.
    NonRelational,
    /// Files.
    File,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// Whether a strategy reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads.
    Source,
    /// Writes.
    Destination,
}

/// Whether a strategy ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It ends.
    Batch,
    /// It goes on until it is stopped.
    Stream,
}

/// What is promised about each row, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// It may be missed.
    AtMostOnce,
    /// It may come twice.
    AtLeastOnce,
    /// Its effect is there once.
    EffectivelyOnce,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AtMostOnce => "at most once",
            Self::AtLeastOnce => "at least once",
            Self::EffectivelyOnce => "effectively once",
        })
    }
}

/// A way of reading from a database or writing to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Strategy {
    /// `query`, `wal`, `write` …
    pub id: String,
    /// As a form shows it.
    pub label: String,
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// Whether it reads or writes.
    pub role: Role,
    /// Whether it ends.
    pub mode: Mode,
    /// The weakest promise over all options.
    pub guarantee: Guarantee,
    /// What it needs beyond the connection's parameters.
    #[serde(default)]
    pub options: Vec<Parameter>,
}

impl Strategy {
    /// A strategy that reads and ends.
    pub fn source(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            label: label.into(),
            description: String::new(),
            role: Role::Source,
            mode: Mode::Batch,
            guarantee: Guarantee::AtLeastOnce,
            options: Vec::new(),
        }
    }

    /// A strategy that writes.
    pub fn destination(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self { role: Role::Destination, ..Self::source(id, label) }
    }

    /// The same strategy, which goes on until it is stopped.
    #[must_use]
    pub fn streaming(mut self) -> Self {
        self.mode = Mode::Stream;
        self
    }

    /// The same strategy with its weakest promise.
    #[must_use]
    pub fn guarantee(mut self, guarantee: Guarantee) -> Self {
        self.guarantee = guarantee;
        self
    }

    /// The same strategy with a sentence about it.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// The same strategy with one more option.
    #[must_use]
    pub fn option(mut self, option: Parameter) -> Self {
        self.options.push(option);
        self
    }

    /// Checks options against what is declared, and fills in the defaults.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidConfig`] with the field.
    pub fn validate(&self, options: &Config) -> Result<Config> {
        validate(&self.options, options, None, &format!("strategy `{}`", self.id))
    }
}

/// What a connector declares. CLI help, JSON Schema, REST API and web form all come from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectorSpec {
    /// Lower case, words joined by `-`.
    pub id: String,
    /// As a form shows it.
    pub label: String,
    /// What it connects to.
    #[serde(default)]
    pub kind: ConnectorKind,
    /// In the order in which a form shows them.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// In the order in which a form shows them; the first that reads is the default.
    #[serde(default)]
    pub strategies: Vec<Strategy>,
    /// Whether its connections answer [`crate::Connection::query`]: the host then offers custom functions for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub queries: bool,
    /// What a sandboxed connector must reach: `host:port`, where `{id}` stands for a parameter's value, or `{id}`
    /// alone for the host and port of an address. Without effect for a native library.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<String>,
}

impl ConnectorSpec {
    /// A connector without parameters and strategies.
    pub fn new(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            label: label.into(),
            kind: ConnectorKind::default(),
            parameters: Vec::new(),
            strategies: Vec::new(),
            queries: false,
            network: Vec::new(),
        }
    }

    /// The same connector, of another kind.
    #[must_use]
    pub fn kind(mut self, kind: ConnectorKind) -> Self {
        self.kind = kind;
        self
    }

    /// The same connector with one more parameter.
    #[must_use]
    pub fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// The same connector with one more strategy.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategies.push(strategy);
        self
    }

    /// The same connector, whose connections answer [`crate::Connection::query`].
    #[must_use]
    pub fn answers_queries(mut self) -> Self {
        self.queries = true;
        self
    }

    /// The same connector with one more pair of host and port that it must reach; see [`ConnectorSpec::network`].
    #[must_use]
    pub fn reaches(mut self, host_and_port: impl Into<String>) -> Self {
        self.network.push(host_and_port.into());
        self
    }

    /// A strategy by id.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidConfig`], which lists those that there are.
    pub fn find_strategy(&self, id: &str) -> Result<&Strategy> {
        self.strategies.iter().find(|strategy| strategy.id == id).ok_or_else(|| {
            let known: Vec<_> = self.strategies.iter().map(|strategy| strategy.id.as_str()).collect();
            Error::config("strategy", format!("Connector `{}` has no strategy `{id}`", self.id))
                .with_hint(format!("It has: {}", known.join(", ")))
        })
    }

    /// The strategy that a source or destination without one has.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidConfig`] when the connector has none of this role.
    pub fn default_strategy(&self, role: Role) -> Result<&Strategy> {
        self.strategies.iter().find(|strategy| strategy.role == role).ok_or_else(|| {
            let verb = if role == Role::Source { "read" } else { "write" };
            Error::config("connector", format!("Connector `{}` cannot {verb}", self.id))
        })
    }

    /// Checks a connection's parameters against what is declared, and fills in the defaults. Secrets are in
    /// `config` only as a mark that there is one; required ones count as given then.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidConfig`] with the field.
    pub fn validate(&self, config: &Config, strategy: Option<&str>) -> Result<Config> {
        validate(&self.parameters, config, strategy, &format!("connector `{}`", self.id))
    }

    /// Fails when the manifest contradicts itself.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Protocol`] with what is wrong.
    pub fn check(&self) -> Result<()> {
        let wrong =
            |what: String| Error::new(crate::ErrorKind::Protocol, format!("Connector `{}`: {what}", self.id));
        if !is_id(&self.id, '-') {
            return Err(wrong("its id must be lower case letters, digits and `-`".into()));
        }
        if self.label.is_empty() || self.strategies.is_empty() {
            return Err(wrong("a label and at least one strategy are needed".into()));
        }
        check_parameters(&self.parameters).map_err(wrong)?;
        for (index, strategy) in self.strategies.iter().enumerate() {
            if !is_id(&strategy.id, '-') || self.strategies[..index].iter().any(|one| one.id == strategy.id) {
                return Err(wrong(format!("strategy id `{}` is invalid or there twice", strategy.id)));
            }
            check_parameters(&strategy.options)
                .map_err(|what| wrong(format!("strategy `{}`: {what}", strategy.id)))?;
        }
        Ok(())
    }
}

fn is_id(id: &str, joint: char) -> bool {
    !id.is_empty() && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == joint)
}

fn check_parameters(parameters: &[Parameter]) -> Result<(), String> {
    for (index, parameter) in parameters.iter().enumerate() {
        let id = &parameter.id;
        if !is_id(id, '_') || parameters[..index].iter().any(|one| one.id == *id) {
            return Err(format!("parameter id `{id}` is invalid or there twice"));
        }
        if let Some(default) = &parameter.default {
            check_value(parameter, default).map_err(|error| format!("default of `{id}`: {error}"))?;
        }
        if parameter.group == Group::Advanced && parameter.required {
            return Err(format!("parameter `{id}` is advanced, so it cannot be required"));
        }
    }
    Ok(())
}

fn validate(parameters: &[Parameter], given: &Config, strategy: Option<&str>, whose: &str) -> Result<Config> {
    for (id, _) in given.iter() {
        if !parameters.iter().any(|parameter| parameter.id == *id) {
            let known: Vec<_> = parameters.iter().map(|parameter| parameter.id.as_str()).collect();
            let hint = match closest(id, &known) {
                Some(close) => format!("Did you mean `{close}`?"),
                None if known.is_empty() => "It takes none".into(),
                None => format!("It takes: {}", known.join(", ")),
            };
            return Err(Error::config(id, format!("The {whose} has no parameter `{id}`")).with_hint(hint));
        }
    }
    let mut complete = Config::new();
    for parameter in parameters {
        match given.get(&parameter.id).or(parameter.default.as_ref()) {
            Some(value) if parameter.required && value == "" => {
                return Err(Error::config(
                    &parameter.id,
                    format!("`{}` ({}) must not be empty", parameter.id, parameter.label),
                ));
            }
            Some(value) => {
                check_value(parameter, value)?;
                complete.set(&parameter.id, value.clone());
            }
            None if parameter.required && parameter.applies(strategy) => {
                return Err(Error::config(
                    &parameter.id,
                    format!("`{}` ({}) is required by the {whose}", parameter.id, parameter.label),
                ));
            }
            None => {}
        }
    }
    Ok(complete)
}

/// The known name that a mistyped one is nearest to: at most two edits away.
fn closest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |a: &str, b: &str| {
        let b: Vec<char> = b.chars().collect();
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, left) in a.chars().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], i + 1);
            for (j, right) in b.iter().enumerate() {
                let next = (diagonal + usize::from(left != *right)).min(row[j] + 1).min(row[j + 1] + 1);
                diagonal = std::mem::replace(&mut row[j + 1], next);
            }
        }
        row[b.len()]
    };
    known
        .iter()
        .map(|name| (distance(given, name), *name))
        .filter(|(edits, _)| *edits <= 2)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ConnectorSpec {
        ConnectorSpec::new("demo", "Demo")
            .parameter(Parameter::text("host", "Host").default("localhost"))
            .parameter(Parameter::number("port", "Port").default(1).range(1, 65535))
            .parameter(Parameter::text("user", "User").required())
            .parameter(Parameter::number("server_id", "Server ID").required().applies_to(&["log"]))
            .strategy(Strategy::source("query", "By Query"))
    }

    #[test]
    fn defaults_are_filled_in_and_requirements_follow_the_strategy() {
        let config = spec().validate(&Config::new().with("user", "u"), Some("query")).unwrap();
        assert_eq!((config.text("host"), config.integer("port")), (Some("localhost"), Some(1)));
        let error = spec().validate(&Config::new().with("user", "u"), Some("log")).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("server_id"));
    }

    #[test]
    fn what_is_wrong_names_the_field_and_the_fix() {
        for (given, field, text) in [
            (Config::new().with("port", 0), "port", "`port` must be from 1 to 65535, not `0`"),
            (Config::new().with("port", "x"), "port", "`port` must be a whole number, not `\"x\"`"),
            (Config::new().with("hots", "x"), "hots", "The connector `demo` has no parameter `hots`"),
            (Config::new(), "user", "`user` (User) is required by the connector `demo`"),
            (Config::new().with("user", ""), "user", "`user` (User) must not be empty"),
        ] {
            let error = spec().validate(&given, None).unwrap_err();
            assert_eq!((error.field.as_deref(), error.message.as_str()), (Some(field), text));
        }
        let error = spec().validate(&Config::new().with("hots", "x"), None).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("Did you mean `host`?"));
    }

    #[test]
    fn manifest_that_contradicts_itself_is_refused() {
        assert!(spec().check().is_ok());
        let twice = spec().parameter(Parameter::text("host", "Host"));
        assert!(twice.check().unwrap_err().message.contains("`host` is invalid or there twice"));
        let default = spec().parameter(Parameter::number("n", "N").default(9).range(1, 2));
        assert!(default.check().unwrap_err().message.contains("default of `n`"));
    }
}
