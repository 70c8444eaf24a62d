//! Programs of another release of the distribution than the machine's, unpacked into the cache with their libraries
//! and run through that release's own loader: no root, no chroot, and the machine's package state is not touched.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    NoServer,
    packages::{cache_folder, in_path},
    process::run,
    user::User,
};

/// What is fetched.
pub(super) struct Wanted<'a> {
    /// Name of the folder in the cache.
    pub folder: &'a str,
    /// The release's code name.
    pub suite: &'a str,
    pub packages: &'a [&'a str],
    /// Starts of names of packages that those depend on and a bare server does not need.
    pub left_out: &'a [&'a str],
}

/// The root folder of unpacked packages.
#[derive(Clone, Debug)]
pub(super) struct Root {
    folder: PathBuf,
}

/// Signs every release of the distribution.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

impl Root {
    /// Fetches it once.
    pub(super) fn fetched(wanted: &Wanted<'_>, user: User) -> Result<Self, NoServer> {
        if in_path("apt-get").is_none() || in_path("dpkg-deb").is_none() || !Path::new(KEYS).is_file() {
            return Err(NoServer::Missing("there are no Debian packages on this machine".into()));
        }
        let cache = cache_folder(user)?;
        let folder = cache.join(wanted.folder);
        let root = Self { folder };
        if root.folder.join(".complete").is_file() {
            return Ok(root);
        }
        let work = cache.join(format!(".{}-{}", wanted.folder, std::process::id()));
        let outcome = fetch(wanted, &work).and_then(|()| {
            fs::write(work.join(".complete"), "")?;
            put_in_place(&work, &root.folder)
        });
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        outcome.map(|()| root)
    }

