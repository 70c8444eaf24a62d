//! Redis: one server with TLS, a master with a replica, a Sentinel that watches them, and a cluster of three masters
//! with a replica each.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    Holder, Mode, NoServer, Server, certificates, packages,
    process::{ServerProcess, free_port, run},
    user::User,
    way_is_allowed,
};

/// The one server: `redis://user:password@host:port`.
const URL: &str = "HUB_TEST_REDIS_URL";
/// The password in it, for pipeline files.
const SECRET: &str = "HUB_TEST_REDIS_PASSWORD";
/// A folder with `redis-benchmark` and `redis-cli`.
const PROGRAMS: &str = "HUB_TEST_REDIS_BIN";
/// What those programs need as `LD_LIBRARY_PATH`, where they were unpacked.
const LIBRARIES: &str = "HUB_TEST_REDIS_LIBRARIES";
/// The certificate authority that signed the server's certificate, where it has one.
const AUTHORITY: &str = "HUB_TEST_REDIS_CA";
/// The one server's port for TLS.
const TLS_PORT: &str = "HUB_TEST_REDIS_TLS_PORT";
/// The port of a Sentinel that watches the one server by the name `hub`, and a master with a replica by the name `pair`.
const SENTINEL_PORT: &str = "HUB_TEST_REDIS_SENTINEL_PORT";
/// The ports of the pair, its first master before its first replica; tests may end either.
const PAIR_PORTS: &str = "HUB_TEST_REDIS_PAIR_PORTS";
/// The ports of a cluster's six nodes, comma-separated.
const CLUSTER_PORTS: &str = "HUB_TEST_REDIS_CLUSTER_PORTS";
const PASSWORD: &str = "only-for-tests";
const NODES: usize = 6;

/// Everything that the tests of the area need: Redis in each deployment, and PostgreSQL as the other end.
pub(super) fn start_area(mode: Mode) -> Result<Server, NoServer> {
    super::beside_postgres(vec![start(mode)?], mode)
}

/// Only Redis; for tests with a sentinel and a cluster beside it.
pub(super) fn start(mode: Mode) -> Result<Server, NoServer> {
    if let Ok(url) = env::var(URL) {
        let password = url.rsplit_once('@').and_then(|(login, _)| login.rsplit_once(':'));
        let password = password.map(|(_, password)| password.to_owned()).unwrap_or_default();
        return Ok(Server {
            environment: vec![(URL.into(), url), (SECRET.into(), password)],
            origin: format!("the one that `{URL}` names"),
            _process: None,
        });
    }
    let user = User::unprivileged("redis");
    let mut reasons = Vec::new();
    if way_is_allowed("installed") {
        let found = packages::in_path("redis-server");
        match found.as_deref().and_then(Path::parent) {
            Some(folder) => {
                return run_programs(&Programs { folder: folder.into(), root: None, user }, mode);
            }
            None => reasons.push("none is installed".to_owned()),
        }
    }
    if way_is_allowed("packages") {
        match packages::unpacked("redis-server", "redis", user) {
            Ok(root) => {
                let programs = Programs { folder: root.join("usr/bin"), root: Some(root), user };
                return run_programs(&programs, mode);
            }
            Err(NoServer::Missing(reason)) => reasons.push(reason),
            Err(broken) => return Err(broken),
        }
    }
    Err(NoServer::Missing(format!("{}; `{URL}` may name one", reasons.join("; "))))
}

/// The programs, the root folder of the packages that they were unpacked from, and who runs them.
struct Programs {
    folder: PathBuf,
    root: Option<PathBuf>,
    user: User,
}

impl Programs {
    fn command(&self, name: &str) -> Command {
        let mut command = self.user.command(&self.folder.join(name));
        command.env("LC_ALL", "C").current_dir("/");
        if let Some(root) = &self.root {
            command.env("LD_LIBRARY_PATH", packages::library_path(root));
        }
        command
    }

    /// What a server says of its replication; nothing where it does not answer.
    fn replication(&self, port: u16) -> String {
        let mut ask = self.command("redis-cli");
        ask.args(["--user", "hub", "--pass", PASSWORD, "--no-auth-warning", "-p", &port.to_string()]);
        run(ask.args(["info", "replication"])).unwrap_or_default()
    }

    /// Starts a server with settings in a directory of its own, and waits until it answers.
    fn start(
        &self,
        directory: TempDir,
        port: u16,
        settings: &str,
        arguments: &[&str],
    ) -> Result<ServerProcess, NoServer> {
        let home = directory.path().to_path_buf();
        self.user.own(&home)?;
        let file = home.join("redis.conf");
        fs::write(&file, format!("port {port}\nbind 127.0.0.1\ndir {}\n{settings}", home.display()))?;
        self.user.own(&file)?;
        let mut command = self.command("redis-server");
        command.arg(&file).args(arguments);
        let mut process = ServerProcess::start(command, directory)?;
        process.wait_until(|| answers(port))?;
        Ok(process)
    }
}

/// Any answer will do: without a password it is a refusal.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut line = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok()
        && stream.write_all(b"PING\r\n").is_ok()
        && BufReader::new(stream).read_line(&mut line).is_ok_and(|read| read > 0)
        && !line.starts_with("-LOADING")
}

