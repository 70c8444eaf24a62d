//! `cargo xtask demo`: a million rows from one embedded database to another, with no server installed.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use serde_json::Value;

use crate::{Outcome, cargo, failed, no_arguments, run_folder::copy_with_time};

const ROWS: u64 = 1_000_000;

const PIPELINE: &str = "\
# Moves the table lineitem from one embedded database to another.
version: 1
name: demo
source:
  connector: sqlite
  config: { file: shop.db }
  strategy: query
  options:
    statement: select * from lineitem
    # A later run continues behind the last row that it moved.
    cursor: [l_orderkey, l_linenumber]
destination:
  connector: sqlite
  config: { file: warehouse.db }
  options: { mode: append, table: lineitem, create_table: true }
commit: { every: 2s, bytes: 16MiB }
";

pub(crate) fn run(arguments: &[String]) -> Outcome {
    no_arguments("demo", arguments)?;
    let start = Instant::now();
    println!("1. Building the program, the plugin `sqlite` and a generator of TPC-H data");
    let demo = Demo::new()?;
    println!("   built in {:.0} s", start.elapsed().as_secs_f64());

    println!(
        "\n2. Making an embedded database with {} rows: {}",
        grouped(ROWS),
        demo.path("shop.db").display()
    );
    demo.generator(&["--rows", &ROWS.to_string(), "--sqlite", "shop.db"])?;

    println!("\n3. connector-hub run pipeline.yaml");
    let start = Instant::now();
    let status = demo.hub(&["run", "pipeline.yaml"]).status()?;
    if !status.success() {
        return failed(format!("The first run ended with {status}"));
    }
    let seconds = start.elapsed().as_secs_f64();
    let same = demo.generator(&["--compare", "shop.db", "warehouse.db"])?;
    if same.trim() != ROWS.to_string() {
        return failed(format!("{} rows were made and {} arrived", grouped(ROWS), same.trim()));
    }
    println!(
        "   {} rows in {seconds:.1} s, {} rows/s; both tables hold the same rows",
        grouped(ROWS),
        grouped((ROWS as f64 / seconds) as u64)
    );

    println!("\n4. The same again: the run continues behind the last row");
    let output = demo.hub(&["run", "pipeline.yaml", "--json"]).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return failed(format!("The second run ended with {}", output.status));
    }
    match rows_moved(&String::from_utf8_lossy(&output.stdout)) {
        Some(0) => println!("   0 rows moved"),
        other => return failed(format!("The second run moved {other:?} rows instead of none")),
    }
    let same = demo.generator(&["--compare", "shop.db", "warehouse.db"])?;
    if same.trim() != ROWS.to_string() {
        return failed("The second run changed the destination");
    }
    demo.say_what_next()
}

struct Demo {
    folder: PathBuf,
    program: PathBuf,
    generator: PathBuf,
}

impl Demo {
    /// Builds what is needed and no more, and makes a fresh folder.
    fn new() -> Outcome<Self> {
        let packages = ["connector-hub", "connector-sqlite", "hub-test-data"];
        let mut build = vec!["--release"];
        packages.iter().for_each(|package| build.extend(["--package", package]));
        let artifacts = cargo::build(&build)?;
        let folder = cargo::metadata()?.target_directory.join("demo");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let plugins = folder.join("plugins");
        fs::create_dir_all(&plugins)?;
        for library in artifacts.iter().filter_map(cargo::Artifact::shared_library) {
            copy_with_time(library, &plugins)?;
        }
        fs::write(folder.join("pipeline.yaml"), PIPELINE)?;
        Ok(Self {
            folder,
            program: cargo::program(&artifacts, "connector-hub")?.into(),
            generator: cargo::program(&artifacts, "hub-test-data")?.into(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The host, in the demo's folder, with the demo's own store.
    fn hub(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .arg("--plugin-dir")
            .arg(self.path("plugins"))
            .env("CONNECTOR_HUB_HOME", self.path("home"))
            .current_dir(&self.folder);
        command
    }

    fn generator(&self, arguments: &[&str]) -> Outcome<String> {
        let output = Command::new(&self.generator)
            .args(arguments)
            .current_dir(&self.folder)
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return failed(format!("The generator ended with {}", output.status));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn say_what_next(&self) -> Outcome {
        let quoted = |path: &Path| format!("'{}'", path.display());
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nWhat to try next, in {}:", self.folder.display())?;
        writeln!(out, "  cd {}", quoted(&self.folder))?;
        writeln!(
            out,
            "  export CONNECTOR_HUB_HOME=\"$PWD/home\" CONNECTOR_HUB_PLUGIN_PATH=\"$PWD/plugins\""
        )?;
        for arguments in [
            "preview pipeline.yaml#source",
            "run pipeline.yaml --json",
            "discover sqlite --set file=warehouse.db",
            "connectors show sqlite",
            "plugins list",
            "--help",
        ] {
            writeln!(out, "  {} {arguments}", quoted(&self.program))?;
        }
        Ok(())
    }
}

/// `rows` of the summary, which is the last JSON object that a run prints.
fn rows_moved(stdout: &str) -> Option<u64> {
    let whole = serde_json::from_str::<Value>(stdout).ok();
    let last = || stdout.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let summary = whole.or_else(last)?;
    summary["rows"].as_u64().or_else(|| summary["summary"]["rows"].as_u64())
}

/// `1,000,000`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn the_summary_is_the_last_object() {
        assert_eq!(rows_moved("{\"event\":\"progress\",\"rows\":5}\n{\"rows\":7}\n"), Some(7));
        assert_eq!(rows_moved("{\n  \"rows\": 3\n}\n"), Some(3));
        assert_eq!(rows_moved("nothing"), None);
    }
}
