//! Runs cargo and understands what it says.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{Outcome, failed};

/// The cargo that runs us.
///
/// It is not told about our own package: build scripts that look at such variables (ring's does) would run again, and
/// all that depends on them be built again, whenever cargo is called by us and by hand in turn.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace_root());
    for (name, _) in env::vars_os() {
        let of_our_package = name.to_str().is_some_and(|name| {
            ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix))
        });
        if of_our_package {
            command.env_remove(name);
        }
    }
    command
}

/// The folder of the workspace's Cargo.toml.
pub(crate) fn workspace_root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Runs cargo with these arguments; what it prints goes to the terminal.
pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let line = arguments.join(" ");
    let status = command().args(arguments).envs(environment.iter().copied()).status()?;
    if status.success() { Ok(()) } else { failed(format!("`cargo {line}` failed")) }
}

/// What cargo built: one target of one package.
#[derive(Debug)]
pub(crate) struct Artifact {
    /// The package's folder.
    pub folder: PathBuf,
    /// The package's name.
    pub package: String,
    /// The target's name: a library's, a program's, or that of a file or folder under tests/.
    pub target: String,
    /// Cargo's kinds: `lib`, `cdylib`, `bin`, `test`, `example` …
    pub kinds: Vec<String>,
    /// Whether it was built to be tested.
    pub tested: bool,
    /// The program, where it is one.
    pub executable: Option<PathBuf>,
    /// Every file that was made.
    pub files: Vec<PathBuf>,
}

impl Artifact {
    fn parse(message: &Value, packages: &[Package]) -> Option<Self> {
        let folder = PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_path_buf();
        let package = packages.iter().find(|package| package.folder == folder)?;
        Some(Self {
            package: package.name.clone(),
            folder,
            target: message["target"]["name"].as_str()?.to_owned(),
            kinds: texts(&message["target"]["kind"]),
            tested: message["profile"]["test"].as_bool()?,
            executable: message["executable"].as_str().map(PathBuf::from),
            files: texts(&message["filenames"]).into_iter().map(PathBuf::from).collect(),
        })
    }

    /// The shared library, where it is one.
    pub(crate) fn shared_library(&self) -> Option<&Path> {
        let is_one = !self.tested && self.kinds.iter().any(|kind| kind == "cdylib");
        let mut files = self.files.iter();
        if !is_one {
            return None;
        }
        files
            .find(|file| file.extension().is_some_and(|e| e == "so" || e == "dylib" || e == "dll"))
            .map(PathBuf::as_path)
    }
}

/// The program of this name among what was built.
pub(crate) fn program<'a>(artifacts: &'a [Artifact], name: &str) -> Outcome<&'a Path> {
    let found = artifacts.iter().find(|artifact| {
        !artifact.tested && artifact.target == name && artifact.kinds.iter().any(|kind| kind == "bin")
    });
    match found.and_then(|artifact| artifact.executable.as_deref()) {
        Some(path) => Ok(path),
        None => failed(format!("Cargo built no program `{name}`")),
    }
}

/// Builds, and returns what of the workspace's own was built or was still fresh.
pub(crate) fn build(arguments: &[&str]) -> Outcome<Vec<Artifact>> {
    let packages = metadata()?.packages;
    let mut child = command()
        .arg("build")
        .args(arguments)
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut artifacts = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
            if message["reason"] == "compiler-artifact" {
                artifacts.extend(Artifact::parse(&message, &packages));
            }
        }
    }
    let status = child.wait()?;
    if status.success() {
        Ok(artifacts)
    } else {
        failed(format!("`cargo build {}` failed", arguments.join(" ")))
    }
}

/// A package of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    pub name: String,
    pub folder: PathBuf,
    /// Names of the targets under tests/.
    pub integration_tests: Vec<String>,
}

/// What cargo knows about the workspace.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub packages: Vec<Package>,
    /// Where everything is built, wherever the user wants that.
    pub target_directory: PathBuf,
}

/// Asks cargo about the workspace.
pub(crate) fn metadata() -> Outcome<Metadata> {
    let answer = metadata_json(&["--no-deps"])?;
    let packages = list(&answer["packages"])
        .iter()
        .filter_map(|package| {
            let targets = list(&package["targets"]);
            let tests = targets.iter().filter(|target| texts(&target["kind"]).contains(&"test".to_owned()));
            Some(Package {
                name: package["name"].as_str()?.to_owned(),
                folder: PathBuf::from(package["manifest_path"].as_str()?).parent()?.to_path_buf(),
                integration_tests: tests.filter_map(|t| t["name"].as_str()).map(str::to_owned).collect(),
            })
        })
        .collect();
    let Some(target_directory) = answer["target_directory"].as_str() else {
        return failed("`cargo metadata` names no target directory");
    };
    Ok(Metadata { packages, target_directory: target_directory.into() })
}

/// The answer of `cargo metadata` as it is.
pub(crate) fn metadata_json(arguments: &[&str]) -> Outcome<Value> {
    let output = command()
        .args(["metadata", "--format-version=1"])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()?;
    match serde_json::from_slice(&output.stdout) {
        Ok(answer) if output.status.success() => Ok(answer),
        _ => failed("`cargo metadata` failed"),
    }
}

/// The elements of a JSON list; none where it is no list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The texts of a JSON list.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    list(value).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