fn run_programs(programs: &Programs, mode: Mode) -> Result<Server, NoServer> {
    let port = free_port()?;
    let directory = folder()?;
    let mut environment = vec![
        (URL.into(), format!("redis://hub:{PASSWORD}@127.0.0.1:{port}")),
        (SECRET.into(), PASSWORD.into()),
        (PROGRAMS.into(), programs.folder.to_string_lossy().into_owned()),
    ];
    if let Some(root) = &programs.root {
        environment.push((LIBRARIES.into(), packages::library_path(root)));
    }
    let mut settings = common(mode);
    settings.push_str("notify-keyspace-events KEA\n");
    if let Some(authority) = certificates::for_localhost(directory.path(), programs.user)? {
        let (tls_port, home) = (free_port()?, directory.path().display());
        settings.push_str(&format!(
            "tls-port {tls_port}\ntls-auth-clients no\ntls-cert-file {home}/server.crt\n\
             tls-key-file {home}/server.key\ntls-ca-cert-file {home}/ca.crt\n"
        ));
        environment.push((TLS_PORT.into(), tls_port.to_string()));
        environment.push((AUTHORITY.into(), authority.to_string_lossy().into_owned()));
    }
    let mut processes = vec![programs.start(directory, port, &settings, &[])?];
    if mode == Mode::Test {
        let (pair, pair_ports) = pair(programs)?;
        processes.extend(pair);
        environment.push((PAIR_PORTS.into(), pair_ports.map(|port| port.to_string()).join(",")));
        let sentinel_port = free_port()?;
        let watched: String = [("hub", port), ("pair", pair_ports[0])]
            .map(|(name, port)| {
                format!(
                    "sentinel monitor {name} 127.0.0.1 {port} 1\nsentinel auth-user {name} hub\n\
                     sentinel auth-pass {name} {PASSWORD}\nsentinel down-after-milliseconds {name} 2000\n\
                     sentinel failover-timeout {name} 10000\n"
                )
            })
            .concat();
        processes.push(programs.start(folder()?, sentinel_port, &watched, &["--sentinel"])?);
        environment.push((SENTINEL_PORT.into(), sentinel_port.to_string()));
        let (nodes, ports) = cluster(programs)?;
        processes.extend(nodes);
        environment.push((CLUSTER_PORTS.into(), ports.join(",")));
    }
    let origin = format!("{} on port {port}", programs.folder.join("redis-server").display());
    Ok(Server { environment, origin, _process: Some(Holder::Processes(processes)) })
}

fn folder() -> Result<TempDir, NoServer> {
    Ok(tempfile::Builder::new().prefix("hub-redis-").tempdir()?)
}

fn common(mode: Mode) -> String {
    let durable = match mode {
        Mode::Test => "save \"\"\nappendonly no\n",
        Mode::Bench => "save \"\"\nappendonly yes\nappendfsync everysec\nauto-aof-rewrite-percentage 0\n",
    };
    format!("{durable}user default off\nuser hub on >{PASSWORD} ~* &* +@all\n")
}

/// A master and its replica.
fn pair(programs: &Programs) -> Result<([ServerProcess; 2], [u16; 2]), NoServer> {
    let ports = [free_port()?, free_port()?];
    let settings =
        format!("{}masteruser hub\nmasterauth {PASSWORD}\nrepl-diskless-sync-delay 0\n", common(Mode::Test));
    let master = programs.start(folder()?, ports[0], &settings, &[])?;
    let follows = format!("{settings}replicaof 127.0.0.1 {}\n", ports[0]);
    let mut replica = programs.start(folder()?, ports[1], &follows, &[])?;
    replica.wait_until(|| programs.replication(ports[1]).contains("master_link_status:up"))?;
    Ok(([master, replica], ports))
}

/// Three masters, and a replica of each.
fn cluster(programs: &Programs) -> Result<(Vec<ServerProcess>, Vec<String>), NoServer> {
    let (mut nodes, mut ports) = (Vec::new(), Vec::new());
    for _ in 0..NODES {
        let (port, bus) = (free_port()?, free_port()?);
        let settings = format!(
            "{}notify-keyspace-events KEA\ncluster-enabled yes\ncluster-config-file nodes.conf\ncluster-port {bus}\n\
             cluster-node-timeout 3000\nrepl-diskless-sync-delay 0\nmasteruser hub\nmasterauth {PASSWORD}\n",
            common(Mode::Test)
        );
        nodes.push(programs.start(folder()?, port, &settings, &[])?);
        ports.push(port.to_string());
    }
    let mut create = programs.command("redis-cli");
    create.args(["--user", "hub", "--pass", PASSWORD, "--no-auth-warning", "--cluster", "create"]);
    create.args(ports.iter().map(|port| format!("127.0.0.1:{port}")));
    run(create.args(["--cluster-replicas", "1", "--cluster-yes"]))?;
    for (node, port) in nodes.iter_mut().zip(&ports) {
        node.wait_until(|| {
            let mut ask = programs.command("redis-cli");
            ask.args(["--user", "hub", "--pass", PASSWORD, "--no-auth-warning", "-p", port]);
            let state = run(ask.args(["cluster", "info"])).unwrap_or_default();
            let replication = port.parse().map(|port| programs.replication(port)).unwrap_or_default();
            state.contains("cluster_state:ok")
                && (replication.contains("connected_slaves:1")
                    || replication.contains("master_link_status:up"))
        })?;
    }
    Ok((nodes, ports))
}
