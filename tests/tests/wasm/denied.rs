//! A connector that reaches for what it was not granted: nothing gets through, and the user learns what would grant it.

use std::{fs, path::Path};

use hub_tests::{Hub, skip};
use serde_json::{Value, json};

use crate::{
    component::plugins,
    guests::{guest, hub},
    session::Server,
};

/// What the manifest of the component `session` asks for.
const ASKED: &str = "{host}:{port}";

/// The component with another wish in its manifest, and a folder with the plugins of this run beside it.
fn asking_for(hub: &mut Hub, component: &Path, wish: &str) {
    assert_eq!(wish.len(), ASKED.len());
    let mut bytes = fs::read(component).unwrap();
    let places: Vec<_> = bytes
        .windows(ASKED.len())
        .enumerate()
        .filter(|(_, window)| *window == ASKED.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert_eq!(places.len(), 1, "`{ASKED}` stands once in the component");
    bytes[places[0]..places[0] + wish.len()].copy_from_slice(wish.as_bytes());
    hub.environment.plugins = hub_tests::Environment::get().plugins;
    let folder = hub.path(&format!("asking-{}", wish.replace(|c: char| !c.is_alphanumeric(), "-")));
    fs::create_dir(&folder).unwrap();
    let changed = folder.join("session.wasm");
    fs::write(&changed, bytes).unwrap();
    hub.environment.plugins = plugins(&folder, &changed);
}

/// A pipeline from the component's server into a database of its own.
fn pipeline(hub: &Hub, name: &str, config: Value) -> std::path::PathBuf {
    let destination = json!({
        "connector": "sqlite",
        "config": { "file": hub.path(&format!("{name}.db")) },
        "options": { "mode": "append", "table": "result", "create_table": true },
    });
    let source = json!({ "connector": "session", "config": config, "strategy": "query" });
    hub.pipeline(
        name,
        &source,
        &destination,
        &json!({ "allow_duplicates": true, "retry": { "attempts": 1, "first_delay": "10ms" } }),
    )
}

#[test]
fn a_connector_reaches_only_what_its_manifest_and_the_user_both_name() {
    let Some(component) = guest("session") else { return skip("no guest `session`") };
    let (mut hub, server) = (hub(), Server::default());
    let port = server.start();
    let given =
        |host: &str, listed: &[String]| json!({ "host": host, "port": port, "sandbox_network": listed });
    // Another way to write 127.0.0.1, so that the wish is no parameter's value.
    let fixed = format!("127.1:{port}");
    asking_for(&mut hub, &component, &format!("127.1:{port:0>7}"));

    let list_it = format!("list it under the parameter `sandbox_network`, if you trust it: {fixed}");
    let elsewhere = format!("its manifest and the configuration name {fixed} only");
    for (name, host, listed, tried, what_to_do) in [
        ("unlisted", "127.0.0.1", vec![], format!("127.0.0.1:{port}"), &list_it),
        (
            "other-listed",
            "127.0.0.1",
            vec![format!("127.0.0.1:{port}")],
            format!("127.0.0.1:{port}"),
            &list_it,
        ),
        ("name", "localhost", vec![], "localhost".into(), &list_it),
        ("other-host", "localhost", vec![fixed.clone()], "localhost".into(), &elsewhere),
    ] {
        let run = hub.run(&pipeline(&hub, name, given(host, &listed)));
        assert_eq!(run.status.code(), Some(1), "{name}: {}", run.stderr);
        let told =
            format!("hint: The connector tried to reach `{tried}`, which is not granted: {what_to_do}");
        assert!(run.stderr.contains(&told), "{name}: `{told}` is not in\n{}", run.stderr);
        assert_eq!(server.seen().sessions, 0, "{name}: something got through");
    }

    // The connection test says it, too.
    let checked = hub.call(&["check", pipeline(&hub, "checked", given("127.0.0.1", &[])).to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(3), "{}", checked.stdout);
    assert!(checked.stdout.contains(&list_it), "{}", checked.stdout);
    assert_eq!(server.seen().sessions, 0);

    let granted = hub.run(&pipeline(&hub, "granted", given("127.0.0.1", &[fixed]))).expect_success();
    assert_eq!((granted.rows(), server.seen().sessions), (400, 1));
}

#[test]
fn a_connector_whose_manifest_names_nothing_cannot_be_granted_anything() {
    let Some(component) = guest("session") else { return skip("no guest `session`") };
    let (mut hub, server) = (hub(), Server::default());
    let port = server.start();
    // No parameter is called so.
    asking_for(&mut hub, &component, "{nope}:{port}");
    let config =
        json!({ "host": "127.0.0.1", "port": port, "sandbox_network": [format!("127.0.0.1:{port}")] });
    let run = hub.run(&pipeline(&hub, "nothing", config));
    assert_eq!(run.status.code(), Some(1), "{}", run.stderr);
    let told = "its manifest names no host under `network`, so nothing can grant it";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    assert_eq!(server.seen().sessions, 0);
}
