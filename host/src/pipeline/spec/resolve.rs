//! Checks a side of the file against what its connector declares, and takes the secrets out of it.

use std::{collections::BTreeMap, path::Path};

use hub_plugin_api::{Config, ConnectorSpec, Error, Parameter, ParameterKind, Role, Strategy, Value};

use super::{
    EndpointSpec, PipelineFile, PipelineSpec, SecretReference,
    fields::suggestion,
    file::Side,
    problem::{FileError, Place, Problem},
    references,
    tree::{Entry, Node, NodeValue, join},
};

impl PipelineFile {
    /// The pipeline, checked against both connectors' manifests.
    ///
    /// # Errors
    /// Everything that is wrong on either side, at the lines of the fields at fault.
    pub fn resolve(
        &self,
        source: &ConnectorSpec,
        destination: &ConnectorSpec,
    ) -> Result<PipelineSpec, FileError> {
        let mut problems = Vec::new();
        let source = resolve_side(&self.source, Role::Source, source, &self.folder, &mut problems);
        let destination =
            resolve_side(&self.destination, Role::Destination, destination, &self.folder, &mut problems);
        FileError::unless_empty(&self.file, problems)?;
        Ok(PipelineSpec {
            version: super::FILE_VERSION,
            name: self.name.clone(),
            source,
            destination,
            commit: self.commit,
            on_rejected: self.on_rejected,
            on_lost_snapshot: self.on_lost_snapshot,
            allow_duplicates: self.allow_duplicates,
            lanes: self.lanes,
            parallel: self.parallel,
            retry: self.retry,
        })
    }

    /// The pipeline, checked against the manifests of the connectors that it names, which `find` looks up.
    ///
    /// # Errors
    /// A connector that `find` does not know, and everything that is wrong otherwise.
    pub fn resolve_with(
        &self,
        find: impl Fn(&str) -> Result<ConnectorSpec, Error>,
    ) -> Result<PipelineSpec, FileError> {
        match (find(self.connector(Role::Source)), find(self.connector(Role::Destination))) {
            (Ok(source), Ok(destination)) => self.resolve(&source, &destination),
            (source, destination) => {
                let problems =
                    [(Role::Source, source), (Role::Destination, destination)].map(|(role, found)| {
                        let wrong = match found {
                            Ok(connector) => self.resolve_side(role, &connector).err(),
                            Err(error) => Some(self.unknown_connector(role, &error)),
                        };
                        wrong.map_or_else(Vec::new, |error| error.problems)
                    });
                Err(FileError::new(&self.file, problems.concat()))
            }
        }
    }

    /// One side, checked against its connector's manifest.
    ///
    /// # Errors
    /// Everything that is wrong on that side.
    pub fn resolve_side(&self, role: Role, connector: &ConnectorSpec) -> Result<EndpointSpec, FileError> {
        let mut problems = Vec::new();
        let endpoint = resolve_side(self.side(role), role, connector, &self.folder, &mut problems);
        FileError::unless_empty(&self.file, problems)?;
        Ok(endpoint)
    }
}

fn resolve_side(
    side: &Side,
    role: Role,
    connector: &ConnectorSpec,
    folder: &Path,
    problems: &mut Vec<Problem>,
) -> EndpointSpec {
    let strategy = find_strategy(side, role, connector, problems);
    let mut secrets = BTreeMap::new();
    let config = Values {
        parameters: &connector.parameters,
        node: side.config.as_ref(),
        path: join(side.path, "config"),
        elsewhere: strategy.map_or(&[], |strategy| strategy.options.as_slice()),
        elsewhere_is: "options",
        missing_place: side.connector_place,
        folder,
    };
    let id = strategy.map(|strategy| strategy.id.clone());
    let config = config.read(&mut secrets, |given| connector.validate(given, id.as_deref()), problems);
    let options = strategy.map_or_else(Config::new, |strategy| {
        let options = Values {
            parameters: &strategy.options,
            node: side.options.as_ref(),
            path: join(side.path, "options"),
            elsewhere: &connector.parameters,
            elsewhere_is: "config",
            missing_place: side.connector_place,
            folder,
        };
        options.read(&mut secrets, |given| strategy.validate(given), problems)
    });
    EndpointSpec {
        connector: side.connector.clone(),
        config,
        secrets,
        strategy: id.unwrap_or_default(),
        options,
    }
}

