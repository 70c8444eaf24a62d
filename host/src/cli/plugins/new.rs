use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use connector_hub::api::{API_VERSION, Error, ErrorKind, json};

use crate::cli::{
    exit::{Exit, Failure, Outcome},
    output::Output,
};

/// Write a new plugin to start from
///
/// It is a crate of its own, with a connector that works and a test that runs the conformance suite.
#[derive(Args)]
#[command(after_help = "\
Example:
  connector-hub plugins new my-database --api-path ~/connector-hub/plugin-api
  cd my-database && cargo test
  cargo build --release
  connector-hub --plugin-dir target/release plugins doctor")]
pub struct Arguments {
    /// The connector's id: lower case letters, digits and `-`
    #[arg(value_name = "NAME")]
    name: String,
    /// The folder to make; without it the name
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// The folder `plugin-api` of the hub's source; without it the crate asks cargo's registry for it
    #[arg(long, value_name = "DIR")]
    api_path: Option<PathBuf>,
}

/// The files of the template, with the names of the example in them.
const FILES: [(&str, &str); 3] = [
    ("Cargo.toml", include_str!("../templates/plugin/Cargo.toml.in")),
    ("src/lib.rs", include_str!("../templates/plugin/src/lib.rs.in")),
    ("tests/conformance.rs", include_str!("../templates/plugin/tests/conformance.rs.in")),
];

pub fn run(arguments: &Arguments, output: &Output) -> Outcome {
    let name = &arguments.name;
    check_name(name)?;
    let folder = arguments.path.clone().unwrap_or_else(|| PathBuf::from(name));
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
        let message = format!("`{}` is there already, and not an empty folder", folder.display());
        return Err(Failure::usage(message, "Name another folder with `--path`"));
    }
    let api = api(arguments.api_path.as_deref())?;
    let mut written = Vec::new();
    for (file, template) in FILES {
        let path = folder.join(file);
        write(&path, &filled(template, name, &api))?;
        written.push(path);
    }
    if output.json {
        output.json_pretty(&json!({
            "name": name,
            "folder": folder.to_string_lossy(),
            "files": written.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
        }));
        return Ok(Exit::Done);
    }
    written.iter().for_each(|path| output.line(path.display()));
    output.note(format!("Now `cd {} && cargo test`", folder.display()));
    if arguments.api_path.is_none() {
        output.hint(format!(
            "The public registry has no `hub-plugin-api` {API_VERSION}: `--api-path DIR` takes it from the hub's source"
        ));
    }
    Ok(Exit::Done)
}

/// A name becomes a crate's name and a connector's id.
fn check_name(name: &str) -> Result<(), Failure> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_good = name.len() <= 40
        && name.chars().all(is_plain)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-');
    if is_good {
        return Ok(());
    }
    let hint =
        "It begins with a letter and has lower case letters, digits and `-`, for example `my-database`";
    Err(Failure::usage(format!("`{name}` is not a plugin's name"), hint))
}

/// Where the crate gets the plugin API from, as its manifest says it.
fn api(path: Option<&Path>) -> Result<String, Failure> {
    let Some(path) = path else { return Ok(format!("version = \"{API_VERSION}\"")) };
    let failed = |error: std::io::Error| {
        let message = format!("`{}` cannot be used as the plugin API: {error}", path.display());
        Failure::usage(message, "Name the folder `plugin-api` of a copy of the hub's source")
    };
    let absolute = path.canonicalize().map_err(failed)?;
    absolute.join("Cargo.toml").metadata().map_err(failed)?;
    Ok(format!("path = {:?}", absolute.display().to_string()))
}

fn filled(template: &str, name: &str, api: &str) -> String {
    let mut label = name.replace('-', " ");
    if let Some(first) = label.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    template
        .replace("HUB_PLUGIN_API", api)
        .replace("connector_plugin_name", &format!("connector_{}", name.replace('-', "_")))
        .replace("plugin-name", name)
        .replace("Plugin name", &label)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    written.map_err(|error| {
        Error::new(ErrorKind::ResourceExhausted, format!("`{}` cannot be written", path.display()))
            .with_source(&error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_stands_wherever_the_example_had_its_own() {
        for (_, template) in FILES {
            let text = filled(template, "my-database", "path = \"x\"");
            for left in ["plugin-name", "plugin_name", "Plugin name", "HUB_PLUGIN_API"] {
                assert!(!text.contains(left), "{left} in {text}");
            }
        }
        let library = filled(FILES[1].1, "my-database", "");
        assert!(
            library.contains("export_connectors!(\"my-database\" =>") && library.contains("\"My database\"")
        );
    }

    #[test]
    fn names_that_no_crate_can_have_are_refused() {
        assert!(check_name("my-database2").is_ok());
        for wrong in ["", "My", "2db", "a_b", "a-", "../x", "a b"] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
