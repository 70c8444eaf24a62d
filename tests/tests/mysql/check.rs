//! The connection test through the program, on servers that are spoiled for it: each failing step names its statement,
//! and passes behind it.

use hub_tests::{Hub, changes::connect, servers::MySqlRelease};
use serde_json::{Value, json};

use crate::own::{FROM, Own, TO, wait_for_stream};

/// Both vendors.
const BOTH: [MySqlRelease; 2] = [MySqlRelease::MySql, MySqlRelease::MariaDb];

/// The steps of a connection test.
#[derive(Debug)]
struct Steps(Vec<Value>);

/// Tests a connection for a strategy.
fn check(hub: &Hub, own: &Own, strategy: &str, options: Value) -> Steps {
    let database = if strategy == "write" { TO } else { FROM };
    let side = json!({
        "connector": own.connector, "config": own.config(database), "strategy": strategy, "options": options,
    });
    // The other side is there because a file has two.
    let other = json!({ "connector": "sqlite", "config": { "file": hub.path("unused.db") } });
    let (mut source, mut destination) = (side.clone(), side);
    let which = if strategy == "write" {
        source = other;
        (source["strategy"], source["options"]) = (json!("query"), json!({ "statement": "select 1" }));
        "destination"
    } else {
        destination = other;
        destination["options"] = json!({ "table": "unused" });
        "source"
    };
    let file = hub.pipeline("checked", &source, &destination, &json!({}));
    let run = hub.call(&["check", "--json", &format!("{}#{which}", file.display())]);
    let report: Value = serde_json::from_str(&run.stdout)
        .unwrap_or_else(|_| panic!("No report:\n{}\n{}", run.stdout, run.stderr));
    Steps(report["endpoints"][0]["steps"].as_array().unwrap().clone())
}

impl Steps {
    fn has_failed(&self) -> bool {
        self.0.iter().any(|step| step["status"] == "failed")
    }

    /// The step of this status whose message holds `text`.
    #[track_caller]
    fn find(&self, status: &str, text: &str) -> &Value {
        let found = self.0.iter().find(|step| {
            step["status"] == status && step["message"].as_str().is_some_and(|message| message.contains(text))
        });
        found.unwrap_or_else(|| panic!("No {status} step says `{text}`: {:#?}", self.0))
    }

    /// Fails the test while any step failed or warns of this.
    #[track_caller]
    fn expect_no(&self, text: &str) {
        let wrong = self.0.iter().find(|step| {
            step["status"] != "passed"
                && step["message"].as_str().is_some_and(|message| message.contains(text))
        });
        assert!(wrong.is_none() && !self.has_failed(), "{:#?}", self.0);
    }
}

/// Something that is wrong with a server, and the step that says so.
struct Wrong {
    strategy: &'static str,
    /// The statements that make it so.
    spoil: &'static str,
    status: &'static str,
    says: &'static str,
}

impl Wrong {
    fn new(strategy: &'static str, spoil: &'static str, status: &'static str, says: &'static str) -> Self {
        Self { strategy, spoil, status, says }
    }
}