fn find_strategy<'a>(
    side: &Side,
    role: Role,
    connector: &'a ConnectorSpec,
    problems: &mut Vec<Problem>,
) -> Option<&'a Strategy> {
    let (found, place) = match &side.strategy {
        Some((id, place)) => (connector.find_strategy(id), *place),
        None => (connector.default_strategy(role), side.connector_place),
    };
    let field = if side.strategy.is_some() { "strategy" } else { "connector" };
    match found {
        Ok(strategy) if strategy.role == role => Some(strategy),
        Ok(strategy) => {
            let does = if role == Role::Source {
                "writes, so it cannot be a source"
            } else {
                "reads, so it cannot be a destination"
            };
            let fitting: Vec<_> = connector
                .strategies
                .iter()
                .filter(|one| one.role == role)
                .map(|one| one.id.as_str())
                .collect();
            let hint = if fitting.is_empty() {
                "The connector has none for this side".into()
            } else {
                format!("There are: {}", fitting.join(", "))
            };
            let message = format!("Strategy `{}` {does}", strategy.id);
            problems.push(Problem::new(place, join(side.path, field), message).with_hint(hint));
            None
        }
        Err(error) => {
            problems.push(with_hint_of(
                Problem::new(place, join(side.path, field), error.message.clone()),
                &error,
            ));
            None
        }
    }
}

/// The values under `config` or `options`, and what the manifest says about them.
struct Values<'a> {
    parameters: &'a [Parameter],
    node: Option<&'a Node>,
    path: String,
    /// What is declared under the other of the two, for a hint.
    elsewhere: &'a [Parameter],
    elsewhere_is: &'static str,
    missing_place: Place,
    folder: &'a Path,
}

