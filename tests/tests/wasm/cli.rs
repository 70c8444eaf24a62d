//! What the command line says about functions.

use std::fs;

use hub_tests::skip;
use serde_json::Value;

use crate::guests::{guest, hub};

/// A component's text with another version of one interface: versions are compared before anything is compiled.
fn with_version(module: &[u8], interface: &str, version: &str) -> Vec<u8> {
    let (from, to) = (format!("{interface}@1.0.0"), format!("{interface}@{version}"));
    assert_eq!(from.len(), to.len());
    let mut changed = module.to_vec();
    let places: Vec<_> = module
        .windows(from.len())
        .enumerate()
        .filter(|(_, text)| *text == from.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "the module does not name `{interface}`");
    for at in places {
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    changed
}

#[test]
fn check_shows_world_imports_limits_and_tries_the_function_out() {
    let Some(module) = guest("orders-rust") else { return skip("The Rust guest was not built") };
    let hub = hub();
    let shown = hub.call(&["functions", "check", &module.to_string_lossy()]).expect_success().stdout;
    for expected in [
        "orders-rust.wasm  world custom-function, contract 1.0.0",
        "connector-hub:plugin/connection@1.0.0",
        "yes     its connection's own database",
        "memory_mib     256 MiB",
        "call_seconds   30 seconds",
        "query_seconds  300 seconds",
        "positions of version 1",
    ] {
        assert!(shown.contains(expected), "`{expected}` is not in\n{shown}");
    }
    let json = hub.call(&["functions", "check", &module.to_string_lossy(), "--json"]).expect_success().stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["world"], "custom-function");
    assert_eq!(json["dry_run"]["passed"], true);
    assert_eq!(json["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn module_of_another_contract_or_world_is_refused_before_it_is_compiled() {
    let Some(module) = guest("orders-rust") else { return skip("The Rust guest was not built") };
    let module = fs::read(module).unwrap();
    let hub = hub();
    let reader = "connector-hub:plugin/reader";
    for (name, bytes, message, hint) in [
        (
            "newer.wasm",
            with_version(&module, reader, "2.0.0"),
            "The module `newer.wasm` speaks version 2.0.0 of the contract; this hub speaks 1.0.0",
            "Update the hub, or build the function with an older SDK",
        ),
        (
            "minor.wasm",
            with_version(&module, reader, "1.3.0"),
            "The module `minor.wasm` speaks version 1.3.0 of the contract; this hub speaks 1.0.0",
            "Update the hub, or build the function with an older SDK",
        ),
        (
            "older.wasm",
            with_version(&module, reader, "0.9.0"),
            "The module `older.wasm` speaks version 0.9.0 of the contract; this hub speaks 1.0.0",
            "Build the function again with a newer SDK",
        ),
        (
            "text.wasm",
            b"(module)".to_vec(),
            "The module `text.wasm` is not WebAssembly",
            "Make a binary module of it, as `wasm-tools parse` does",
        ),
        (
            // The smallest core module: eight bytes.
            "empty.wasm",
            b"\0asm\x01\0\0\0".to_vec(),
            "The module `empty.wasm` is a core module without the type of a component",
            "Build it with an SDK of this project, or as a WASI command that prints NDJSON",
        ),
        (
            "nothing.wasm",
            b"\0asm\x0d\0\x01\0".to_vec(),
            "The module `nothing.wasm` is of no world that this hub knows: it exports nothing",
            "A function exports `connector-hub:plugin/reader@1.0.0`, or is a WASI command that prints NDJSON",
        ),
    ] {
        let path = hub.path(name);
        fs::write(&path, bytes).unwrap();
        let refused = hub.call(&["functions", "check", &path.to_string_lossy()]);
        assert_eq!(refused.status.code(), Some(2), "{name}: {}", refused.stderr);
        assert!(refused.stderr.contains(message), "`{message}` is not in\n{}", refused.stderr);
        assert!(refused.stderr.contains(hint), "`{hint}` is not in\n{}", refused.stderr);
    }
    let missing = hub.call(&["functions", "check", "no-such.wasm"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(missing.stderr.contains("The module `no-such.wasm` cannot be read"), "{}", missing.stderr);
}

#[test]
fn connectors_that_answer_queries_have_the_strategy_with_its_options() {
    let hub = hub();
    let shown = hub.call(&["connectors", "show", "sqlite"]).expect_success().stdout;
    for expected in [
        "Strategy custom-function: By Custom Function",
        "module     Module, path of a file, required",
        "arguments  Arguments, structured, default `{}`",
        "memory_mib     Memory, number from 1 to 1048576, default `256`",
        "grants         Grants, list",
    ] {
        assert!(shown.contains(expected), "`{expected}` is not in\n{shown}");
    }
    let places: Vec<_> = ["Strategy query", "Strategy custom-function", "Strategy write"]
        .map(|title| shown.find(title).unwrap())
        .into();
    assert!(places.is_sorted(), "it stands behind the strategies that read");
    for connector in ["mysql", "mariadb", "postgres", "redis"] {
        let shown = hub.call(&["connectors", "show", connector]).expect_success().stdout;
        assert!(shown.contains("Strategy custom-function: By Custom Function"), "{connector}:\n{shown}");
    }
    let silent = hub.call(&["connectors", "show", "ndjson"]).expect_success().stdout;
    assert!(!silent.contains("custom-function"), "a connector without queries has no functions\n{silent}");
}

#[test]
fn connection_test_tries_the_function_out() {
    let Some(module) = guest("orders-rust") else { return skip("The Rust guest was not built") };
    let hub = hub();
    let file = hub.path("source.db");
    crate::orders::in_sqlite(&file, 3);
    let (set, module) = (format!("file={}", file.display()), format!("module={}", module.display()));
    let check = |option: &str| {
        hub.call(&["check", "sqlite", "--set", &set, "--strategy", "custom-function", "--option", option])
    };
    let passed = check(&module).expect_success().stdout;
    assert!(
        passed.contains("`orders-rust.wasm` is of world custom-function, positions of version 1"),
        "{passed}"
    );
    fs::write(hub.path("broken.wasm"), "no module").unwrap();
    let failed = check(&format!("module={}", hub.path("broken.wasm").display()));
    assert_eq!(failed.status.code(), Some(3), "{}", failed.stderr);
    assert!(failed.stdout.contains("The module `broken.wasm` is not WebAssembly"), "{}", failed.stdout);
}
