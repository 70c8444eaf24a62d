//! The command line of Connector Hub.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
