//! `cargo xtask bench`: builds and runs one benchmark against a server with real durability.

use std::process::Command;

use crate::{
    Failure, Outcome, cargo, failed, guests,
    run_folder::RunFolder,
    server::{self, Answer},
};

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let mut name = None;
    let mut check = false;
    for argument in arguments {
        match argument.as_str() {
            "--check" => check = true,
            other if name.is_none() && !other.starts_with('-') => name = Some(other),
            other => return Err(Failure::Usage(format!("`bench` takes no argument `{other}`"))),
        }
    }
    let Some(name) = name else {
        return Err(Failure::Usage("`bench` needs `list` or a benchmark's name".into()));
    };
    let metadata = cargo::metadata()?;
    // The same packages and features as the tests' build, so nothing is compiled twice.
    let artifacts = cargo::build(&["--release", "--workspace"])?;
    let program = cargo::program(&artifacts, "hub-benches")?;
    if name == "list" {
        return finish(Command::new(program).arg("list"));
    }
    let folder = RunFolder::new(&metadata.target_directory)?;
    let (plugins, _) = folder.place_libraries(&artifacts)?;
    // Guests are what these are about; others need none.
    let guests = match name.starts_with("wasm") {
        true => Some(guests::place(&guests::build(&[])?, &folder.path("guests"))?),
        false => None,
    };
    let launcher = cargo::program(&artifacts, "hub-test-server")?;
    // The area's launcher starts both vendors' servers, and PostgreSQL as the other end.
    let wanted = match name {
        name if name.starts_with("mysql") || name.starts_with("mariadb") => "mysql",
        name if name.starts_with("redis") => "redis",
        _ => "postgres",
    };
    let server = match server::start(launcher, wanted, "bench")? {
        Answer::Running(server) => server,
        Answer::Missing(reason) => return failed(format!("There is no `{wanted}` server: {reason}")),
    };
    let mut command = Command::new(program);
    command
        .arg(name)
        .args(check.then_some("--check"))
        .env("HUB_TEST_PLUGINS", plugins)
        .env("HUB_TEST_BINARY", cargo::program(&artifacts, "connector-hub")?)
        .env("HUB_TEST_DATA", cargo::program(&artifacts, "hub-test-data")?)
        .envs(guests.into_iter().flatten())
        .envs(server.environment.iter().map(|(name, value)| (name, value)));
    finish(&mut command)
}

fn finish(command: &mut Command) -> Outcome {
    let status = command.status()?;
    if status.success() { Ok(()) } else { failed(format!("The benchmark ended with {status}")) }
}
