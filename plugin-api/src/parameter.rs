use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// What a form shows for a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ParameterKind {
    /// One line.
    Text,
    /// Several lines.
    Multiline,
    /// A whole number.
    Number,
    /// A secret.
    Password,
    /// Yes or no.
    Boolean,
    /// One of several: pairs of id and label.
    Dropdown(Vec<(String, String)>),
    /// Several texts.
    List,
    /// The path of a file.
    File,
    /// A list of objects or an object; its shape is in the description.
    Structured,
}

/// Where a form shows a parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// At once.
    #[default]
    Standard,
    /// On request; optional, with a default that needs no thought.
    Advanced,
}

/// A parameter of a connection, or an option of a strategy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Lower case, words joined by `_`.
    pub id: String,
    /// As a form shows it.
    pub label: String,
    /// What a form shows.
    pub kind: ParameterKind,
    /// The value when the user gives none.
    #[serde(default)]
    pub default: Option<Value>,
    /// Whether the user must give one.
    #[serde(default)]
    pub required: bool,
    /// One sentence, with the unit.
    #[serde(default)]
    pub description: String,
    /// The least number.
    #[serde(default)]
    pub min: Option<i64>,
    /// The greatest number.
    #[serde(default)]
    pub max: Option<i64>,
    /// Where a form shows it.
    #[serde(default)]
    pub group: Group,
    /// Ids of the strategies that it matters for; empty: all.
    #[serde(default)]
    pub applies_to: Vec<String>,
}

impl Parameter {
    /// A parameter of a kind.
    pub fn new(id: impl Into<String>, label: impl Into<String>, kind: ParameterKind) -> Self {
        Self {
            id: id.into(),
            label: label.into(),
            kind,
            default: None,
            required: false,
            description: String::new(),
            min: None,
            max: None,
            group: Group::Standard,
            applies_to: Vec::new(),
        }
    }

    /// One line of text.
    pub fn text(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(id, label, ParameterKind::Text)
    }

    /// Several lines of text.
    pub fn multiline(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(id, label, ParameterKind::Multiline)
    }

    /// A whole number.
    pub fn number(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(id, label, ParameterKind::Number)
    }

    /// A secret.
    pub fn password(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(id, label, ParameterKind::Password)
    }

    /// Yes or no.
    pub fn boolean(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(id, label, ParameterKind::Boolean)
    }

    /// One of several: pairs of id and label.
    pub fn dropdown(id: impl Into<String>, label: impl Into<String>, options: &[(&str, &str)]) -> Self {
        let options = options.iter().map(|(id, label)| (String::from(*id), String::from(*label))).collect();
        Self::new(id, label, ParameterKind::Dropdown(options))
    }

    /// Several texts.
    pub fn list(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(id, label, ParameterKind::List)
    }

    /// The path of a file.
    pub fn file(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(id, label, ParameterKind::File)
    }

    /// A list of objects or an object.
    pub fn structured(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(id, label, ParameterKind::Structured)
    }

    /// The same parameter with a default.
    #[must_use]
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// The same parameter, which the user must give.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same parameter with a sentence about it.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// The same parameter within bounds.
    #[must_use]
    pub fn range(mut self, min: i64, max: i64) -> Self {
        (self.min, self.max) = (Some(min), Some(max));
        self
    }

    /// The same parameter, shown on request.
    #[must_use]
    pub fn advanced(mut self) -> Self {
        self.group = Group::Advanced;
        self
    }

    /// The same parameter, for some strategies only.
    #[must_use]
    pub fn applies_to(mut self, strategies: &[&str]) -> Self {
        self.applies_to = strategies.iter().map(|id| String::from(*id)).collect();
        self
    }

    /// Whether it matters for a strategy; without one, for any.
    pub(crate) fn applies(&self, strategy: Option<&str>) -> bool {
        self.applies_to.is_empty() || strategy.is_none_or(|id| self.applies_to.iter().any(|one| one == id))
    }
}

/// Fails unless a value is what a parameter takes.
///
/// # Errors
/// [`crate::ErrorKind::InvalidConfig`] with the field.
pub(crate) fn check_value(parameter: &Parameter, value: &Value) -> Result<()> {
    let id = &parameter.id;
    let expected = |what: &str| Error::config(id, format!("`{id}` must be {what}, not `{value}`"));
    match &parameter.kind {
        ParameterKind::Text | ParameterKind::Multiline | ParameterKind::File if !value.is_string() => {
            return Err(expected("text"));
        }
        ParameterKind::Password if !value.is_string() && !value.is_boolean() => {
            return Err(Error::config(id, format!("`{id}` must be text")));
        }
        ParameterKind::Boolean if !value.is_boolean() => return Err(expected("true or false")),
        ParameterKind::Number => {
            let number = value.as_i64().ok_or_else(|| expected("a whole number"))?;
            let (min, max) = (parameter.min.unwrap_or(i64::MIN), parameter.max.unwrap_or(i64::MAX));
            if number < min || number > max {
                return Err(expected(&match (parameter.min, parameter.max) {
                    (Some(min), Some(max)) => format!("from {min} to {max}"),
                    (Some(min), None) => format!("at least {min}"),
                    _ => format!("at most {max}"),
                }));
            }
        }
        ParameterKind::Dropdown(options) if !options.iter().any(|(option, _)| value == option.as_str()) => {
            let ids: Vec<_> = options.iter().map(|(option, _)| option.as_str()).collect();
            return Err(expected(&format!("one of {}", ids.join(", "))));
        }
        ParameterKind::List if !value.as_array().is_some_and(|items| items.iter().all(Value::is_string)) => {
            let error = expected("a list of texts");
            return Err(match value.as_str() {
                Some(text) => error.with_hint(format!("Write `[{text}]`")),
                None => error,
            });
        }
        ParameterKind::Structured if !value.is_array() && !value.is_object() => {
            return Err(expected("a list or an object"));
        }
        _ => {}
    }
    Ok(())
}
