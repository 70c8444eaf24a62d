//! Finds or starts a server, says as one line of JSON how to reach it, and stops it when standard input closes.
//!
//! `hub-test-server list` · `hub-test-server NAME [--mode test|bench]`

use std::{
    env,
    io::{self, Read, Write},
    process::ExitCode,
};

use hub_tests::servers::{self, Mode, NoServer};
use serde_json::{Map, Value, json};

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (name, mode) = match arguments.as_slice() {
        ["list"] => {
            servers::names().for_each(|name| println!("{name}"));
            return Ok(ExitCode::SUCCESS);
        }
        [name] | [name, "--mode", "test"] => (name, Mode::Test),
        [name, "--mode", "bench"] => (name, Mode::Bench),
        _ => {
            eprintln!("Usage: hub-test-server list | NAME [--mode test|bench]");
            return Ok(ExitCode::from(2));
        }
    };
    match servers::start(name, mode) {
        Ok(server) => {
            let environment: Map<String, Value> =
                server.environment.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            say(&json!({ "environment": environment, "origin": server.origin }))?;
            io::stdin().read_to_end(&mut Vec::new())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(NoServer::Missing(reason)) => {
            say(&json!({ "missing": reason }))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(NoServer::Broken(reason)) => {
            eprintln!("error: {reason}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn say(answer: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{answer}")?;
    out.flush()
}
