use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{
    check, completions, connectors, dead_letters, discover, functions, paths, plugins, preview, run, schema,
    signal,
};

/// Moves rows from any database to any other, through connectors that are plugins.
#[derive(Parser)]
#[command(name = "connector-hub", version, max_term_width = 110, after_help = EXAMPLES)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  connector-hub connectors list                        What can be read from and written to
  connector-hub connectors show postgres               What a connector takes
  connector-hub check orders.yaml                      Test both connections of a pipeline
  connector-hub preview orders.yaml                    The first rows of its source
  connector-hub run orders.yaml                        Move the rows; again: go on where it stopped
  connector-hub dead-letters orders                    The rows that were refused
  connector-hub signal orders reread public.orders     Read a table again while `run` goes on
  connector-hub plugins doctor                         Why a plugin is not there
  connector-hub functions check pages.wasm             What a function of your own asks for

Exit codes:
  0 done · 1 failed · 2 wrong usage or invalid file · 3 connection test failed
  4 finished with dead letters · 130 or 143 stopped by a signal, after a commit";

/// The arguments with every `--plugin-dir` behind the command: clap forgets those before it when there are others behind.
pub fn gathered(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    const NAME: &str = "--plugin-dir";
    let (mut others, mut folders) = (Vec::new(), Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            folders.push(argument);
            break;
        }
        if argument == NAME {
            folders.push(argument);
            folders.extend(arguments.next());
        } else if argument.as_encoded_bytes().starts_with(b"--plugin-dir=") {
            folders.push(argument);
        } else {
            others.push(argument);
        }
    }
    others.into_iter().chain(folders).chain(arguments).collect()
}

/// What every command takes.
#[derive(Args)]
pub struct Global {
    /// Look for plugins in this folder first; may be repeated
    #[arg(long, value_name = "DIR", global = true, help_heading = "Global options")]
    pub plugin_dir: Vec<PathBuf>,
    /// Keep store, cache and logs below this folder
    #[arg(long, value_name = "DIR", global = true, help_heading = "Global options")]
    pub home: Option<PathBuf>,
    /// Print results as JSON; for `run` one object a line, as it happens
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// How log lines look on standard error
    #[arg(
        long,
        value_name = "FORMAT",
        global = true,
        default_value = "text",
        help_heading = "Global options"
    )]
    pub log_format: LogFormat,
    /// The least important log lines that are shown [default: warn]
    #[arg(long, value_name = "LEVEL", global = true, help_heading = "Global options")]
    pub log_level: Option<LogLevel>,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// How important a log line must be.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Subcommand)]
pub enum Command {
    /// List, explain and make plugins
    #[command(subcommand)]
    Plugins(plugins::Command),
    /// List and explain connectors
    #[command(subcommand)]
    Connectors(connectors::Command),
    /// Check functions of your own
    #[command(subcommand)]
    Functions(functions::Command),
    Check(check::Arguments),
    Discover(discover::Arguments),
    Preview(preview::Arguments),
    Run(run::Arguments),
    DeadLetters(dead_letters::Arguments),
    Signal(signal::Arguments),
    Schema(schema::Arguments),
    Paths(paths::Arguments),
    Completions(completions::Arguments),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_before_and_behind_the_command_all_count() {
        let given = |line: &str| {
            let words = line.split(' ').map(OsString::from);
            Arguments::try_parse_from(gathered(words)).map(|arguments| arguments.global.plugin_dir)
        };
        let folders = ["a", "b", "c"].map(PathBuf::from);
        assert_eq!(
            given("hub --plugin-dir a plugins --plugin-dir=b list --plugin-dir c --json").unwrap(),
            folders
        );
        assert!(given("hub plugins list --plugin-dir").is_err());
        let behind = gathered(["hub", "run", "--", "--plugin-dir", "x"].map(OsString::from));
        assert_eq!(behind, ["hub", "run", "--", "--plugin-dir", "x"]);
    }
}
