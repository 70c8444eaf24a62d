//! Programs from the distribution's packages, unpacked into a cache: nothing is installed, no script of a package
//! runs, and the machine's own package state is only read.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{NoServer, process::run, user::User};

/// A root folder with the files of a package and of all it needs that the machine lacks. Fetched once.
///
/// `provides` starts the names of packages that count as not installed, so that their files are in the folder.
pub(super) fn unpacked(package: &str, provides: &str, user: User) -> Result<PathBuf, NoServer> {
    if !has_program("apt-get") || !has_program("dpkg-deb") {
        return Err(NoServer::Missing("there are no Debian packages on this machine".into()));
    }
    cached(package, user, |work| fetch(package, provides, work))
}

/// A folder of the cache, filled once: whoever runs at the same time sees all of it or nothing.
pub(super) fn cached(
    name: &str,
    user: User,
    fill: impl FnOnce(&Path) -> Result<(), NoServer>,
) -> Result<PathBuf, NoServer> {
    let cache = cache_folder(user)?;
    let root = cache.join(name);
    if root.join(".complete").is_file() {
        return Ok(root);
    }
    let thread = std::thread::current().id();
    let work = cache.join(format!(".{name}-{}-{thread:?}", std::process::id()));
    let outcome = fill(&work).and_then(|()| {
        fs::write(work.join(".complete"), "")?;
        // Another process may have been faster; what lies there is as good.
        if fs::rename(&work, &root).is_ok() || root.join(".complete").is_file() {
            Ok(())
        } else {
            Err(NoServer::Broken(format!("`{}` cannot be put in place", root.display())))
        }
    });
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    outcome.map(|()| root)
}

fn fetch(package: &str, provides: &str, work: &Path) -> Result<(), NoServer> {
    let apt = work.join(".apt");
    for folder in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(folder))?;
    }
    let status = fs::read_to_string("/var/lib/dpkg/status").unwrap_or_default();
    let others = status.split("\n\n").filter(|paragraph| {
        let name = paragraph.lines().find_map(|line| line.strip_prefix("Package: "));
        name.is_some_and(|name| !name.starts_with(provides))
    });
    fs::write(apt.join("status"), others.map(|paragraph| format!("{paragraph}\n\n")).collect::<String>())?;

    let settings = [
        format!("Dir::State={}", apt.join("state").display()),
        format!("Dir::State::status={}", apt.join("status").display()),
        format!("Dir::Cache={}", apt.join("cache").display()),
        "APT::Install-Recommends=false".into(),
        "APT::Sandbox::User=root".into(),
        "Acquire::Languages=none".into(),
        "Debug::NoLocking=1".into(),
    ];
    let apt_get = || {
        let mut command = Command::new("apt-get");
        settings.iter().for_each(|setting| {
            command.args(["-o", setting]);
        });
        command
    };
    eprintln!("Fetching the package `{package}` into a cache; this happens once");
    let missing = |error: NoServer| NoServer::Missing(format!("its packages cannot be fetched: {error}"));
    run(apt_get().args(["-qq", "update"])).map_err(missing)?;
    run(apt_get().args(["-qq", "-y", "--download-only", "install", package])).map_err(missing)?;
    for entry in fs::read_dir(apt.join("cache/archives"))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("-x").arg(file).arg(work))?;
        }
    }
    fs::remove_dir_all(apt)?;
    Ok(())
}

/// The folders of shared libraries below an unpacked root, as `LD_LIBRARY_PATH` takes them.
pub(super) fn library_path(root: &Path) -> String {
    let mut folders = vec![root.join("usr/lib"), root.join("lib")];
    for base in ["usr/lib", "lib"] {
        let entries = fs::read_dir(root.join(base)).into_iter().flatten().flatten();
        folders
            .extend(entries.map(|e| e.path()).filter(|path| path.to_string_lossy().ends_with("-linux-gnu")));
    }
    let folders: Vec<_> = folders.iter().map(|folder| folder.to_string_lossy()).collect();
    folders.join(":")
}

/// Where unpacked packages are kept: readable for the user that servers run as, so for root not root's home.
pub(super) fn cache_folder(user: User) -> Result<PathBuf, NoServer> {
    let base = match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        _ if user.is_other() => PathBuf::from("/var/cache"),
        (_, Some(home)) => PathBuf::from(home).join(".cache"),
        _ => return Err(NoServer::Missing("neither `XDG_CACHE_HOME` nor `HOME` is set".into())),
    };
    let folder = base.join("connector-hub-tests");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The program's path in PATH.
pub(super) fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn has_program(program: &str) -> bool {
    in_path(program).is_some()
}
