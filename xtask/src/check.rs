//! `cargo xtask check`: format, lints, documentation, dependencies.

use std::{path::PathBuf, process::Stdio, time::Instant};

use crate::{Failure, Outcome, cargo, check_features, failed, no_arguments};

type Step = fn() -> Outcome;

pub(crate) fn run(arguments: &[String]) -> Outcome {
    no_arguments("check", arguments)?;
    // Every step runs, so that one call shows all there is to mend.
    let steps: [(&str, Step); 5] = [
        ("format", format),
        ("features", check_features::run),
        ("lints", lints),
        ("documentation", documentation),
        ("dependencies", dependencies),
    ];
    let mut failures = Vec::new();
    for (name, step) in steps {
        let start = Instant::now();
        eprintln!("check: {name}");
        match step() {
            Ok(()) => eprintln!("check: {name} is clean ({:.1} s)", start.elapsed().as_secs_f64()),
            Err(Failure::Failed(message) | Failure::Usage(message)) => {
                eprintln!("check: {name} is not clean: {message}");
                failures.push(name);
            }
        }
    }
    if failures.is_empty() { Ok(()) } else { failed(format!("Not clean: {}", failures.join(", "))) }
}

fn format() -> Outcome {
    cargo::run(&["fmt", "--all", "--check"], &[])
}

fn lints() -> Outcome {
    cargo::run(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])
}

fn documentation() -> Outcome {
    cargo::run(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
}

fn dependencies() -> Outcome {
    let version = cargo::command()
        .args(["deny", "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !version.is_ok_and(|status| status.success()) {
        eprintln!("check: cargo-deny is not installed, so licences, bans and sources are not checked");
        return Ok(());
    }
    cargo::run(&["deny", "--workspace", "check", "bans", "licenses", "sources"], &[])?;
    if advisory_database_is_on_disk() {
        cargo::run(&["deny", "--workspace", "check", "--disable-fetch", "advisories"], &[])
    } else {
        eprintln!("check: the advisory database is not on disk, so advisories are not checked");
        Ok(())
    }
}

/// Whether cargo-deny has fetched its database before: nothing is fetched here.
fn advisory_database_is_on_disk() -> bool {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let Some(home) = home else { return false };
    let entries = std::fs::read_dir(home.join("advisory-dbs"));
    entries.is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|entry| entry.path().is_dir())))
}
