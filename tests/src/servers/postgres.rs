//! What the tests of PostgreSQL are started with: the distribution's server and a newer one, each with a standby.

use std::{env, thread};

use super::{
    Holder, Mode, NoServer, Server,
    docker::Container,
    postgres_cluster::{DURABLE, PASSWORD, PostgresCluster, container_settings, url},
    postgres_programs::{PostgresRelease, Programs},
    user::User,
    way_is_allowed,
};

const URL: &str = "HUB_TEST_POSTGRES_URL";
const STANDBY_URL: &str = "HUB_TEST_POSTGRES_STANDBY_URL";
/// Version 18, which speaks no TLS.
const NEWER_URL: &str = "HUB_TEST_POSTGRES_18_URL";
const NEWER_STANDBY_URL: &str = "HUB_TEST_POSTGRES_18_STANDBY_URL";
/// A folder with `psql`.
const PROGRAMS: &str = "HUB_TEST_POSTGRES_BIN";
/// What `psql` needs as `LD_LIBRARY_PATH`, where it was unpacked.
const LIBRARIES: &str = "HUB_TEST_POSTGRES_LIBRARIES";
/// The certificate authority that signed the server's certificate, where it has one.
const AUTHORITY: &str = "HUB_TEST_POSTGRES_CA";

pub(super) fn start(mode: Mode) -> Result<Server, NoServer> {
    if let Ok(given) = env::var(URL) {
        let others = [STANDBY_URL, NEWER_URL, NEWER_STANDBY_URL];
        let others = others.into_iter().filter_map(|name| Some((name.to_owned(), env::var(name).ok()?)));
        return Ok(Server {
            environment: [(URL.to_owned(), given)].into_iter().chain(others).collect(),
            origin: format!("the one that `{URL}` names"),
            _process: None,
        });
    }
    let user = User::unprivileged("postgres");
    let programs = match Programs::find(PostgresRelease::Distribution, user) {
        Ok(programs) => programs,
        Err(NoServer::Missing(reason)) => {
            if way_is_allowed("docker") {
                return container(mode, &reason);
            }
            return Err(NoServer::Missing(format!("{reason}; `{URL}` may name one")));
        }
        Err(broken) => return Err(broken),
    };
    if mode == Mode::Bench {
        // What is measured has the machine for itself.
        return Ok(describe(vec![Named {
            url: URL,
            cluster: PostgresCluster::make(programs, user, DURABLE)?,
        }]));
    }
    // A newer server that is not to be had is missed by its own tests only.
    let (main, newer) = thread::scope(|scope| {
        let newer = scope.spawn(|| {
            let programs = Programs::find(PostgresRelease::Eighteen, user)?;
            pair(programs, user, NEWER_URL, NEWER_STANDBY_URL)
        });
        let main = pair(programs, user, URL, STANDBY_URL);
        (main, newer.join())
    });
    let mut clusters = main?;
    match newer {
        Ok(Ok(newer)) => clusters.extend(newer),
        Ok(Err(NoServer::Missing(reason))) => eprintln!("No PostgreSQL 18: {reason}"),
        Ok(Err(broken)) => return Err(broken),
        Err(_) => return Err(NoServer::Broken("The start of PostgreSQL 18 panicked".into())),
    }
    Ok(describe(clusters))
}

/// A server, and the variable with its address.
struct Named {
    url: &'static str,
    cluster: PostgresCluster,
}

/// A primary and its standby.
fn pair(
    programs: Programs,
    user: User,
    primary_url: &'static str,
    standby_url: &'static str,
) -> Result<Vec<Named>, NoServer> {
    let primary = PostgresCluster::make(programs, user, &[])?;
    let standby = primary.standby()?;
    Ok(vec![Named { url: primary_url, cluster: primary }, Named { url: standby_url, cluster: standby }])
}

fn describe(clusters: Vec<Named>) -> Server {
    let mut environment = Vec::new();
    let mut origins = Vec::new();
    for Named { url, cluster } in &clusters {
        environment.push(((*url).to_owned(), cluster.url()));
        let (folder, libraries) = cluster.programs();
        origins.push(format!("{} on port {}", folder.join("postgres").display(), cluster.port()));
        if *url != URL {
            continue;
        }
        environment.push((PROGRAMS.into(), folder.to_string_lossy().into_owned()));
        environment.extend(libraries.map(|libraries| (LIBRARIES.into(), libraries)));
        let authority = cluster.authority().map(|path| path.to_string_lossy().into_owned());
        environment.extend(authority.map(|authority| (AUTHORITY.into(), authority)));
    }
    // A standby stops before its primary, which would wait for it.
    let clusters = clusters.into_iter().rev().map(|named| named.cluster).collect();
    Server { environment, origin: origins.join(", "), _process: Some(Holder::Postgres(clusters)) }
}

fn container(mode: Mode, reason: &str) -> Result<Server, NoServer> {
    let password = format!("POSTGRES_PASSWORD={PASSWORD}");
    let options = ["--env", "POSTGRES_USER=hub", "--env", &password, "--env", "POSTGRES_DB=postgres"];
    let assignments = container_settings(mode == Mode::Bench);
    let command: Vec<&str> = assignments.iter().flat_map(|assignment| ["-c", assignment]).collect();
    let container =
        Container::start("postgres:17", 5432, &options, &command).map_err(|error| match error {
            NoServer::Missing(docker) => {
                NoServer::Missing(format!("{reason}; {docker}; `{URL}` may name one"))
            }
            broken @ NoServer::Broken(_) => broken,
        })?;
    // Over TCP: the image first runs a server without it to make the database.
    container.wait_until(&["pg_isready", "--host=127.0.0.1", "--username=hub"])?;
    let port = container.port(5432)?;
    Ok(Server {
        environment: vec![(URL.into(), url(port))],
        origin: format!("a container on port {port}"),
        _process: Some(Holder::Container(container)),
    })
}
