//! `cargo xtask test`: checks, builds the workspace once, and runs the tests area by area.

use std::{
    env,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    Failure, Outcome,
    cargo::{self, Artifact},
    check, failed, guests,
    run_folder::RunFolder,
    server::{self, Answer},
    test_areas,
    test_run::{self, Counts, Report},
};

/// How long one test program may take; with `--full` four times as long.
const LIMIT: Duration = Duration::from_secs(20 * 60);

#[derive(Debug, Default)]
struct Options {
    areas: Vec<String>,
    full: bool,
    no_check: bool,
    list: bool,
    /// What the test programs are given.
    rest: Vec<String>,
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let options = parse(arguments)?;
    let metadata = cargo::metadata()?;
    let all = test_areas::all(&metadata);
    if options.list {
        all.iter().for_each(|area| println!("{area}"));
        return Ok(());
    }
    let areas = test_areas::select(&all, &options.areas)?;
    if !options.no_check {
        check::run(&[])?;
    }
    let start = Instant::now();
    let mut artifacts = cargo::build(&["--release", "--workspace", "--all-targets"])?;
    artifacts.sort_by(|a, b| (&a.package, &a.target).cmp(&(&b.package, &b.target)));
    println!("Built in {:.0} s", start.elapsed().as_secs_f64());

    let folder = RunFolder::new(&metadata.target_directory)?;
    let mut environment = Environment::new(&folder, &artifacts, &options)?;
    if areas.iter().any(|area| area == test_areas::WASM) {
        let start = Instant::now();
        environment.variables.extend(guests::place(&guests::build(&[])?, &folder.path("guests"))?);
        println!("Guests built in {:.0} s", start.elapsed().as_secs_f64());
    }
    let mut total = Counts::default();
    let mut problems = Vec::new();
    for area in &areas {
        let start = Instant::now();
        println!("\n== {area}");
        let counts = run_area(area, &all, &artifacts, &environment, &options)?;
        println!("== {area}: {counts} in {:.1} s", start.elapsed().as_secs_f64());
        if counts.failed > 0 {
            problems.push(format!("area `{area}` failed"));
        } else if counts.total() == 0 {
            problems.push(format!("area `{area}` ran no test"));
        }
        total += counts;
    }
    drop(folder);
    println!("\n{total}");
    if problems.is_empty() { Ok(()) } else { failed(problems.join(", ")) }
}

fn parse(arguments: &[String]) -> Outcome<Options> {
    let mut options = Options::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--full" => options.full = true,
            "--no-check" => options.no_check = true,
            "--list" => options.list = true,
            "--" => options.rest = arguments.by_ref().cloned().collect(),
            flag if flag.starts_with('-') => {
                return Err(Failure::Usage(format!("`test` has no option `{flag}`")));
            }
            area => options.areas.push(area.to_owned()),
        }
    }
    Ok(options)
}

/// What every test program is told.
struct Environment {
    variables: Vec<(String, String)>,
    skips: PathBuf,
    launcher: PathBuf,
}

impl Environment {
    fn new(folder: &RunFolder, artifacts: &[Artifact], options: &Options) -> Outcome<Self> {
        let (plugins, fixtures) = folder.place_libraries(artifacts)?;
        let skips = folder.path("skips");
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut variables = vec![
            ("HUB_TEST_PLUGINS".to_owned(), path(plugins)),
            ("HUB_TEST_FIXTURES".to_owned(), path(fixtures)),
            ("HUB_TEST_SKIPS".to_owned(), path(skips.clone())),
            ("HUB_TEST_BINARY".to_owned(), path(cargo::program(artifacts, "connector-hub")?.into())),
            ("HUB_TEST_DATA".to_owned(), path(cargo::program(artifacts, "hub-test-data")?.into())),
            ("INSTA_WORKSPACE_ROOT".to_owned(), path(cargo::workspace_root().into())),
        ];
        if options.full {
            variables.push(("HUB_TEST_FULL".to_owned(), "1".to_owned()));
        }
        Ok(Self { variables, skips, launcher: cargo::program(artifacts, "hub-test-server")?.into() })
    }
}

fn run_area(
    area: &str,
    all: &[String],
    artifacts: &[Artifact],
    environment: &Environment,
    options: &Options,
) -> Outcome<Counts> {
    let limit = if options.full { LIMIT * 4 } else { LIMIT };
    // Held until the area's tests are over, whichever way they end.
    let mut servers = Vec::new();
    if server::known(&environment.launcher)?.iter().any(|name| name == area) {
        match server::start(&environment.launcher, area, "test")? {
            Answer::Running(server) => {
                println!("     server: {}", server.origin);
                servers.push(server);
            }
            Answer::Missing(reason) if env::var("CI").is_ok_and(|ci| ci == "true") => {
                return failed(format!("There is no `{area}` server: {reason}"));
            }
            Answer::Missing(reason) => {
                println!("     no server, so tests that need one are skipped: {reason}");
            }
        }
    }
    let mut counts = Counts::default();
    let prepare = |command: &mut Command| {
        command.envs(environment.variables.iter().map(|(name, value)| (name, value)));
        for server in &servers {
            command.envs(server.environment.iter().map(|(name, value)| (name, value)));
        }
    };
    for artifact in artifacts.iter().filter(|artifact| artifact.tested) {
        let Some(executable) = &artifact.executable else { continue };
        // Examples are compiled as tests of the build alone.
        let is_example = artifact.kinds.iter().any(|kind| kind == "example" || kind == "bench");
        if is_example || test_areas::of(artifact, all) != area {
            continue;
        }
        let mut command = Command::new(executable);
        command.args(&options.rest).current_dir(&artifact.folder).env("CARGO_MANIFEST_DIR", &artifact.folder);
        prepare(&mut command);
        let name = format!("{} {}", artifact.package, artifact.target);
        counts += show(&test_run::run(&name, command, limit, &environment.skips)?);
    }
    if area == test_areas::FOUNDATION && options.rest.is_empty() {
        let mut command = cargo::command();
        command.args(["test", "--release", "--workspace", "--doc", "--quiet"]);
        prepare(&mut command);
        let name = "examples in the documentation";
        counts += show(&test_run::run(name, command, limit, &environment.skips)?);
    }
    Ok(counts)
}

fn show(report: &Report) -> Counts {
    print!("{}", report.text);
    report.counts
}
