use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{
    check, completions, connectors, discover, functions, paths, plugins, preview, run, schema, signal,
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
  connector-hub signal orders reread public.orders     Read a table again while `run` goes on
  connector-hub plugins doctor                         Why a plugin is not there
  connector-hub functions check pages.wasm             What a function of your own asks for

Exit codes:
  0 done · 1 failed · 2 wrong usage or invalid file · 3 connection test failed
  4 finished with dead letters · 130 or 143 stopped by a signal, after a commit";

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
    Signal(signal::Arguments),
    Schema(schema::Arguments),
    Paths(paths::Arguments),
    Completions(completions::Arguments),
}