impl Values<'_> {
    /// The values as the user gave them, without secrets, which go into `secrets`.
    fn read(
        &self,
        secrets: &mut BTreeMap<String, SecretReference>,
        validate: impl Fn(&Config) -> Result<Config, Error>,
        problems: &mut Vec<Problem>,
    ) -> Config {
        let mut config = Config::new();
        // What validation sees: the same, with a mark where a secret is given.
        let mut marked = Config::new();
        for entry in self.entries() {
            if matches!(entry.node.value, NodeValue::Null) {
                continue;
            }
            let Some(parameter) = self.parameters.iter().find(|parameter| parameter.id == entry.key) else {
                problems.push(self.unknown(entry));
                continue;
            };
            match self.value(entry, parameter) {
                Ok(Given::Value(value)) => {
                    config.set(&entry.key, value.clone());
                    marked.set(&entry.key, value);
                }
                Ok(Given::Secret(reference)) => {
                    secrets.insert(entry.key.clone(), reference);
                    marked.set(&entry.key, true);
                }
                Err(problem) => {
                    problems.push(problem);
                    // Given, though wrong: not missing as well.
                    marked.set(&entry.key, entry.node.to_json());
                }
            }
        }
        self.validate(marked, validate, problems);
        config
    }

    fn entries(&self) -> &[Entry] {
        match self.node.map(|node| &node.value) {
            Some(NodeValue::Map(entries)) => entries,
            _ => &[],
        }
    }

    fn value(&self, entry: &Entry, parameter: &Parameter) -> Result<Given, Problem> {
        let path = join(&self.path, &entry.key);
        let wrong = |place, path: &str, (message, hint): references::Wrong| {
            Problem::new(place, path, message).with_hint(hint)
        };
        match (&parameter.kind, &entry.node.value) {
            (ParameterKind::Password, NodeValue::Text(text)) => {
                let reference = references::secret(text, self.folder);
                let checked =
                    reference.and_then(|reference| references::check(&reference).map(|()| reference));
                checked.map(Given::Secret).map_err(|error| wrong(entry.node.place, &path, error))
            }
            (ParameterKind::Password, _) => {
                let message = format!("It must be text, not {}", entry.node.kind());
                Err(Problem::new(entry.node.place, path, message).with_hint("Put the value in quotes"))
            }
            (ParameterKind::File, NodeValue::Text(text)) => references::path(text, self.folder)
                .map(|path| Given::Value(path.to_string_lossy().into_owned().into()))
                .map_err(|error| wrong(entry.node.place, &path, error)),
            _ => {
                let mut found = None;
                entry.node.each_text(&path, &mut |path, place, text| {
                    if references::is_in(text) && found.is_none() {
                        let message = "A reference `${…}` stands only in passwords and paths of files".into();
                        let hint = format!("Write the value itself: `{}` is neither", parameter.id);
                        found = Some(wrong(place, path, (message, hint)));
                    }
                });
                found.map_or_else(|| Ok(Given::Value(entry.node.to_json())), Err)
            }
        }
    }

    fn unknown(&self, entry: &Entry) -> Problem {
        let known: Vec<_> = self.parameters.iter().map(|parameter| parameter.id.as_str()).collect();
        let hint = if self.elsewhere.iter().any(|parameter| parameter.id == entry.key) {
            format!("It belongs under `{}`", self.elsewhere_is)
        } else if known.is_empty() {
            "There are none".into()
        } else {
            suggestion(&entry.key, &known)
        };
        let message = format!("There is no parameter `{}` here", entry.key);
        Problem::new(entry.place, join(&self.path, &entry.key), message).with_hint(hint)
    }

    /// Validation stops at the first fault, so it is asked again without the field at fault.
    fn validate(
        &self,
        mut marked: Config,
        validate: impl Fn(&Config) -> Result<Config, Error>,
        problems: &mut Vec<Problem>,
    ) {
        let mut reported = Vec::new();
        while let Err(error) = validate(&marked) {
            let field = error.field.clone().unwrap_or_default();
            if reported.contains(&field) {
                return;
            }
            let path = join(&self.path, &field);
            let entry = self.entries().iter().find(|entry| entry.key == field);
            let place = entry.map_or_else(
                || self.node.map_or(self.missing_place, |node| node.place),
                |entry| entry.node.place,
            );
            if !problems.iter().any(|problem| problem.place == Some(place) && problem.field == path) {
                let problem = with_hint_of(Problem::new(place, &path, error.message.clone()), &error);
                problems.push(match entry {
                    Some(entry) if problem.hint.is_none() && self.needs_quotes(entry) => {
                        problem.with_hint("Put the value in quotes")
                    }
                    _ => problem,
                });
            }
            if entry.is_none() {
                return;
            }
            let rest = marked.iter().filter(|(id, _)| **id != field);
            marked = rest.map(|(id, value)| (id.clone(), value.clone())).collect();
            reported.push(field);
        }
    }

    fn needs_quotes(&self, entry: &Entry) -> bool {
        let is_text = |parameter: &Parameter| {
            !matches!(
                parameter.kind,
                ParameterKind::Number
                    | ParameterKind::Boolean
                    | ParameterKind::List
                    | ParameterKind::Structured
            )
        };
        matches!(entry.node.value, NodeValue::Number(_) | NodeValue::Boolean(_))
            && self.parameters.iter().any(|parameter| parameter.id == entry.key && is_text(parameter))
    }
}

enum Given {
    Value(Value),
    Secret(SecretReference),
}

fn with_hint_of(problem: Problem, error: &Error) -> Problem {
    match &error.hint {
        Some(hint) => problem.with_hint(hint),
        None => problem,
    }
}
