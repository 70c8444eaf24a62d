use std::{
    env,
    fs::{self, File},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use hub_tests::PeakMemory;
use serde_json::json;

use crate::{
    Outcome,
    rounds::{Ours, Plan, Result, compare},
    server::{ROWS, Server},
};

/// The program as a user runs it against two `psql` with a pipe between them.
pub(crate) fn run(plan: Plan) -> Outcome<Result> {
    let server = Server::get()?;
    server.make_lineitem()?;
    let folder = tempfile::tempdir()?;
    let [host, port, user, password, database] = server.address()?;
    let config = json!({
        "host": host, "port": port.parse::<u16>()?, "username": user, "database": database,
        "password": "${env:HUB_BENCH_PASSWORD}",
    });
    let pipeline = json!({
        "version": 1,
        "name": "bench",
        "source": {
            "connector": "postgres", "config": config, "strategy": "query",
            "options": { "statement": "select * from lineitem" },
        },
        "destination": {
            "connector": "postgres", "config": config,
            "options": { "mode": "append", "table": "ours", "create_table": true },
        },
        "allow_duplicates": true,
    });
    let file = folder.path().join("bench.yaml");
    fs::write(&file, pipeline.to_string())?;
    let binary = env::var_os("HUB_TEST_BINARY").ok_or("There is no program: run `cargo xtask bench`")?;
    let plugins = env::var_os("HUB_TEST_PLUGINS").ok_or("There are no plugins: run `cargo xtask bench`")?;
    let expected = sums(&server, "lineitem")?;

    let ours = || {
        server.ask("drop table if exists ours")?;
        server.ask("checkpoint")?;
        let log = folder.path().join("log");
        let start = Instant::now();
        let mut child = Command::new(&binary)
            .args(["run", "--json", "--from-scratch", "--plugin-dir"])
            .arg(&plugins)
            .arg(&file)
            .env("CONNECTOR_HUB_HOME", folder.path().join("home"))
            .env("HUB_BENCH_PASSWORD", &password)
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        let memory = PeakMemory::of(child.id());
        let status = child.wait()?;
        let elapsed = start.elapsed();
        if !status.success() {
            return Err(format!("The run ended with {status}: {}", fs::read_to_string(&log)?).into());
        }
        same(&expected, &sums(&server, "ours")?)?;
        Ok(Ours { elapsed, rows: ROWS, peak_mib: memory.mib() })
    };
    let reference = || {
        server.ask("drop table if exists theirs")?;
        // What ours makes by itself: types, NOT NULL and primary key.
        server.ask("create table theirs (like lineitem including all)")?;
        server.ask("checkpoint")?;
        let elapsed = piped(&server)?;
        same(&expected, &sums(&server, "theirs")?)?;
        Ok(elapsed)
    };
    compare(plan, ours, reference)
}

fn piped(server: &Server) -> Outcome<Duration> {
    let start = Instant::now();
    let mut from =
        server.psql("copy lineitem to stdout with (format binary)").stdout(Stdio::piped()).spawn()?;
    let mut to = server.psql("copy theirs from stdin with (format binary)");
    let loaded = to.stdin(from.stdout.take().ok_or("psql has no output")?).status()?.success();
    if !from.wait()?.success() || !loaded {
        return Err("psql failed".into());
    }
    Ok(start.elapsed())
}

/// Count and sums, in one pass of the server's own.
fn sums(server: &Server, table: &str) -> Outcome<String> {
    server.ask(&format!(
        "select count(*), sum(l_orderkey * l_linenumber), sum(l_extendedprice * l_linenumber),
                sum(l_shipdate - date '1970-01-01'), sum(length(l_comment) * l_linenumber) from {table}"
    ))
}

fn same(expected: &str, found: &str) -> Outcome {
    if expected == found { Ok(()) } else { Err(format!("The rows differ: {expected} and {found}").into()) }
}
