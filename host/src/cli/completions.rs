use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{
    arguments,
    exit::{Exit, Outcome},
    output::Output,
};

/// Print completions for a shell
#[derive(Args)]
#[command(after_help = "\
Examples:
  connector-hub completions bash > ~/.local/share/bash-completion/completions/connector-hub
  connector-hub completions fish > ~/.config/fish/completions/connector-hub.fish")]
pub struct Arguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub fn run(arguments: &Arguments, output: &Output) -> Outcome {
    let mut command = arguments::Arguments::command();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "connector-hub", &mut script);
    output.text(&script);
    Ok(Exit::Done)
}
