//! The connection test through the program, and servers of a test's own to break.

use hub_tests::{
    Hub,
    servers::{NoServer, PostgresCluster, PostgresRelease},
    skip,
};
use serde_json::{Value, json};

/// A server of a test's own; skips the test where there is none.
pub(crate) fn cluster(release: PostgresRelease, settings: &[(&str, &str)]) -> Option<PostgresCluster> {
    match PostgresCluster::start(release, settings) {
        Ok(cluster) => Some(cluster),
        Err(NoServer::Missing(reason)) => {
            skip(&reason);
            None
        }
        Err(NoServer::Broken(reason)) => panic!("{reason}"),
    }
}

/// How the hub reaches a server on 127.0.0.1 as the role that may do everything.
pub(crate) fn at_port(port: u16) -> Value {
    json!({
        "host": "127.0.0.1", "port": port, "username": "hub", "database": "postgres",
        "password": "${env:HUB_E2E_PASSWORD}",
    })
}

/// The same config with other values.
pub(crate) fn with(config: &Value, values: Value) -> Value {
    let (Value::Object(mut config), Value::Object(values)) = (config.clone(), values) else {
        panic!("A config is an object");
    };
    config.extend(values);
    Value::Object(config)
}

/// The steps of a connection test.
#[derive(Debug)]
pub(crate) struct Steps(Vec<Value>);

/// Tests a connection for a strategy that reads.
pub(crate) fn check(hub: &Hub, config: &Value, strategy: &str, options: Value) -> Steps {
    let side = json!({ "connector": "postgres", "config": config, "strategy": strategy, "options": options });
    // The other side is there because a file has two.
    let other = json!({ "connector": "sqlite", "config": { "file": hub.path("unused.db") } });
    let (source, destination) = if strategy == "write" {
        let reading = with(&other, json!({ "strategy": "query", "options": { "statement": "select 1" } }));
        (reading, side)
    } else {
        (side, with(&other, json!({ "options": { "table": "unused" } })))
    };
    let file = hub.pipeline("checked", &source, &destination, &json!({}));
    let which = if strategy == "write" { "destination" } else { "source" };
    let run = hub.call(&["check", "--json", &format!("{}#{which}", file.display())]);
    let report: Value = serde_json::from_str(&run.stdout)
        .unwrap_or_else(|_| panic!("No report:\n{}\n{}", run.stdout, run.stderr));
    let Value::Array(steps) = &report["endpoints"][0]["steps"] else { panic!("No steps: {report:#}") };
    let steps = Steps(steps.clone());
    assert_eq!(run.status.code(), Some(if steps.failed_or_none().is_some() { 3 } else { 0 }));
    steps
}

impl Steps {
    fn failed_or_none(&self) -> Option<&Value> {
        self.0.iter().find(|step| step["status"] == "failed")
    }

    /// Whether a step failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed_or_none().is_some()
    }

    /// The step that failed; those behind it were skipped.
    #[track_caller]
    pub(crate) fn failed(&self, name: &str) -> &Value {
        let at = self.0.iter().position(|step| step["status"] == "failed");
        let Some(at) = at else { panic!("No step failed: {:#?}", self.0) };
        assert_eq!(self.0[at]["step"], name, "{:#?}", self.0[at]);
        assert!(self.0[at + 1..].iter().all(|step| step["status"] == "skipped"), "{:#?}", self.0);
        &self.0[at]
    }

    /// The statement that mends the step that failed.
    #[track_caller]
    pub(crate) fn fix(&self, name: &str) -> String {
        let step = self.failed(name);
        step["fix"].as_str().unwrap_or_else(|| panic!("No fix: {step:#?}")).to_owned()
    }

    /// A step that passed or warned while none failed.
    #[track_caller]
    pub(crate) fn step(&self, name: &str) -> &Value {
        assert!(self.failed_or_none().is_none(), "{:#?}", self.0);
        let step = self.0.iter().find(|step| step["step"] == name);
        step.unwrap_or_else(|| panic!("There is no step `{name}`: {:#?}", self.0))
    }

    /// A step that works with a remark; its statement.
    #[track_caller]
    pub(crate) fn warning(&self, name: &str) -> String {
        let step = self.step(name);
        assert_eq!(step["status"], "warning", "{step:#?}");
        step["fix"].as_str().unwrap_or_default().to_owned()
    }

    /// Fails the test unless every step passed, or was not for this case.
    #[track_caller]
    pub(crate) fn expect_passed(&self) {
        let wrong = self.0.iter().find(|step| !matches!(step["status"].as_str(), Some("passed" | "skipped")));
        assert!(wrong.is_none(), "{:#?}", self.0);
    }
}
