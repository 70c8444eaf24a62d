//! Each way to end has its exit code.

use hub_tests::{Hub, lineitem_in_sqlite};
use serde_json::json;

use crate::sqlite::{destination, source};

#[test]
fn a_wrong_option_or_a_broken_file_is_2() {
    let hub = Hub::new();
    assert_eq!(hub.call(&["run", "--no-such-option"]).status.code(), Some(2));
    let file = hub.write("broken.yaml", "version: 1\nname: [");
    let run = hub.run(&file);
    assert_eq!(run.status.code(), Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("broken.yaml"), "{}", run.stderr);
}

#[test]
fn a_run_that_fails_is_1_and_says_why() {
    let hub = Hub::new();
    lineitem_in_sqlite(&hub.environment, &hub.path("source.db"), 10);
    let mut source = source(&hub);
    source["options"]["statement"] = json!("select * from no_such_table");
    let file = hub.pipeline("failing", &source, &destination(&hub, "append"), &json!({}));
    let run = hub.run(&file);
    assert_eq!(run.status.code(), Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("no_such_table"), "{}", run.stderr);
}

#[test]
fn a_connection_that_fails_its_test_is_3() {
    let hub = Hub::new();
    let file = format!("file={}", hub.path("no/such/folder/file.db").display());
    let run = hub.call(&["check", "sqlite", "--strategy", "query", "--set", &file]);
    assert_eq!(run.status.code(), Some(3), "{}\n{}", run.stdout, run.stderr);
}
