//! Debian packages, unpacked into a folder: nothing is installed, no script of a package runs, and the machine's own
//! package state is only read.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::NoGuest;

/// What is fetched together.
pub(super) struct Packages {
    /// A suite of the machine's own mirror, for the whole closure; none for what this machine lacks of its own suite.
    pub suite: Option<&'static str>,
    /// The packages wanted.
    pub wanted: &'static [&'static str],
    /// How names of packages of their closure begin that are not needed.
    pub without: &'static [&'static str],
    /// Paths inside of packages that are not needed.
    pub excluded: &'static [&'static str],
}

/// The program's path in PATH.
pub(super) fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Unpacks packages into `root`, once: `proof` is a path inside that is there when it is whole.
pub(super) fn unpack(packages: &Packages, root: &Path, proof: &str) -> Result<(), NoGuest> {
    if root.join(proof).exists() {
        return Ok(());
    }
    if in_path("apt-get").is_none() || in_path("dpkg-deb").is_none() {
        return Err(NoGuest::Missing("there are no Debian packages on this machine".into()));
    }
    let work = root.with_extension(format!("part-{}", std::process::id()));
    let outcome = fetch(packages, &work).and_then(|()| {
        fs::remove_dir_all(work.join(APT))?;
        if !work.join(proof).exists() {
            return Err(NoGuest::Broken(format!("The packages have no `{proof}`")));
        }
        if root.exists() {
            fs::remove_dir_all(root)?;
        }
        Ok(fs::rename(&work, root)?)
    });
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    outcome
}

/// The private state of apt.
const APT: &str = ".apt";

fn fetch(packages: &Packages, work: &Path) -> Result<(), NoGuest> {
    let apt = work.join(APT);
    for folder in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(folder))?;
    }
    let mut settings = vec![
        format!("Dir::State={}", apt.join("state").display()),
        format!("Dir::Cache={}", apt.join("cache").display()),
        "APT::Sandbox::User=root".into(),
        "APT::Install-Recommends=false".into(),
        "Acquire::Languages=none".into(),
        "Debug::NoLocking=1".into(),
    ];
    let status = match packages.suite {
        None => PathBuf::from("/var/lib/dpkg/status"),
        Some(suite) => {
            let list = apt.join("suite.list");
            let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
            fs::write(&list, format!("deb [signed-by={key}] {} {suite} main\n", mirror()?))?;
            settings.push(format!("Dir::Etc::sourcelist={}", list.display()));
            settings.extend(
                ["sourceparts", "preferencesparts"].map(|what| format!("Dir::Etc::{what}=/dev/null")),
            );
            let status = apt.join("status");
            fs::write(&status, "")?;
            status
        }
    };
    settings.push(format!("Dir::State::status={}", status.display()));
    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        settings.iter().for_each(|setting| {
            command.args(["-o", setting]);
        });
        command.arg("-qq").args(arguments).current_dir(&apt);
        output(&mut command)
    };
    eprintln!("guests: fetching the packages {} into a cache; this happens once", packages.wanted.join(", "));
    let missing = |error: NoGuest| match error {
        NoGuest::Broken(reason) | NoGuest::Missing(reason) => {
            NoGuest::Missing(format!("its packages cannot be fetched: {reason}"))
        }
    };
    apt_get(&["update"]).map_err(missing)?;
    let closure =
        apt_get(&[&["-y", "--print-uris", "install"], packages.wanted].concat()).map_err(missing)?;
    // A line is `'URI' NAME_VERSION_ARCHITECTURE.deb SIZE HASH`.
    let names = closure.lines().filter_map(|line| line.split_whitespace().nth(1)?.split('_').next());
    let names: Vec<&str> =
        names.filter(|name| !packages.without.iter().any(|start| name.starts_with(start))).collect();
    apt_get(&[&["download"], names.as_slice()].concat()).map_err(missing)?;
    for entry in fs::read_dir(&apt)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            unpack_one(&file, work, packages.excluded)?;
        }
    }
    Ok(())
}

fn unpack_one(package: &Path, root: &Path, excluded: &[&str]) -> Result<(), NoGuest> {
    let mut reading =
        Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
    let mut tar = Command::new("tar");
    tar.args(["-x", "--keep-directory-symlink", "--no-same-owner", "-C"]).arg(root);
    tar.args(
        excluded.iter().chain(&["usr/share/doc", "usr/share/man"]).map(|path| format!("--exclude=./{path}")),
    );
    if let Some(stdout) = reading.stdout.take() {
        tar.stdin(stdout);
    }
    output(&mut tar)?;
    reading.wait()?;
    Ok(())
}

/// The machine's own mirror.
fn mirror() -> Result<String, NoGuest> {
    let targets = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    let mirror = targets.lines().find(|uri| !uri.contains("security"));
    mirror.map(str::to_owned).ok_or_else(|| NoGuest::Missing("this machine's packages have no mirror".into()))
}

/// Runs a program to its end, and answers what it printed.
pub(super) fn output(command: &mut Command) -> Result<String, NoGuest> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| NoGuest::Missing(format!("`{program}` cannot be started: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Err(NoGuest::Broken(format!("`{program}` ended with {}:\n{out}{err}", output.status)))
}
