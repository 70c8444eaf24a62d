//! `${env:NAME}` and `${file:PATH}`: values that a pipeline file names but does not hold.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use hub_plugin_api::Secret;

use super::SecretReference;

const HINT: &str = "Write `${env:NAME}` for an environment variable, or `${file:PATH}` for a file's content";

/// What is wrong with a reference, and what to do about it.
pub(super) type Wrong = (String, String);

/// Whether a text holds a reference.
pub(super) fn is_in(text: &str) -> bool {
    text.contains("${env:") || text.contains("${file:")
}

/// A password as a file or a command line gives it: one reference, or the password itself.
pub(super) fn secret(text: &str, folder: &Path) -> Result<SecretReference, Wrong> {
    let whole =
        text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).filter(|inner| !inner.contains('}'));
    let Some(inner) = whole else {
        if is_in(text) {
            return Err(("A reference must be the whole value of a password".into(), HINT.into()));
        }
        return Ok(SecretReference::Literal(Secret::new(text)));
    };
    match inner.split_once(':') {
        Some(("env", name)) if !name.is_empty() => Ok(SecretReference::Env(name.to_owned())),
        Some(("file", path)) if !path.is_empty() => Ok(SecretReference::File(folder.join(path))),
        _ => Err(("It looks like a reference, but is none that is known".into(), HINT.into())),
    }
}

/// Fails when the value that a reference names is not there, so that nobody learns it from a refused login.
pub(super) fn check(reference: &SecretReference) -> Result<(), Wrong> {
    match reference {
        SecretReference::Env(name) => variable(name).map(drop),
        SecretReference::File(path) => content(path).map(drop),
        SecretReference::Literal(_) => Ok(()),
    }
}

/// The path of a file parameter: references replaced by what they name, and a relative path taken from `folder`.
pub(super) fn path(text: &str, folder: &Path) -> Result<PathBuf, Wrong> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, reference)) = rest.split_once("${") {
        let unknown = || (format!("`{text}` holds a reference that is not known"), HINT.to_owned());
        let (inner, after) = reference.split_once('}').ok_or_else(unknown)?;
        result.push_str(before);
        result.push_str(&match inner.split_once(':') {
            Some(("env", name)) if !name.is_empty() => variable(name)?,
            Some(("file", path)) if !path.is_empty() => content(&folder.join(path))?,
            _ => return Err(unknown()),
        });
        rest = after;
    }
    result.push_str(rest);
    if result.is_empty() {
        return Err((format!("`{text}` is no path: it is empty"), "Give the path of a file".into()));
    }
    Ok(folder.join(result))
}

fn variable(name: &str) -> Result<String, Wrong> {
    env::var(name).map_err(|error| match error {
        env::VarError::NotPresent => (
            format!("The environment variable `{name}` is not set"),
            format!("Set it before the command: `export {name}=…`"),
        ),
        env::VarError::NotUnicode(_) => {
            (format!("The environment variable `{name}` is not valid UTF-8"), "Set it to text".into())
        }
    })
}

fn content(path: &Path) -> Result<String, Wrong> {
    let mut text = fs::read_to_string(path).map_err(|error| {
        (
            format!("The file `{}` that a reference names cannot be read: {error}", path.display()),
            "A relative path starts at the folder of the pipeline file".into(),
        )
    })?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_a_reference_or_itself() {
        let folder = Path::new("/folder");
        assert_eq!(secret("${env:A}", folder), Ok(SecretReference::Env("A".into())));
        assert_eq!(secret("${file:a/b}", folder), Ok(SecretReference::File("/folder/a/b".into())));
        assert_eq!(secret("p$}{w", folder), Ok(SecretReference::Literal(Secret::new("p$}{w"))));
        for wrong in ["${A}", "${evn:A}", "${env:}", "x${env:A}", "${env:A}${env:B}"] {
            assert!(secret(wrong, folder).is_err(), "{wrong}");
        }
    }

    #[test]
    fn relative_path_starts_at_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("name"), "orders\n").unwrap();
        assert_eq!(path("a.db", folder.path()), Ok(folder.path().join("a.db")));
        assert_eq!(path("${file:name}.db", folder.path()), Ok(folder.path().join("orders.db")));
        assert_eq!(path("/x/a.db", folder.path()), Ok("/x/a.db".into()));
        assert!(
            path("${env:CONNECTOR_HUB_TEST_NEVER_SET}", folder.path()).unwrap_err().0.contains("is not set")
        );
        assert!(path("${HOME}/a.db", folder.path()).is_err());
    }
}
