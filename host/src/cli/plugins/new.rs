use clap::Args;

use crate::cli::{
    exit::{Exit, Outcome},
    output::Output,
};

#[derive(Args)]
pub struct Arguments {}
pub fn run(_: &Arguments, _: &Output) -> Outcome {
    Ok(Exit::Done)
}
