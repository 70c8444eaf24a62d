//! Benchmarks against the fastest that the database's own tools do, in the same run.
//!
//! `cargo xtask bench list` names them. The last line of a run is one JSON object: the ratio is ours to the
//! reference, higher is better.

mod abi;
mod binlog;
mod copy;
mod mysql;
mod read;
mod redis;
mod rounds;
mod server;
mod source;
mod wal;
mod wasm;
mod wasm_native;

use std::{env, process::ExitCode};

use serde_json::json;

/// Whatever went wrong, as a text.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// One comparison.
struct Bench {
    name: &'static str,
    /// What is compared.
    about: &'static str,
    /// The ratio to reach.
    aim: f64,
    run: fn(rounds::Plan) -> Outcome<rounds::Result>,
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "abi",
        about: "PostgreSQL to Arrow through the loaded plugin : the same connector linked in",
        aim: 0.97,
        run: abi::run,
    },
    Bench {
        name: "pg-read",
        about: "PostgreSQL to Arrow : psql COPY BINARY to nowhere",
        aim: 1.0,
        run: read::one,
    },
    Bench {
        name: "pg-read-2",
        about: "PostgreSQL to Arrow in two splits : psql COPY BINARY of two key ranges side by side",
        aim: 0.9,
        run: read::two,
    },
    Bench {
        name: "pg-wide",
        about: "Many types of PostgreSQL to Arrow : psql COPY BINARY to nowhere",
        aim: 0.8,
        run: read::wide,
    },
    Bench {
        name: "pg-copy",
        about: "connector-hub run, PostgreSQL to PostgreSQL : psql COPY BINARY piped into psql",
        aim: 0.9,
        run: copy::run,
    },
    Bench {
        name: "pg-wal",
        about: "200,000 changes of PostgreSQL's log to Arrow : pg_recvlogical to nowhere",
        aim: 1.2,
        run: wal::run,
    },
    Bench {
        name: "mysql-binlog",
        about: "200,000 changes of MySQL's log to Arrow : mysqlbinlog --read-from-remote-server to nowhere",
        aim: 0.7,
        run: binlog::mysql,
    },
    Bench {
        name: "mariadb-binlog",
        about: "200,000 changes of MariaDB's log to Arrow : mariadb-binlog --read-from-remote-server to nowhere",
        aim: 0.7,
        run: binlog::mariadb,
    },
    Bench {
        name: "wasm-rows",
        about: "A function that yields lists of values : a native plugin that builds the same rows",
        aim: 0.15,
        run: wasm::rows,
    },
    Bench {
        name: "wasm-columns",
        about: "A function that yields flat columns : a native plugin that builds the same rows",
        aim: 1.0,
        run: wasm::columns_flat,
    },
    Bench {
        name: "wasm-ipc",
        about: "A function that yields Arrow IPC : a native plugin that builds the same rows",
        aim: 1.0,
        run: wasm::ipc,
    },
    Bench {
        name: "wasm-ndjson",
        about: "A function that prints JSON lines : a native plugin that builds the same rows",
        aim: 0.05,
        run: wasm::ndjson,
    },
    Bench {
        name: "wasm-start",
        about: "10 ms : a Rust or C function from its file to an instance, compiled before",
        aim: 1.0,
        run: wasm::start_up,
    },
    Bench {
        name: "mariadb-read",
        about: "MariaDB to Arrow : mariadb --batch --quick to nowhere",
        aim: 0.9,
        run: mysql::read,
    },
    Bench {
        name: "mariadb-write",
        about: "Rows of an Arrow file to MariaDB : LOAD DATA LOCAL INFILE of a text file",
        aim: 0.9,
        run: mysql::write,
    },
    Bench {
        name: "mysql-to-pg",
        about: "connector-hub run, MySQL to PostgreSQL : mysql --batch piped into psql COPY",
        aim: 1.0,
        run: mysql::mysql_to_pg,
    },
    Bench {
        name: "mariadb-to-pg",
        about: "connector-hub run, MariaDB to PostgreSQL : mariadb --batch piped into psql COPY",
        aim: 1.0,
        run: mysql::mariadb_to_pg,
    },
    Bench {
        name: "redis-keys",
        about: "Strings of Redis to Arrow, with times to live : redis-benchmark GET, a hundred at a time",
        aim: 0.5,
        run: redis::keys,
    },
    Bench {
        name: "redis-write",
        about: "Rows to strings of Redis, in transactions with tokens : redis-benchmark SET, a hundred at a time",
        aim: 0.8,
        run: redis::write,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (name, check) = match arguments.as_slice() {
        ["list"] => {
            for bench in BENCHES {
                println!("{:<10} aim {:<5} {}", bench.name, bench.aim, bench.about);
            }
            return ExitCode::SUCCESS;
        }
        [name] => (*name, false),
        [name, "--check"] => (*name, true),
        _ => ("", false),
    };
    let Some(bench) = BENCHES.iter().find(|bench| bench.name == name) else {
        eprintln!("Usage: cargo xtask bench list | NAME [--check]");
        return ExitCode::from(2);
    };
    match (bench.run)(rounds::Plan::for_aim(bench.aim)) {
        Ok(result) => {
            println!("{} {}: {:.3} (aim {})", bench.name, bench.about, result.ratio, bench.aim);
            println!(
                "{}",
                json!({
                    "bench": bench.name,
                    "ratio": rounded(result.ratio, 3),
                    "spread": result.spread.map(|ratio| rounded(ratio, 3)),
                    "aim": bench.aim,
                    "rows_per_s": result.rows_per_s.round(),
                    "peak_mib": rounded(result.peak_mib, 1),
                })
            );
            if check && result.ratio < bench.aim { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}