#[test]
fn what_a_statement_can_mend_is_mended_by_the_statement_that_the_step_names() {
    for release in BOTH {
        let Some(own) = Own::start(release, &[]) else { return };
        let hub = Hub::new();
        let terse = if release == MySqlRelease::MySql { "MINIMAL" } else { "NO_LOG" };
        let terse: &'static str = Box::leak(format!("set global binlog_row_metadata = '{terse}'").into());
        let mut wrongs = vec![
            Wrong::new(
                "binlog",
                "set global binlog_format = 'STATEMENT'",
                "failed",
                "`binlog_format` is `STATEMENT`",
            ),
            Wrong::new(
                "binlog",
                "set global binlog_format = 'MIXED'",
                "failed",
                "`binlog_format` is `MIXED`",
            ),
            Wrong::new("binlog", "set global binlog_row_image = 'MINIMAL'", "warning", "leaves out values"),
            Wrong::new("binlog", terse, "warning", "names of columns"),
            Wrong::new(
                "binlog",
                "set global binlog_expire_logs_seconds = 3600",
                "warning",
                "kept for `3600` s",
            ),
            Wrong::new("write", "set global read_only = on", "failed", "The server is read-only"),
            Wrong::new(
                "write",
                "set global max_allowed_packet = 1048576",
                "warning",
                "at most `1048576` bytes",
            ),
            Wrong::new("write", "set global local_infile = off", "warning", "LOAD DATA LOCAL"),
            Wrong::new("query", "set global max_connections = 10", "warning", "more sessions"),
        ];
        if release == MySqlRelease::MySql {
            wrongs.push(Wrong::new(
                "binlog",
                "set global gtid_mode = ON_PERMISSIVE",
                "warning",
                "have no GTIDs",
            ));
        }
        for wrong in wrongs {
            own.admin(wrong.spoil);
            // So many that hardly one more is taken.
            let held: Vec<_> = if wrong.strategy == "query" {
                (0..8).map(|_| connect(own.store())).collect()
            } else {
                Vec::new()
            };
            let options =
                if wrong.strategy == "query" { json!({ "statement": "select 1" }) } else { json!({}) };
            let steps = check(&hub, &own, wrong.strategy, options.clone());
            let step = steps.find(wrong.status, wrong.says);
            let fix = step["fix"].as_str().unwrap_or_else(|| panic!("No fix: {step:#?}"));
            own.admin(fix);
            check(&hub, &own, wrong.strategy, options).expect_no(wrong.says);
            drop(held);
        }
        own.run("create table keyless (a int)");
        own.run("create table par (id int primary key); create table chi (p int, foreign key (p) references par (id) on update cascade)");
        let steps = check(&hub, &own, "binlog", json!({}));
        steps.find("warning", "have no primary key: `chi`, `keyless`");
        let steps = check(&hub, &own, "binlog", json!({ "tables": ["keyless", "kyless", "shop.k*"] }));
        assert_eq!(steps.find("warning", "No table is called `shop.kyless`,")["field"], "tables");
        // This MySQL's log has what foreign keys do.
        match release {
            MySqlRelease::MySql => steps.expect_no("foreign keys"),
            _ => {
                steps.find("warning", "are not in the log: those of `shop.chi`");
            }
        }
    }
}

#[test]
fn what_needs_a_restart_fails_with_what_is_to_be_set() {
    for release in BOTH {
        let Some(mut own) = Own::start(release, &["skip-log-bin"]) else { return };
        let hub = Hub::new();
        let steps = check(&hub, &own, "binlog", json!({}));
        let fix = steps.find("failed", "keeps no binary log")["fix"].as_str().unwrap().to_owned();
        assert!(fix.contains("log_bin = binlog"), "{fix}");
        // A server that leaves a database out of its log, and one that leaves all others out.
        for (setting, says) in [
            ("binlog-ignore-db=shop", "Binlog_Ignore_DB is `shop`"),
            ("binlog-do-db=elsewhere", "Binlog_Do_DB is `elsewhere`"),
        ] {
            own.server.configure(&["log-bin=binlog", setting]);
            own.server.restart().unwrap();
            let steps = check(&hub, &own, "binlog", json!({}));
            assert_eq!(steps.find("failed", says)["field"], "database");
        }
    }
}

#[test]
fn server_id_of_a_pipeline_that_runs_is_refused() {
    for release in BOTH {
        let Some(own) = Own::start(release, &[]) else { return };
        own.run("create table t (id int primary key)");
        let hub = Hub::new();
        let mut running = hub.spawn(&own.pipeline(&hub, "first", json!({ "snapshot": "never" })));
        wait_for_stream(&mut running);
        let steps = check(&hub, &own, "binlog", json!({}));
        let step = steps.find("failed", "another replica or pipeline that follows this server now");
        assert_eq!(step["field"], "server_id");
        running.stop();
        let since = std::time::Instant::now();
        // The server notices a moment later.
        while check(&hub, &own, "binlog", json!({})).has_failed() {
            assert!(since.elapsed().as_secs() < 30, "The number stays taken");
        }
    }
}

#[test]
fn replica_that_does_not_log_what_it_takes_over_is_refused() {
    for (release, option, begin) in [
        (
            MySqlRelease::MySql,
            "log-replica-updates=OFF",
            "change replication source to source_host = '127.0.0.1', source_port = 1, source_user = 'hub'",
        ),
        (
            MySqlRelease::MariaDb,
            "log-slave-updates=OFF",
            "change master to master_host = '127.0.0.1', master_port = 1, master_user = 'hub'",
        ),
    ] {
        let Some(own) = Own::start(release, &[option]) else { return };
        let hub = Hub::new();
        assert!(!check(&hub, &own, "binlog", json!({})).has_failed());
        own.admin(begin);
        let steps = check(&hub, &own, "binlog", json!({}));
        let fix = steps.find("failed", "is a replica that does not log")["fix"].as_str().unwrap().to_owned();
        assert!(fix.contains("updates"), "{fix}");
    }
}
