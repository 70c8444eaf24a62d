//! What `check`, `discover` and `preview` work on: a side of a pipeline file, or a connector with its parameters.

use std::{env, path::Path};

use clap::Args;
use connector_hub::{
    api::Role,
    pipeline::{EndpointSpec, PipelineFile},
};

use super::{exit::Failure, setup::Setup};

/// Names one or both sides of a pipeline file, or a connector.
#[derive(Args)]
pub struct EndpointArguments {
    /// A pipeline file (`FILE`, `FILE#source`, `FILE#destination`), or a connector (`sqlite`, `postgres@^1`)
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// A parameter of the connector; a password may be `${env:NAME}` or `${file:PATH}`
    #[arg(long, value_name = "ID=VALUE")]
    set: Vec<String>,
    /// The strategy; without it the connector's first one that reads
    #[arg(long, value_name = "ID")]
    strategy: Option<String>,
    /// An option of the strategy; lists as `a,b` or JSON
    #[arg(long, value_name = "ID=VALUE")]
    option: Vec<String>,
}

/// What a command does with an endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// It connects; the strategy's options may be left out.
    Connection,
    /// It reads, so the options must be complete.
    Rows,
}

/// One endpoint, ready for the hub.
pub struct Endpoint {
    pub role: Role,
    pub spec: EndpointSpec,
    /// The strategy's id; that of `spec` is empty when options that it requires are left out, which a test of the
    /// connection and discovery can do without.
    pub strategy: String,
    /// `source` or `destination` in a file, else nothing.
    pub side: Option<&'static str>,
}

impl EndpointArguments {
    /// Both sides of a file, or the one that is named.
    pub fn resolve_all(&self, setup: &Setup, needs: Needs) -> Result<Vec<Endpoint>, Failure> {
        match self.file()? {
            Some((path, None)) => self.of_file(setup, path, &[Role::Source, Role::Destination]),
            Some((path, Some(role))) => self.of_file(setup, path, &[role]),
            None => Ok(vec![self.of_connector(setup, needs)?]),
        }
    }

    /// The source of a file, or the side that is named.
    pub fn resolve_one(&self, setup: &Setup, needs: Needs) -> Result<Endpoint, Failure> {
        let mut endpoints = match self.file()? {
            Some((path, role)) => self.of_file(setup, path, &[role.unwrap_or(Role::Source)])?,
            None => vec![self.of_connector(setup, needs)?],
        };
        endpoints
            .pop()
            .ok_or_else(|| Failure::usage("No endpoint is named", "Name a pipeline file or a connector"))
    }

    /// The path and the side, when a file is meant.
    fn file(&self) -> Result<Option<(&Path, Option<Role>)>, Failure> {
        let (path, side) = match self.endpoint.rsplit_once('#') {
            Some((path, side)) => (path, Some(side)),
            None => (self.endpoint.as_str(), None),
        };
        let is_file = side.is_some()
            || path.contains(['/', '\\'])
            || [".yaml", ".yml"].iter().any(|ending| path.ends_with(ending))
            || Path::new(path).is_file();
        if !is_file {
            return Ok(None);
        }
        let role = match side {
            None => None,
            Some("source") => Some(Role::Source),
            Some("destination") => Some(Role::Destination),
            Some(other) => {
                let message = format!("A pipeline has no side `{other}`");
                return Err(Failure::usage(message, "Write `#source` or `#destination` after the file"));
            }
        };
        for (flag, is_given) in [
            ("--set", !self.set.is_empty()),
            ("--strategy", self.strategy.is_some()),
            ("--option", !self.option.is_empty()),
        ] {
            if is_given {
                let message = format!("`{flag}` goes with a connector, not with a pipeline file");
                return Err(Failure::usage(message, "Change the file instead"));
            }
        }
        Ok(Some((Path::new(path), role)))
    }

    fn of_file(&self, setup: &Setup, path: &Path, roles: &[Role]) -> Result<Vec<Endpoint>, Failure> {
        let file = PipelineFile::read(path)?;
        roles
            .iter()
            .map(|role| {
                let connector = setup
                    .connector(file.connector(*role))
                    .map_err(|error| file.unknown_connector(*role, &error))?;
                let side = if *role == Role::Source { "source" } else { "destination" };
                let spec = file.resolve_side(*role, &connector.spec)?;
                Ok(Endpoint { role: *role, strategy: spec.strategy.clone(), spec, side: Some(side) })
            })
            .collect()
    }

    fn of_connector(&self, setup: &Setup, needs: Needs) -> Result<Endpoint, Failure> {
        let connector = setup.connector(&self.endpoint)?;
        let (config, options) = (pairs("--set", &self.set)?, pairs("--option", &self.option)?);
        let folder = env::current_dir().unwrap_or_default();
        let mut spec = EndpointSpec::from_texts(
            &connector.spec,
            &self.endpoint,
            self.strategy.as_deref(),
            &config,
            &options,
            &folder,
        )?;
        let declared = connector.spec.find_strategy(&spec.strategy)?;
        let strategy = spec.strategy.clone();
        match declared.validate(&spec.options) {
            Err(_) if options.is_empty() && needs == Needs::Connection => spec.strategy.clear(),
            validated => drop(validated?),
        }
        Ok(Endpoint { role: declared.role, spec, strategy, side: None })
    }
}

fn pairs(flag: &str, texts: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((id, value)) if !id.is_empty() => Ok((id.trim().to_owned(), value.to_owned())),
        // Not shown: it may be a password.
        _ => Err(Failure::usage(
            format!("A value of `{flag}` has no `=`"),
            format!("Write `{flag} ID=VALUE`, for example `{flag} host=localhost`"),
        )),
    };
    let pairs = texts.iter().map(pair).collect::<Result<Vec<_>, _>>()?;
    // As in a file: which of the two is meant is not ours to guess. The values may be passwords.
    match pairs.iter().enumerate().find(|(index, (id, _))| pairs[..*index].iter().any(|(one, _)| one == id)) {
        Some((_, (id, _))) => {
            let message = format!("`{flag}` gives `{id}` twice");
            Err(Failure::usage(message, "Keep one of them"))
        }
        None => Ok(pairs),
    }
}
