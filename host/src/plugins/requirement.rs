use std::{fmt, str::FromStr};

use hub_plugin_api::{Error, Result};
use semver::{Version, VersionReq};

/// Which connector is meant: `postgres`, `postgres@1`, `postgres@^1.2`, `postgres@=1.2.3`. The version is the
/// plugin's; without one any will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorRequirement {
    /// The connector's id.
    pub id: String,
    /// The plugin's version, as Cargo reads requirements.
    pub version: Option<VersionReq>,
}

impl ConnectorRequirement {
    /// Whether a plugin's version will do. Without a requirement every one does; a pre-release matches only
    /// a requirement that names one.
    pub fn matches(&self, version: &Version) -> bool {
        self.version.as_ref().is_none_or(|requirement| requirement.matches(version))
    }
}

impl FromStr for ConnectorRequirement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (id, version) = match text.split_once('@') {
            Some((id, version)) => (id, Some(version)),
            None => (text, None),
        };
        if id.is_empty() {
            return Err(Error::config("connector", format!("`{text}` names no connector")).with_hint(
                "Write an id, perhaps with a version: `postgres`, `postgres@1`, `postgres@^1.2`",
            ));
        }
        let version = version.map(VersionReq::parse).transpose().map_err(|error| {
            Error::config("connector", format!("`{text}` does not name a version: {error}"))
                .with_hint("Write `postgres@1`, `postgres@^1.2` or `postgres@=1.2.3`")
        })?;
        Ok(Self { id: id.to_owned(), version })
    }
}

impl fmt::Display for ConnectorRequirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(formatter, "{}@{version}", self.id),
            None => formatter.write_str(&self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest<'a>(requirement: &str, versions: &[&'a str]) -> Option<&'a str> {
        let requirement: ConnectorRequirement = requirement.parse().unwrap();
        let parsed = versions.iter().map(|text| (Version::parse(text).unwrap(), *text));
        parsed.filter(|(version, _)| requirement.matches(version)).max().map(|(_, text)| text)
    }

    #[test]
    fn requirements_pick_as_cargo_does() {
        let versions = ["0.9.0", "1.1.0", "1.2.3", "1.10.0", "2.0.0"];
        assert_eq!(newest("a", &versions), Some("2.0.0"));
        assert_eq!(newest("a@1", &versions), Some("1.10.0"));
        assert_eq!(newest("a@^1.2", &versions), Some("1.10.0"));
        assert_eq!(newest("a@~1.2", &versions), Some("1.2.3"));
        assert_eq!(newest("a@=1.1.0", &versions), Some("1.1.0"));
        assert_eq!(newest("a@3", &versions), None);
    }

    #[test]
    fn requirements_that_cannot_be_read_name_the_field() {
        for text in ["", "@1", "a@", "a@one"] {
            let error = text.parse::<ConnectorRequirement>().unwrap_err();
            assert_eq!(error.field.as_deref(), Some("connector"), "{text}: {error}");
        }
    }
}
