//! `cargo xtask demo`: a million rows from one embedded database to another, with no server installed.

use crate::{Outcome, no_arguments};

pub(crate) fn run(arguments: &[String]) -> Outcome {
    no_arguments("demo", arguments)?;
    crate::failed("The demo needs the command line's `run`")
}
