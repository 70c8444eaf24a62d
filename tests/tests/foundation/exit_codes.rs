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

#[cfg(target_os = "linux")]
#[test]
fn results_that_a_full_disk_refuses_are_1() {
    let hub = Hub::new();
    for arguments in [&["plugins", "list"][..], &["--json", "connectors", "list"], &["completions", "bash"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = hub.command(arguments).stdout(full).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(told.contains("The results could not be written: No space left on device"), "{told}");
    }
}
