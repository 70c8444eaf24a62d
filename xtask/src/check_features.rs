//! The step `features` of `cargo xtask check`: `-p MEMBER` builds share their dependencies with whole builds.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
};

use crate::{Outcome, cargo, failed};

/// Built apart from all else, by the alias.
const APART: &str = "xtask";

/// Feature sets that each dependency is built with.
type Features = BTreeMap<String, BTreeSet<String>>;

pub(crate) fn run() -> Outcome {
    let together = features(&["--workspace"])?;
    let mut apart = BTreeSet::new();
    for package in cargo::metadata()?.packages {
        if package.name == APART {
            continue;
        }
        for (dependency, sets) in features(&["-p", &package.name])? {
            let known = together.get(&dependency);
            for set in sets.iter().filter(|set| !known.is_some_and(|known| known.contains(*set))) {
                apart.insert(format!("{dependency} [{set}] for -p {}", package.name));
            }
        }
    }
    if apart.is_empty() {
        return Ok(());
    }
    apart.iter().for_each(|line| eprintln!("check: built apart: {line}"));
    failed("Name the features that a whole build has of these in shared-features/Cargo.toml")
}

/// What cargo would build, by its own resolver.
fn features(packages: &[&str]) -> Outcome<Features> {
    let output = cargo::command()
        .args([
            "tree",
            "--locked",
            "--edges=normal,build,dev",
            "--format={p}|{f}",
            "--prefix=none",
            "--no-dedupe",
        ])
        .args(packages)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return failed("`cargo tree` failed");
    }
    let mut features = Features::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((package, set)) = line.split_once('|') else { continue };
        // Members have a path; what they are built with is theirs alone.
        if !package.contains("(/") {
            features.entry(package.to_owned()).or_default().insert(set.to_owned());
        }
    }
    Ok(features)
}