    /// A path below it.
    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.folder.join(relative)
    }

    /// The loader with the folders of libraries: what stands before a program's path.
    fn loader(&self) -> Result<[String; 3], NoServer> {
        // Releases differ in whether `/lib` is a folder of its own.
        let mut folders = vec![self.path("usr/lib/mysql/private")];
        for base in ["usr/lib", "lib"] {
            let entries = fs::read_dir(self.path(base)).into_iter().flatten().flatten();
            let paths = entries.map(|entry| entry.path());
            folders.extend(paths.filter(|path| path.to_string_lossy().ends_with("-linux-gnu")));
        }
        let files = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        let mut loaders = files.filter(|file| file.file_name().to_string_lossy().starts_with("ld-linux"));
        let loader = loaders.next().ok_or_else(|| {
            NoServer::Broken(format!("`{}` holds no loader of programs", self.folder.display()))
        })?;
        let folders: Vec<_> = folders.iter().map(|folder| folder.to_string_lossy()).collect();
        Ok([loader.path().to_string_lossy().into_owned(), "--library-path".into(), folders.join(":")])
    }

    /// A program of the root.
    pub(super) fn command(&self, user: User, program: &str) -> Result<Command, NoServer> {
        let [loader, option, libraries] = self.loader()?;
        let mut command = user.command(Path::new(&loader));
        command.args([option, libraries]).arg(self.path(program));
        command.env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
        Ok(command)
    }

    /// Makes a folder of scripts that run programs of the root, so that tests call them by their path.
    pub(super) fn scripts(&self, folder: &Path, programs: &[(&str, &str)]) -> Result<(), NoServer> {
        fs::create_dir_all(folder)?;
        let loader = self.loader()?.join(" ");
        for (name, program) in programs {
            let script = folder.join(name);
            let program = self.path(program);
            fs::write(&script, format!("#!/bin/sh\nexec {loader} {} \"$@\"\n", program.display()))?;
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// A data directory that `make` initialises once and that is copied into `home` from then on.
    pub(super) fn data(
        &self,
        user: User,
        home: &Path,
        make: impl FnOnce(&Path) -> Result<(), NoServer>,
    ) -> Result<PathBuf, NoServer> {
        let cache = cache_folder(user)?;
        let name = format!("{}-data", self.folder.file_name().unwrap_or_default().to_string_lossy());
        let template = cache.join(&name);
        if !template.is_dir() {
            let work = cache.join(format!(".{name}-{}", std::process::id()));
            fs::create_dir_all(&work)?;
            user.own(&work)?;
            let made = make(&work).and_then(|()| put_in_place(&work, &template));
            if work.exists() {
                fs::remove_dir_all(&work)?;
            }
            made?;
        }
        let data = home.join("data");
        run(user.command(Path::new("cp")).args(["-a", "--sparse=always"]).arg(&template).arg(&data))?;
        Ok(data)
    }
}

/// Another process may have been faster; what lies there is as good.
fn put_in_place(work: &Path, target: &Path) -> Result<(), NoServer> {
    if fs::rename(work, target).is_ok() || target.is_dir() {
        return Ok(());
    }
    Err(NoServer::Broken(format!("`{}` cannot be put in place", target.display())))
}

fn fetch(wanted: &Wanted<'_>, work: &Path) -> Result<(), NoServer> {
    let missing = |error: NoServer| NoServer::Missing(format!("its packages cannot be fetched: {error}"));
    let sources = run(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
    ]))
    .map_err(missing)?;
    let mirror = sources.lines().find(|line| !line.contains("security"));
    let mirror = mirror.ok_or_else(|| NoServer::Missing("the machine names no mirror".into()))?;

    let apt = work.join(".apt");
    for folder in ["state/lists/partial", "archives/partial"] {
        fs::create_dir_all(apt.join(folder))?;
    }
    fs::write(apt.join("status"), "")?;
    fs::write(
        apt.join("sources.list"),
        format!("deb [signed-by={KEYS}] {} {} main\n", mirror.trim(), wanted.suite),
    )?;
    let settings = [
        format!("Dir::Etc::sourcelist={}", apt.join("sources.list").display()),
        "Dir::Etc::sourceparts=/dev/null".into(),
        "Dir::Etc::preferencesparts=/dev/null".into(),
        format!("Dir::State={}", apt.join("state").display()),
        format!("Dir::State::status={}", apt.join("status").display()),
        format!("Dir::Cache={}", apt.display()),
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
    eprintln!("Fetching `{}` of `{}` into a cache; this happens once", wanted.packages[0], wanted.suite);
    run(apt_get().args(["-qq", "update"])).map_err(missing)?;
    let list = run(apt_get().args(["-qq", "-y", "--print-uris", "install"]).args(wanted.packages));
    let list = list.map_err(missing)?;
    // A line is `'address' file_of_the_cache size hash`, and the file's name begins with the package's.
    let names = list.lines().filter_map(|line| line.split_whitespace().nth(1)?.split('_').next());
    let names = names.filter(|name| !wanted.left_out.iter().any(|start| name.starts_with(start)));
    run(apt_get().args(["-qq", "download"]).args(names).current_dir(apt.join("archives")))
        .map_err(missing)?;
    for entry in fs::read_dir(apt.join("archives"))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            unpack(&file, work)?;
        }
    }
    fs::remove_dir_all(apt)?;
    Ok(())
}

/// Without manuals and translations; a folder that is a link already stays one.
fn unpack(package: &Path, root: &Path) -> Result<(), NoServer> {
    let mut files =
        Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
    let output = files.stdout.take().ok_or_else(|| NoServer::Broken("`dpkg-deb` has no output".into()))?;
    let unpacked = Command::new("tar")
        .args(["-x", "--keep-directory-symlink", "--no-same-owner"])
        .args(["doc", "man", "locale", "lintian"].map(|folder| format!("--exclude=./usr/share/{folder}")))
        .arg("-C")
        .arg(root)
        .stdin(output)
        .status()?;
    if files.wait()?.success() && unpacked.success() {
        return Ok(());
    }
    Err(NoServer::Broken(format!("`{}` cannot be unpacked", package.display())))
}
