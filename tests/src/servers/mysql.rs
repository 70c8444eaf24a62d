//! MySQL: the vendor's own server and clients, of the distribution's rolling release.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::{
    Holder, Mode, NoServer, Server,
    certificates::Authority,
    mariadb,
    mysql_server::{MySqlServer, Setup},
    process::{free_port, run},
    suites::{Root, Wanted},
    user::User,
};

const PROGRAM: &str = "usr/sbin/mysqld";
const URL: &str = "HUB_TEST_MYSQL_URL";
/// A folder with `mysql` and `mysqlbinlog`.
const PROGRAMS: &str = "HUB_TEST_MYSQL_BIN";
/// The certificate authority that signed the server's certificate, where it has one.
const AUTHORITY: &str = "HUB_TEST_MYSQL_CA";
pub(super) const PASSWORD: &str = "only-for-tests";

const PACKAGES: Wanted<'static> = Wanted {
    folder: "mysql-sid",
    suite: "sid",
    packages: &["mysql-server-core", "mysql-client-core"],
    left_out: &[
        "perl",
        "libperl",
        "openssl-provider",
        "libdb5",
        "libgdbm",
        "libmecab",
        "gcc-",
        "libc-gconv",
        "libsasl2-modules",
        "libbz2",
        "libcrypt1",
    ],
};

/// Everything that the tests of the area need: MySQL, two versions of MariaDB, and PostgreSQL as the other end.
pub(super) fn start_area(mode: Mode) -> Result<Server, NoServer> {
    super::beside_postgres(vec![start(mode)?, mariadb::start(mode)?], mode)
}

/// Only MySQL.
pub(super) fn start(mode: Mode) -> Result<Server, NoServer> {
    if let Ok(url) = env::var(URL) {
        return Ok(Server {
            environment: vec![(URL.into(), url)],
            origin: format!("the one that `{URL}` names"),
            _process: None,
        });
    }
    let server = server(mode, &[])?;
    let scripts = server.home().join("programs");
    server.root().scripts(
        &scripts,
        &[
            ("mysql", "usr/bin/mysql"),
            ("mysqlbinlog", "usr/bin/mysqlbinlog"),
            ("mysqldump", "usr/bin/mysqldump"),
        ],
    )?;
    let mut environment =
        vec![(URL.into(), server.url()), (PROGRAMS.into(), scripts.to_string_lossy().into_owned())];
    if let Some(authority) = server.authority() {
        environment.push((AUTHORITY.into(), authority.to_string_lossy().into_owned()));
    }
    let origin = server.origin();
    Ok(Server { environment, origin, _process: Some(Holder::MySql(server)) })
}

/// A server that is told `settings` besides; they win.
pub(super) fn server(mode: Mode, settings: &[&str]) -> Result<MySqlServer, NoServer> {
    let user = User::unprivileged("mysql");
    let root = Root::fetched(&PACKAGES, user)?;
    let directory = tempfile::Builder::new().prefix("hub-mysql-").tempdir()?;
    let home = directory.path();
    user.own(home)?;
    let mut common = vec!["--no-defaults".to_owned()];
    for (option, path) in [
        ("basedir", "usr"),
        ("plugin-dir", "usr/lib/mysql/plugin"),
        ("lc-messages-dir", "usr/share/mysql"),
        ("character-sets-dir", "usr/share/mysql/charsets"),
    ] {
        common.push(format!("--{option}={}", root.path(path).display()));
    }
    // A small log, because the template of the data directory is copied for every server.
    common.extend(
        ["--secure-file-priv=NULL", "--innodb-redo-log-capacity=8M", "--innodb-use-native-aio=0"]
            .map(str::to_owned),
    );
    let data = root.data(user, home, |data| {
        let mut command = root.command(user, PROGRAM)?;
        command.args(&common).arg(format!("--datadir={}", data.display()));
        run(command.args(["--initialize-insecure", "--log-error-verbosity=2"]))?;
        // The server's identity: each copy makes its own.
        fs::remove_file(data.join("auto.cnf"))?;
        Ok(())
    })?;

    let port = free_port()?;
    let mut told = common;
    told.extend(arguments(home, port, 101));
    told.push(format!("--datadir={}", data.display()));
    let own = [
        "--mysqlx=OFF",
        "--gtid-mode=ON",
        "--enforce-gtid-consistency=ON",
        "--binlog-format=ROW",
        "--performance-schema=OFF",
    ];
    told.extend(own.map(str::to_owned));
    let durable = match mode {
        Mode::Test => ["--innodb-doublewrite=OFF", "--innodb-flush-method=nosync", "--sync-binlog=0"],
        Mode::Bench => ["--innodb-doublewrite=ON", "--innodb-flush-method=fsync", "--sync-binlog=1"],
    };
    told.extend(durable.map(str::to_owned));
    told.extend(durability(mode).map(str::to_owned));
    if mode == Mode::Bench {
        told.push("--innodb-redo-log-capacity=1G".into());
    }
    let authority = certificate(home, user, &mut told)?;
    told.extend(settings.iter().map(|setting| format!("--{setting}")));
    fs::write(home.join("init.sql"), accounts("hub"))?;
    MySqlServer::run_first(Setup { root, user, program: PROGRAM, told, port, authority, home: directory })
}

/// What both vendors' servers are told alike.
pub(super) fn arguments(home: &Path, port: u16, server_id: u32) -> Vec<String> {
    vec![
        format!("--port={port}"),
        "--bind-address=127.0.0.1".into(),
        format!("--socket={}", home.join("server.sock").display()),
        format!("--pid-file={}", home.join("server.pid").display()),
        // A server that starts removes every temporary table from its folder, those of a running one too.
        format!("--tmpdir={}", home.display()),
        format!("--init-file={}", home.join("init.sql").display()),
        format!("--server-id={server_id}"),
        "--log-bin=binlog".into(),
        "--binlog-row-image=FULL".into(),
        "--binlog-row-metadata=FULL".into(),
        "--local-infile=ON".into(),
        "--default-time-zone=+00:00".into(),
        "--max-connections=200".into(),
        "--character-set-server=utf8mb4".into(),
    ]
}

pub(super) fn durability(mode: Mode) -> [&'static str; 2] {
    match mode {
        Mode::Test => ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M"],
        Mode::Bench => ["--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=1G"],
    }
}

/// Makes the server's certificate where that is possible; returns the authority's.
pub(super) fn certificate(
    home: &Path,
    user: User,
    told: &mut Vec<String>,
) -> Result<Option<PathBuf>, NoServer> {
    let Some(authority) = Authority::make(home, "Connector Hub tests")? else { return Ok(None) };
    let (certificate, key) = authority.issue("server", "localhost", "DNS:localhost,IP:127.0.0.1", 30)?;
    user.own(&certificate)?;
    user.own(&key)?;
    for (option, file) in
        [("ca", authority.certificate()), ("cert", certificate.as_path()), ("key", key.as_path())]
    {
        told.push(format!("--ssl-{option}={}", file.display()));
    }
    Ok(Some(authority.certificate().to_path_buf()))
}

/// Statements of the server's start, one a line: a user that may everything, and a database.
pub(super) fn accounts(name: &str) -> String {
    format!(
        "CREATE DATABASE IF NOT EXISTS {name};\n\
         CREATE USER IF NOT EXISTS '{name}'@'%' IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL ON *.* TO '{name}'@'%' WITH GRANT OPTION;\n"
    )
}
