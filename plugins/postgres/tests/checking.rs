//! The connection test: every fault in its own step, with field and fix.

use std::time::{Duration, Instant};

use connector_postgres::Postgres;
use hub_plugin_api::{CheckReporter, CheckRequest, CheckStatus, CheckStep, Config, Connector, json};

use crate::support::{Schema, Server, context, run};

async fn check(config: &Config, password: Option<String>, strategy: &str, options: Config) -> Vec<CheckStep> {
    let connection = Postgres.connect(config, &context(password)).await.unwrap();
    let (reporter, steps) = CheckReporter::collecting();
    let request = CheckRequest { strategy: strategy.into(), options };
    connection.check(&request, &reporter).await.unwrap();
    let steps = steps.lock().unwrap();
    steps.clone()
}

/// The step that failed; those before it passed and those behind it were skipped, with a reason.
fn failed(steps: &[CheckStep]) -> &CheckStep {
    let at = steps.iter().position(|step| step.status == CheckStatus::Failed).expect("a step fails");
    for (index, step) in steps.iter().enumerate() {
        if index < at {
            assert!(step.status != CheckStatus::Failed, "{step:?}");
        }
        if index > at {
            assert_eq!(step.status, CheckStatus::Skipped, "{step:?}");
            assert!(step.message.contains(&steps[at].step), "{step:?}");
        }
    }
    &steps[at]
}

fn query(statement: &str) -> Config {
    Config::new().with("statement", statement)
}

#[test]
fn working_connection_passes_every_step_in_order() {
    run(async {
        let server = Server::get();
        let steps = check(&server.config, server.password.clone(), "query", query("select 1 as one")).await;
        let names: Vec<_> = steps.iter().map(|step| step.step.as_str()).collect();
        assert_eq!(names, ["network", "tls", "authentication", "access", "permissions", "headroom"]);
        assert!(steps.iter().all(|step| step.status != CheckStatus::Failed), "{steps:?}");
        let steps = check(&server.config, server.password, "write", Config::new()).await;
        assert_eq!(steps.last().unwrap().step, "write-probe");
        assert!(steps.iter().all(|step| step.status != CheckStatus::Failed), "{steps:?}");
    });
}

#[test]
fn every_fault_has_its_step_and_field_and_no_one_waits() {
    run(async {
        let server = Server::get();
        let password = server.password.clone();
        let with = |id: &str, value: hub_plugin_api::Value| {
            let mut config = server.config.clone();
            config.set(id, value);
            config
        };
        let nothing_listens =
            std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for (config, password, statement, step, field) in [
            (with("host", json!("no-such-host.invalid")), password.clone(), "select 1", "network", "host"),
            (with("port", json!(nothing_listens)), password.clone(), "select 1", "network", "port"),
            (server.config.clone(), Some("wrong".to_owned()), "select 1", "authentication", "password"),
            (server.config.clone(), None, "select 1", "authentication", "password"),
            (
                with("database", json!("no such \" database")),
                password.clone(),
                "select 1",
                "access",
                "database",
            ),
            (server.config.clone(), password.clone(), "selec 1", "access", "statement"),
            (server.config.clone(), password.clone(), "select * from no_such_table", "access", "statement"),
            (server.config.clone(), password.clone(), "select 1 as a, 2 as a", "permissions", "statement"),
        ] {
            let started = Instant::now();
            let steps = check(&config, password, "query", query(statement)).await;
            let failed = failed(&steps);
            assert_eq!((failed.step.as_str(), failed.field.as_deref()), (step, Some(field)), "{failed:?}");
            assert!(started.elapsed() < Duration::from_secs(5), "{failed:?}");
        }
    });
}

#[test]
fn missing_rights_come_with_the_statements_that_grant_them() {
    run(async {
        let schema = Schema::new("rights").await;
        let role = format!("{} \"reader\"", schema.name);
        let quoted = role.replace('"', "\"\"");
        schema
            .run(&format!(
                "create table \"secret \"\" t\" (id int); drop role if exists \"{quoted}\"; \
                 create role \"{quoted}\" login password 'x'"
            ))
            .await;
        let mut config = schema.server.config.clone();
        config.set("username", role.clone());
        let statement = format!("select * from {}.\"secret \"\" t\"", schema.name);
        let mut fixes = Vec::new();
        for _ in 0..3 {
            let steps = check(&config, Some("x".into()), "query", query(&statement)).await;
            if steps.iter().all(|step| step.status != CheckStatus::Failed) {
                break;
            }
            let failed = failed(&steps);
            assert_eq!(failed.step, "permissions", "{failed:?}");
            let fix = failed.fix.clone().expect("a fix");
            schema.server.run(&fix).await;
            fixes.push(fix);
        }
        assert_eq!(
            fixes.last().unwrap(),
            &format!("GRANT SELECT ON \"{}\".\"secret \"\" t\" TO \"{quoted}\"", schema.name)
        );
        let write = Config::new()
            .with("schema", schema.name.clone())
            .with("table", "secret \" t")
            .with("mode", "upsert");
        let steps = check(&config, Some("x".into()), "write", write).await;
        let fix = failed(&steps).fix.clone().unwrap();
        assert!(fix.contains("GRANT INSERT, UPDATE ON"), "{fix}");
        schema.server.run(&format!("drop owned by \"{quoted}\"; drop role \"{quoted}\"")).await;
    });
}

#[test]
fn certificates_are_asked_for_and_checked_as_the_mode_says() {
    run(async {
        let server = Server::get();
        if server.text("show ssl").await.as_deref() != Some("on") {
            let mut config = server.config.clone();
            config.set("ssl_mode", "require");
            let steps = check(&config, server.password.clone(), "query", query("select 1")).await;
            assert_eq!(
                (failed(&steps).step.as_str(), failed(&steps).field.as_deref()),
                ("tls", Some("ssl_mode"))
            );
            return;
        }
        let mut config = server.config.clone();
        config.set("ssl_mode", "require");
        let steps = check(&config, server.password.clone(), "query", query("select 1")).await;
        assert!(steps.iter().all(|step| step.status != CheckStatus::Failed), "{steps:?}");
        assert_eq!(steps[1].status, CheckStatus::Passed);
        config.set("ssl_mode", "verify-full");
        let steps = check(&config, server.password.clone(), "query", query("select 1")).await;
        assert_eq!(failed(&steps).step, "tls");
        if let Ok(authority) = std::env::var("HUB_TEST_POSTGRES_CA") {
            config.set("ca_file", authority);
            let steps = check(&config, server.password.clone(), "query", query("select 1")).await;
            assert!(steps.iter().all(|step| step.status != CheckStatus::Failed), "{steps:?}");
        }
        config.set("ca_file", "/no/such/file.pem");
        let steps = check(&config, server.password.clone(), "query", query("select 1")).await;
        assert_eq!((failed(&steps).step.as_str(), failed(&steps).field.as_deref()), ("tls", Some("ca_file")));
    });
}

#[test]
fn identity_names_cluster_time_line_and_database() {
    run(async {
        let server = Server::get();
        let identity = server.connection().await.identity().await.unwrap();
        let parts: Vec<_> = identity.split('/').collect();
        assert_eq!(parts.len(), 3, "{identity}");
        assert!(parts[0].parse::<u64>().is_ok() && parts[1].parse::<u32>().is_ok(), "{identity}");
        assert_eq!(parts[2], server.driver.get_dbname().unwrap());
    });
}
