use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Holder, Mode, NoServer, Server,
    docker::Container,
    packages,
    process::{ServerProcess, free_port, run},
    user::User,
    way_is_allowed,
};

const URL: &str = "HUB_TEST_POSTGRES_URL";
/// A folder with `psql`.
const PROGRAMS: &str = "HUB_TEST_POSTGRES_BIN";
/// What `psql` needs as `LD_LIBRARY_PATH`, where it was unpacked.
const LIBRARIES: &str = "HUB_TEST_POSTGRES_LIBRARIES";
/// The certificate authority that signed the server's certificate, where it has one.
const AUTHORITY: &str = "HUB_TEST_POSTGRES_CA";
const PASSWORD: &str = "only-for-tests";

pub(super) fn start(mode: Mode) -> Result<Server, NoServer> {
    if let Ok(url) = env::var(URL) {
        return Ok(Server {
            environment: vec![(URL.into(), url)],
            origin: format!("the one that `{URL}` names"),
            _process: None,
        });
    }
    let user = User::unprivileged("postgres");
    let mut reasons = Vec::new();
    if way_is_allowed("installed") {
        match installed() {
            Some(programs) => return run_programs(&Programs { folder: programs, root: None }, user, mode),
            None => reasons.push("none is installed".to_owned()),
        }
    }
    if way_is_allowed("packages") {
        match packages::unpacked("postgresql", "postgresql", user) {
            Ok(root) => match newest_programs(&root.join("usr/lib/postgresql")) {
                Some(folder) => return run_programs(&Programs { folder, root: Some(root) }, user, mode),
                None => reasons.push("the packages hold no server".to_owned()),
            },
            Err(NoServer::Missing(reason)) => reasons.push(reason),
            Err(broken) => return Err(broken),
        }
    }
    if way_is_allowed("docker") {
        match container(mode) {
            Err(NoServer::Missing(reason)) => reasons.push(reason),
            answer => return answer,
        }
    }
    Err(NoServer::Missing(format!("{}; `{URL}` may name one", reasons.join("; "))))
}

/// A server's programs, and the root folder of the packages that they were unpacked from.
struct Programs {
    folder: PathBuf,
    root: Option<PathBuf>,
}

