//! MariaDB: the long-term version of the distribution's older release, and the newer one of the release after it,
//! which has vectors and the authentication plugin `parsec`.

use std::{
    env,
    fs::{self, File},
    io::{Read, Write},
};

use super::{
    Holder, Mode, NoServer, Server,
    mysql::{accounts, arguments, certificate, durability},
    mysql_server::{MySqlServer, Setup},
    process::free_port,
    suites::{Root, Wanted},
    user::User,
};

const PROGRAM: &str = "usr/sbin/mariadbd";

/// One version, and the variables that say how to reach it.
pub(super) struct Version {
    packages: Wanted<'static>,
    url: &'static str,
    /// A folder with `mariadb` and `mariadb-binlog`.
    programs: &'static str,
    /// The certificate authority that signed the server's certificate, where it has one.
    authority: &'static str,
    server_id: u32,
}

/// What the packages' scripts would want, and a bare server does not.
const LEFT_OUT: &[&str] = &[
    "perl",
    "libperl",
    "libdb",
    "libgdbm",
    "libconfig",
    "libpam",
    "gawk",
    "adduser",
    "passwd",
    "login",
    "debconf",
    "debianutils",
    "base-passwd",
    "init-system",
    "libsemanage",
    "libsepol",
    "galera",
    "procps",
    "iproute2",
    "psmisc",
    "lsof",
    "rsync",
    "socat",
    "tar",
    "dpkg",
    "gcc-",
    "readline",
    "libreadline",
    "mysql-common",
];

pub(super) const LONG_TERM: Version = Version {
    packages: Wanted {
        folder: "mariadb-bookworm",
        suite: "bookworm",
        packages: &["mariadb-server", "mariadb-client"],
        left_out: LEFT_OUT,
    },
    url: "HUB_TEST_MARIADB_URL",
    programs: "HUB_TEST_MARIADB_BIN",
    authority: "HUB_TEST_MARIADB_CA",
    server_id: 201,
};

pub(super) const NEWER: Version = Version {
    packages: Wanted {
        folder: "mariadb-trixie",
        suite: "trixie",
        packages: &["mariadb-server", "mariadb-client"],
        left_out: LEFT_OUT,
    },
    url: "HUB_TEST_MARIADB_NEW_URL",
    programs: "HUB_TEST_MARIADB_NEW_BIN",
    authority: "HUB_TEST_MARIADB_NEW_CA",
    server_id: 202,
};

/// Both versions.
pub(super) fn start(mode: Mode) -> Result<Server, NoServer> {
    Ok(Server::all_of(vec![start_version(&LONG_TERM, mode)?, start_version(&NEWER, mode)?]))
}

/// Only the older one.
pub(super) fn start_long_term(mode: Mode) -> Result<Server, NoServer> {
    start_version(&LONG_TERM, mode)
}

fn start_version(version: &Version, mode: Mode) -> Result<Server, NoServer> {
    if let Ok(url) = env::var(version.url) {
        return Ok(Server {
            environment: vec![(version.url.into(), url)],
            origin: format!("the one that `{}` names", version.url),
            _process: None,
        });
    }
    let server = server(version, mode, &[])?;
    let scripts = server.home().join("programs");
    let root = server.root();
    let binlog = ["usr/bin/mariadb-binlog", "usr/bin/mysqlbinlog"];
    let binlog = binlog.into_iter().find(|path| root.path(path).is_file()).unwrap_or(binlog[0]);
    root.scripts(&scripts, &[("mariadb", "usr/bin/mariadb"), ("mariadb-binlog", binlog)])?;
    let mut environment = vec![
        (version.url.into(), server.url()),
        (version.programs.into(), scripts.to_string_lossy().into_owned()),
    ];
    if let Some(authority) = server.authority() {
        environment.push((version.authority.into(), authority.to_string_lossy().into_owned()));
    }
    let origin = server.origin();
    Ok(Server { environment, origin, _process: Some(Holder::MySql(server)) })
}

/// A server that is told `settings` besides; they win.
pub(super) fn server(version: &Version, mode: Mode, settings: &[&str]) -> Result<MySqlServer, NoServer> {
    let user = User::unprivileged("mysql");
    let root = Root::fetched(&version.packages, user)?;
    let directory = tempfile::Builder::new().prefix("hub-mariadb-").tempdir()?;
    let home = directory.path();
    user.own(home)?;
    // The folder is `mysql` up to 10.11, and `mariadb` from 11 on.
    let share = ["usr/share/mariadb", "usr/share/mysql"].map(|path| root.path(path));
    let share = share.into_iter().find(|path| path.join("fill_help_tables.sql").is_file());
    let share = share.ok_or_else(|| NoServer::Broken("The packages hold no system tables".into()))?;
    let common = [
        "--no-defaults".to_owned(),
        format!("--basedir={}", root.path("usr").display()),
        format!("--plugin-dir={}", root.path("usr/lib/mysql/plugin").display()),
        format!("--lc-messages-dir={}", share.display()),
        format!("--character-sets-dir={}", share.join("charsets").display()),
        "--innodb-use-native-aio=0".to_owned(),
    ];
    let data = root.data(user, home, |data| {
        let mut tables = b"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n".to_vec();
        for part in ["system_tables", "performance_tables", "system_tables_data"] {
            let files = ["mariadb", "mysql"].map(|vendor| share.join(format!("{vendor}_{part}.sql")));
            let file = files.iter().find(|file| file.is_file());
            let file = file.ok_or_else(|| NoServer::Broken(format!("The packages hold no `{part}`")))?;
            File::open(file)?.read_to_end(&mut tables)?;
        }
        let script = data.with_extension("sql");
        File::create(&script)?.write_all(&tables)?;
        let mut command = root.command(user, PROGRAM)?;
        command.args(&common).arg(format!("--datadir={}", data.display()));
        command.args(["--bootstrap", "--silent-startup", "--innodb-log-file-size=16M"]);
        let made = run_with_input(&mut command, &script);
        fs::remove_file(script)?;
        made
    })?;

    let port = free_port()?;
    let mut told = common.to_vec();
    told.extend(arguments(home, port, version.server_id));
    told.push(format!("--datadir={}", data.display()));
    told.extend(
        ["--gtid-strict-mode=ON", "--log-slave-updates=ON", "--binlog-format=ROW"].map(str::to_owned),
    );
    told.extend(durability(mode).map(str::to_owned));
    let durable = match mode {
        Mode::Test => ["--innodb-log-file-size=16M", "--sync-binlog=0", "--innodb-doublewrite=0"],
        Mode::Bench => ["--innodb-log-file-size=512M", "--sync-binlog=1", "--innodb-doublewrite=1"],
    };
    told.extend(durable.map(str::to_owned));
    for plugin in ["auth_ed25519", "auth_parsec"] {
        if root.path("usr/lib/mysql/plugin").join(format!("{plugin}.so")).is_file() {
            told.push(format!("--plugin-load-add={plugin}"));
        }
    }
    let authority = certificate(home, user, &mut told)?;
    told.extend(settings.iter().map(|setting| format!("--{setting}")));
    fs::write(home.join("init.sql"), accounts("hub"))?;
    MySqlServer::run_first(Setup { root, user, program: PROGRAM, told, port, authority, home: directory })
}

/// Runs a program that reads its statements from a file.
fn run_with_input(command: &mut std::process::Command, input: &std::path::Path) -> Result<(), NoServer> {
    let output = command.stdin(File::open(input)?).output()?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(NoServer::Broken(format!("`mariadbd --bootstrap` ended with {}:\n{errors}", output.status)))
}
