//! The contract's text against the native contract's list of calls.

use std::collections::BTreeMap;

use hub_plugin_abi::methods;

const WIT: &str = include_str!("../../../../sdk-wasm/wit/1.0/connector.wit");

/// The calls of each interface and resource, by its name, in their order.
fn calls() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut calls: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut open = Vec::new();
    for line in WIT.lines().map(str::trim).filter(|line| !line.starts_with("///")) {
        if let Some((name, _)) = line.split_once(": func(") {
            calls.entry(*open.last().unwrap()).or_default().push(name);
        } else if let Some(head) = line.strip_suffix('{') {
            open.push(head.trim().rsplit(' ').next().unwrap());
        } else if line == "}" {
            open.pop();
        }
    }
    calls
}

#[test]
fn the_world_connector_has_the_native_contracts_calls_and_a_tick() {
    let mut expected: BTreeMap<_, Vec<_>> = BTreeMap::from([
        ("plugin", methods::plugin::ALL.to_vec()),
        ("connection", methods::connection::ALL.to_vec()),
        ("plan", methods::plan::ALL.to_vec()),
        ("reader", methods::reader::ALL.to_vec()),
        ("writer", methods::writer::ALL.to_vec()),
        ("context", methods::context::ALL.to_vec()),
        ("reporter", methods::reporter::ALL.to_vec()),
    ]);
    expected.entry("plugin").or_default().push("tick");
    assert_eq!(calls(), expected);
}