impl Programs {
    fn command(&self, user: User, name: &str) -> Command {
        let mut command = user.command(&self.folder.join(name));
        command.env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
        if let Some(root) = &self.root {
            command.env("LD_LIBRARY_PATH", packages::library_path(root));
        }
        command
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

fn run_programs(programs: &Programs, user: User, mode: Mode) -> Result<Server, NoServer> {
    let directory = tempfile::Builder::new().prefix("hub-postgres-").tempdir()?;
    let home = directory.path();
    user.own(home)?;
    let password = home.join("password");
    fs::write(&password, PASSWORD)?;
    user.own(&password)?;
    let data = home.join("data");
    run(programs
        .command(user, "initdb")
        .arg("--pgdata")
        .arg(&data)
        .args(["--username=hub", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"])
        .arg(format!("--pwfile={}", password.display())))?;

    let mut settings = settings(mode);
    settings.push(("unix_socket_directories", "''".into()));
    settings.push(("listen_addresses", "'127.0.0.1'".into()));
    let authority = certificates(home, user)?;
    if authority.is_some() {
        settings.push(("ssl", "on".into()));
        settings.push(("ssl_cert_file", format!("'{}'", home.join("server.crt").display())));
        settings.push(("ssl_key_file", format!("'{}'", home.join("server.key").display())));
    }
    let lines: String = settings.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    let configuration = data.join("postgresql.conf");
    let defaults = fs::read_to_string(&configuration)?;
    fs::write(&configuration, format!("{defaults}\n{lines}"))?;

    let port = free_port()?;
    let mut command = programs.command(user, "postgres");
    command.arg("-D").arg(&data).arg("-p").arg(port.to_string());
    let mut process = ServerProcess::start(command, directory)?;
    // The last line that the server writes there says whether it takes connections.
    let pid_file = data.join("postmaster.pid");
    process.wait_until(|| {
        fs::read_to_string(&pid_file).is_ok_and(|text| text.lines().nth(7).map(str::trim) == Some("ready"))
    })?;

    let mut environment =
        vec![(URL.into(), url(port)), (PROGRAMS.into(), programs.folder.to_string_lossy().into_owned())];
    if let Some(root) = &programs.root {
        environment.push((LIBRARIES.into(), packages::library_path(root)));
    }
    if let Some(authority) = authority {
        environment.push((AUTHORITY.into(), authority.to_string_lossy().into_owned()));
    }
    let origin = format!("{} on port {port}", programs.folder.join("postgres").display());
    Ok(Server { environment, origin, _process: Some(Holder::Process(process)) })
}

fn url(port: u16) -> String {
    format!("postgresql://hub:{PASSWORD}@127.0.0.1:{port}/postgres")
}

fn settings(mode: Mode) -> Vec<(&'static str, String)> {
    let mut settings: Vec<(&str, String)> = [
        ("wal_level", "logical"),
        ("max_wal_senders", "20"),
        ("max_replication_slots", "20"),
        ("max_connections", "100"),
        ("timezone", "'UTC'"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    let by_mode = match mode {
        Mode::Test => [
            ("fsync", "off"),
            ("full_page_writes", "off"),
            ("shared_buffers", "64MB"),
            ("max_wal_size", "1GB"),
        ],
        Mode::Bench => [
            ("fsync", "on"),
            ("full_page_writes", "on"),
            ("shared_buffers", "256MB"),
            ("max_wal_size", "4GB"),
        ],
    };
    settings.extend(by_mode.map(|(name, value)| (name, value.to_owned())));
    settings
}

/// Makes an authority and a certificate for localhost where `openssl` is there; returns the authority's.
fn certificates(home: &Path, user: User) -> Result<Option<PathBuf>, NoServer> {
    let Some(openssl) = packages::in_path("openssl") else { return Ok(None) };
    let file = |name: &str| home.join(name).to_string_lossy().into_owned();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
    run(Command::new(&openssl)
        .args(["req", "-x509"])
        .args(key)
        .args(["-days", "30", "-subj", "/CN=Connector Hub tests"])
        .args(["-keyout", &file("ca.key"), "-out", &file("ca.crt")]))?;
    run(Command::new(&openssl)
        .arg("req")
        .args(key)
        .args(["-subj", "/CN=localhost", "-addext", names])
        .args(["-keyout", &file("server.key"), "-out", &file("server.csr")]))?;
    let extensions = file("extensions");
    fs::write(&extensions, names)?;
    run(Command::new(&openssl)
        .args(["x509", "-req", "-days", "30", "-CAcreateserial", "-extfile", &extensions])
        .args(["-in", &file("server.csr"), "-CA", &file("ca.crt"), "-CAkey", &file("ca.key")])
        .args(["-out", &file("server.crt")]))?;
    for name in ["server.key", "server.crt"] {
        user.own(&home.join(name))?;
    }
    // The tests read the authority while the directory is the server's own.
    fs::set_permissions(home.join("ca.crt"), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    Ok(Some(home.join("ca.crt")))
}

fn container(mode: Mode) -> Result<Server, NoServer> {
    let password = format!("POSTGRES_PASSWORD={PASSWORD}");
    let options = ["--env", "POSTGRES_USER=hub", "--env", &password, "--env", "POSTGRES_DB=postgres"];
    let assignments: Vec<String> = settings(mode)
        .into_iter()
        .map(|(name, value)| format!("{name}={}", value.trim_matches('\'')))
        .collect();
    let command: Vec<&str> = assignments.iter().flat_map(|assignment| ["-c", assignment]).collect();
    let container = Container::start("postgres:17", 5432, &options, &command)?;
    // Over TCP: the image first runs a server without it to make the database.
    container.wait_until(&["pg_isready", "--host=127.0.0.1", "--username=hub"])?;
    let port = container.port(5432)?;
    Ok(Server {
        environment: vec![(URL.into(), url(port))],
        origin: format!("a container on port {port}"),
        _process: Some(Holder::Container(container)),
    })
}
