//! `cargo xtask`: what a developer runs, and what continuous integration runs.
//!
//! Depends on nothing heavy, so that it compiles in seconds. One file a command.

mod bench;
mod cargo;
mod check;
mod check_features;
mod demo;
mod dist;
mod guests;
mod licences;
mod run_folder;
mod server;
mod test;
mod test_areas;
mod test_run;

use std::{env, process::ExitCode};

/// How a command ends when it does not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments make no sense.
    Usage(String),
    /// Something went wrong, and the message says what.
    Failed(String),
}

/// What every command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(format!("Input or output failed: {error}"))
    }
}

/// A [`Failure::Failed`] with this message.
pub(crate) fn failed<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Failure::Failed(message.into()))
}

const HELP: &str = "\
Usage: cargo xtask COMMAND

Commands:
  demo                  Moves a million rows between two embedded databases; needs no server
  test [AREA …]         Checks, builds once and runs the tests of all areas, or of those named
       --full           … with full amounts of data, and the tests that take minutes
       --no-check       … without the checks that come first
       --list           … only names the areas
       -- ARGUMENT …    … hands the rest to the test programs, such as a test's name
  check                 Format, lints, documentation; licences and bans when cargo-deny is installed
  bench list            Names the benchmarks and what they aim at
  bench NAME [--check]  Runs one; its last line is one JSON object; --check fails below the aim
  guests [LANGUAGE …]   Builds the WebAssembly guests of sdk-wasm/, and names their files
  dist                  Builds the program and its plugins for shipping, into dist/
  help                  This text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", [].as_slice()),
    };
    let outcome = match command {
        "demo" => demo::run(rest),
        "test" => test::run(rest),
        "check" => check::run(rest),
        "bench" => bench::run(rest),
        "dist" => dist::run(rest),
        "guests" => guests::run(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        unknown => Err(Failure::Usage(format!("There is no command `{unknown}`"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(message)) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
        Err(Failure::Usage(message)) => {
            eprintln!("error: {message}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

/// Refuses arguments where a command takes none.
pub(crate) fn no_arguments(command: &str, arguments: &[String]) -> Outcome {
    match arguments.first() {
        None => Ok(()),
        Some(argument) => Err(Failure::Usage(format!("`{command}` takes no argument `{argument}`"))),
    }
}
