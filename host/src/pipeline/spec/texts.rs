//! An endpoint given as texts, `host=db`, where no file is.

use std::{collections::BTreeMap, path::Path};

use hub_plugin_api::{Config, ConnectorSpec, Error, Parameter, ParameterKind, Result, Role, Value};

use super::{EndpointSpec, SecretReference, references};

/// Pairs of a parameter's id and its value as text.
pub type Texts<'a> = &'a [(String, String)];

impl EndpointSpec {
    /// An endpoint from texts, each read as its parameter's kind says: numbers and `true` or `false` as such, lists
    /// as `a,b` or JSON, structured ones as JSON. Relative paths start at `folder`. References may stand where they
    /// may in a file.
    ///
    /// # Errors
    /// What the manifest says against it, with the field.
    pub fn from_texts(
        connector: &ConnectorSpec,
        reference: &str,
        strategy: Option<&str>,
        config: Texts<'_>,
        options: Texts<'_>,
        folder: &Path,
    ) -> Result<Self> {
        let strategy = match strategy {
            Some(id) => connector.find_strategy(id)?,
            None => connector
                .default_strategy(Role::Source)
                .or_else(|_| connector.default_strategy(Role::Destination))?,
        };
        let mut secrets = BTreeMap::new();
        let config = read(&connector.parameters, config, folder, &mut secrets)?;
        let options = read(&strategy.options, options, folder, &mut secrets)?;
        let mut marked = config.clone();
        for id in secrets.keys() {
            marked.set(id, true);
        }
        connector.validate(&marked, Some(&strategy.id))?;
        Ok(Self { connector: reference.to_owned(), config, secrets, strategy: strategy.id.clone(), options })
    }
}

fn read(
    parameters: &[Parameter],
    texts: Texts<'_>,
    folder: &Path,
    secrets: &mut BTreeMap<String, SecretReference>,
) -> Result<Config> {
    let mut config = Config::new();
    for (id, text) in texts {
        let wrong = |(message, hint): references::Wrong| {
            Error::config(id, format!("`{id}`: {message}")).with_hint(hint)
        };
        let kind = parameters.iter().find(|parameter| parameter.id == *id).map(|parameter| &parameter.kind);
        let is_plain = !matches!(kind, Some(ParameterKind::Password | ParameterKind::File));
        if is_plain && references::is_in(text) {
            return Err(Error::config(id, format!("`{id}` holds a reference `${{…}}`"))
                .with_hint("References stand only in passwords and paths of files"));
        }
        match kind {
            Some(ParameterKind::Password) => {
                let reference = references::secret(text, folder).map_err(wrong)?;
                references::check(&reference).map_err(wrong)?;
                secrets.insert(id.clone(), reference);
            }
            Some(ParameterKind::File) => {
                let path = references::path(text, folder).map_err(wrong)?;
                config.set(id, path.to_string_lossy().into_owned());
            }
            // An unknown id is the manifest's to refuse.
            kind => config.set(id, value(id, kind, text)?),
        }
    }
    Ok(config)
}

/// A text as its kind says; what does not fit stays text, and validation refuses it.
fn value(id: &str, kind: Option<&ParameterKind>, text: &str) -> Result<Value> {
    let as_text = || Value::String(text.to_owned());
    let as_json = || {
        serde_json::from_str(text)
            .map_err(|error| Error::config(id, format!("`{id}` is not valid JSON: {error}")))
    };
    Ok(match kind {
        Some(ParameterKind::Number) => text.parse::<i64>().map_or_else(|_| as_text(), Value::from),
        Some(ParameterKind::Boolean) => text.parse::<bool>().map_or_else(|_| as_text(), Value::from),
        Some(ParameterKind::List) if text.trim_start().starts_with('[') => as_json()?,
        Some(ParameterKind::List) => text.split(',').map(|item| Value::from(item.trim())).collect(),
        Some(ParameterKind::Structured) => as_json()?,
        _ => as_text(),
    })
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::{Strategy, json};

    use super::*;

    fn spec() -> ConnectorSpec {
        ConnectorSpec::new("demo", "Demo")
            .parameter(Parameter::text("host", "Host"))
            .parameter(Parameter::number("port", "Port"))
            .parameter(Parameter::boolean("replica", "Replica"))
            .parameter(Parameter::file("file", "File"))
            .parameter(Parameter::password("password", "Password").required())
            .strategy(
                Strategy::source("query", "By Query")
                    .option(Parameter::list("cursor", "Cursor"))
                    .option(Parameter::structured("templates", "Templates")),
            )
    }

    fn pairs(texts: &[(&str, &str)]) -> Vec<(String, String)> {
        texts.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn texts_are_read_as_their_kind_says() {
        let config =
            pairs(&[("host", "10"), ("port", "10"), ("replica", "true"), ("file", "a"), ("password", "p")]);
        let options = pairs(&[("cursor", "a, b"), ("templates", "[{\"on\": \"insert\"}]")]);
        let spec =
            EndpointSpec::from_texts(&spec(), "demo", None, &config, &options, Path::new("/x")).unwrap();
        let expected = json!({"host": "10", "port": 10, "replica": true, "file": "/x/a"});
        assert_eq!(serde_json::to_value(&spec.config).unwrap(), expected);
        let expected = json!({"cursor": ["a", "b"], "templates": [{"on": "insert"}]});
        assert_eq!(serde_json::to_value(&spec.options).unwrap(), expected);
        assert!(spec.secrets.contains_key("password"));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_field() {
        for (config, field) in [
            (vec![("port", "x"), ("password", "p")], "port"),
            (vec![("hots", "x"), ("password", "p")], "hots"),
            (vec![("host", "x")], "password"),
            (vec![("host", "${env:HOST}"), ("password", "p")], "host"),
            (vec![("password", "${env:CONNECTOR_HUB_NEVER_SET}")], "password"),
        ] {
            let error =
                EndpointSpec::from_texts(&spec(), "demo", None, &pairs(&config), &[], Path::new("/x"));
            assert_eq!(error.unwrap_err().field.as_deref(), Some(field));
        }
    }
}
