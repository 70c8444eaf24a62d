//! The command line: one file a command. Results go to standard output, everything else to standard error.

mod arguments;
mod check;
mod completions;
mod connectors;
mod dead_letters;
mod discover;
mod endpoint;
mod exit;
mod functions;
mod logging;
mod output;
mod paths;
mod plugins;
mod preview;
mod progress;
mod rows;
mod run;
mod schema;
mod setup;
mod signal;
mod signals;
mod text;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use exit::{Exit, Outcome};
use output::Output;
use setup::Setup;

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse_from(arguments::gathered(std::env::args_os()));
    logging::start(&arguments.global);
    let output = Output::new(arguments.global.json);
    let exit = dispatch(arguments, &output).unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit()
    });
    let exit = if output.lost() && exit == Exit::Done { Exit::Failed } else { exit };
    ExitCode::from(exit.code())
}

fn dispatch(arguments: Arguments, output: &Output) -> Outcome {
    let setup = Setup::new(arguments.global);
    match arguments.command {
        Command::Plugins(command) => plugins::run(&command, &setup, output),
        Command::Connectors(command) => connectors::run(&command, &setup, output),
        Command::Functions(command) => functions::run(&command, &setup, output),
        Command::Check(arguments) => check::run(&arguments, &setup, output),
        Command::Discover(arguments) => discover::run(&arguments, &setup, output),
        Command::Preview(arguments) => preview::run(&arguments, &setup, output),
        Command::Run(arguments) => run::run(&arguments, &setup, output),
        Command::DeadLetters(arguments) => dead_letters::run(&arguments, &setup, output),
        Command::Signal(arguments) => signal::run(&arguments, &setup, output),
        Command::Schema(arguments) => schema::run(&arguments, &setup, output),
        Command::Paths(arguments) => paths::run(&arguments, &setup, output),
        Command::Completions(arguments) => completions::run(&arguments, output),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use connector_hub::{api::Role, pipeline::PipelineFile};

    use super::*;

    #[test]
    fn arguments_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn readme_shows_a_pipeline_that_is_read() {
        let (_, rest) = include_str!("../../../README.md").split_once("```yaml\n").unwrap();
        let (text, _) = rest.split_once("```").unwrap();
        let file = PipelineFile::parse(text, "orders.yaml".as_ref()).unwrap();
        assert_eq!((file.name(), file.connector(Role::Source)), ("orders", "postgres@^1"));
    }
}
