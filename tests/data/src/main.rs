//! Makes TPC-H `lineitem` rows, the same ones every time, for tests, benchmarks and the demo.
//!
//! `hub-test-data --rows N --sqlite FILE` makes the table in a new embedded database.
//! `hub-test-data --rows N --csv` prints the rows as CSV without a header.
//! `hub-test-data --compare FILE FILE` prints how many rows both databases' tables hold, when they hold the same.
//! `hub-test-data --postgres-ddl TABLE` prints the statement that makes the table in PostgreSQL.

mod csv;
mod lineitem;
mod sqlite;

use std::{env, error::Error, path::Path, process::ExitCode};

const USAGE: &str = "\
Usage: hub-test-data --rows N --sqlite FILE | --rows N --csv | --compare FILE FILE | --postgres-ddl TABLE";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// False where the arguments make no sense.
fn run(arguments: &[String]) -> Result<bool, Box<dyn Error>> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--rows", rows, "--sqlite", file] => sqlite::write(Path::new(file), rows.parse()?)?,
        ["--rows", rows, "--csv"] => csv::write(std::io::stdout().lock(), rows.parse()?)?,
        ["--compare", left, right] => println!("{}", sqlite::compare(Path::new(left), Path::new(right))?),
        ["--postgres-ddl", table] => println!("{}", lineitem::postgres_ddl(table)),
        _ => return Ok(false),
    }
    Ok(true)
}
