//! `plugins list | show | doctor | new`.

mod doctor;
mod list;
mod new;
mod show;

use clap::Subcommand;

use super::{exit::Outcome, output::Output, setup::Setup};

/// What is done with plugins.
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  connector-hub plugins list
  connector-hub plugins doctor                        Every place and every file, and why one is refused
  connector-hub plugins new my-database               A plugin of your own to start from")]
pub enum Command {
    /// List the plugins that are loaded
    List(list::Arguments),
    /// Show one plugin: its connectors, its file and how it was checked
    Show(show::Arguments),
    /// Explain where plugins are looked for, and what became of each file
    Doctor(doctor::Arguments),
    /// Write a new plugin to start from
    New(new::Arguments),
}

pub fn run(command: &Command, setup: &Setup, output: &Output) -> Outcome {
    match command {
        Command::List(arguments) => list::run(arguments, setup, output),
        Command::Show(arguments) => show::run(arguments, setup, output),
        Command::Doctor(arguments) => doctor::run(arguments, setup, output),
        Command::New(arguments) => new::run(arguments, output),
    }
}
