//! The connection test, TLS and Sentinel.

use hub_plugin_api::{CheckReporter, CheckRequest, CheckStatus, CheckStep, Config, Connector, Value, json};

use crate::support::{NOTIFICATIONS, Server, context, run, skip};

async fn steps(
    server: &Server,
    config: &Config,
    password: &str,
    strategy: &str,
    options: Value,
) -> Vec<CheckStep> {
    let Value::Object(options) = options else { panic!("options are an object") };
    let connection = connector_redis::Redis.connect(config, &context(password)).await.unwrap();
    let (reporter, steps) = CheckReporter::collecting();
    let request = CheckRequest { strategy: strategy.into(), options: Config::from(options) };
    connection.check(&request, &reporter).await.unwrap();
    assert!(!server.password.is_empty());
    steps.lock().unwrap().clone()
}

fn step<'a>(steps: &'a [CheckStep], name: &str) -> &'a CheckStep {
    steps.iter().find(|step| step.step == name).unwrap_or_else(|| panic!("no step `{name}`: {steps:?}"))
}

#[test]
fn missing_rights_are_named_with_the_command_that_grants_them() {
    run(async {
        let server = Server::get();
        let mut client = server.client().await;
        redis::cmd("ACL")
            .arg("SETUSER")
            .arg("narrow")
            .arg(&[
                "reset",
                "on",
                ">narrow",
                "~app:*",
                "+scan",
                "+get",
                "+type",
                "+ping",
                "+client",
                "+acl|dryrun",
            ])
            .exec_async(&mut client)
            .await
            .unwrap();
        let mut config = server.config.clone();
        config.set("username", "narrow");
        let keys = json!({ "patterns": ["app:*"], "keys": ["app:1"], "type": "string" });
        let found = steps(&server, &config, "narrow", "keys", keys).await;
        let rights = step(&found, "permissions");
        assert_eq!(rights.status, CheckStatus::Failed);
        let fix = rights.fix.as_deref().unwrap();
        assert!(
            fix.starts_with("ACL SETUSER narrow ") && fix.contains("+pttl") && fix.contains("+getrange"),
            "{fix}"
        );
        assert!(!fix.contains("+get "), "{fix}");
        // What is said is what helps.
        let rules: Vec<&str> = fix.split(' ').skip(3).collect();
        redis::cmd("ACL").arg("SETUSER").arg("narrow").arg(&rules).exec_async(&mut client).await.unwrap();
        let keys = json!({ "patterns": ["app:*"], "keys": ["app:1"], "type": "string" });
        let found = steps(&server, &config, "narrow", "keys", keys).await;
        assert_eq!(step(&found, "permissions").status, CheckStatus::Passed, "{found:?}");
        // INFO and CONFIG are not among them: warnings, no failures.
        assert_eq!(step(&found, "headroom").status, CheckStatus::Warning);
        redis::cmd("ACL").arg("DELUSER").arg("narrow").exec_async(&mut client).await.unwrap();
    });
}

#[test]
fn a_write_that_a_crash_would_lose_is_worth_a_warning() {
    run(async {
        let server = Server::get();
        let found = steps(&server, &server.config, &server.password, "write", json!({})).await;
        let headroom = step(&found, "headroom");
        assert_eq!(headroom.status, CheckStatus::Warning, "{found:?}");
        assert_eq!(headroom.fix.as_deref(), Some("CONFIG SET appendonly yes"));
    });
}

#[test]
fn key_events_that_are_not_sent_are_found_out_with_the_fix() {
    run(async {
        let _alone = NOTIFICATIONS.lock().await;
        let server = Server::get();
        let mut client = server.client().await;
        let found = steps(&server, &server.config, &server.password, "keyspace", json!({})).await;
        assert_eq!(step(&found, "notifications").status, CheckStatus::Passed, "{found:?}");
        redis::cmd("CONFIG")
            .arg("SET")
            .arg("notify-keyspace-events")
            .arg("Kg")
            .exec_async(&mut client)
            .await
            .unwrap();
        let found = steps(&server, &server.config, &server.password, "keyspace", json!({})).await;
        redis::cmd("CONFIG")
            .arg("SET")
            .arg("notify-keyspace-events")
            .arg("KEA")
            .exec_async(&mut client)
            .await
            .unwrap();
        let notifications = step(&found, "notifications");
        assert_eq!(notifications.status, CheckStatus::Failed);
        assert_eq!(notifications.fix.as_deref(), Some("CONFIG SET notify-keyspace-events KEA"));
    });
}

#[test]
fn tls_checks_the_chain_and_the_name_as_it_is_told() {
    run(async {
        let (Ok(port), Ok(authority)) =
            (std::env::var("HUB_TEST_REDIS_TLS_PORT"), std::env::var("HUB_TEST_REDIS_CA"))
        else {
            return skip("no server with TLS");
        };
        let server = Server::get();
        let mut config = server.config.clone();
        config.set("port", port.parse::<u16>().unwrap());
        for (mode, authority, passes) in [
            ("verify-full", Some(authority.as_str()), true),
            ("verify-full", None, false),
            ("require", Some(authority.as_str()), true),
            ("require", None, true),
        ] {
            config.set("tls_mode", mode);
            config.set("ca_file", authority.unwrap_or_default());
            let found = steps(&server, &config, &server.password, "write", json!({})).await;
            let expected = if passes { CheckStatus::Passed } else { CheckStatus::Failed };
            assert_eq!(step(&found, "tls").status, expected, "{mode} {authority:?}: {found:?}");
        }

        // From now on a client needs a certificate of the same authority; the server's own will do.
        let mut client = server.client().await;
        let demand = async |client: &mut redis::aio::MultiplexedConnection, value: &str| {
            let command = ["SET", "tls-auth-clients", value];
            redis::cmd("CONFIG").arg(&command).exec_async(client).await.unwrap();
        };
        demand(&mut client, "yes").await;
        config.set("tls_mode", "verify-full");
        config.set("ca_file", authority.as_str());
        let without = steps(&server, &config, &server.password, "write", json!({})).await;
        let folder = std::path::Path::new(&authority).parent().unwrap();
        config.set("client_certificate", folder.join("server.crt").to_str().unwrap());
        config.set("client_key", folder.join("server.key").to_str().unwrap());
        let with = steps(&server, &config, &server.password, "write", json!({})).await;
        demand(&mut client, "no").await;
        assert_eq!(step(&without, "tls").status, CheckStatus::Failed, "{without:?}");
        assert_eq!(step(&with, "tls").status, CheckStatus::Passed, "{with:?}");
        assert_eq!(step(&with, "permissions").status, CheckStatus::Passed, "{with:?}");
    });
}

#[test]
fn sentinels_name_the_master() {
    run(async {
        let Ok(port) = std::env::var("HUB_TEST_REDIS_SENTINEL_PORT") else { return skip("no Sentinel") };
        let server = Server::get();
        let mut config = server.config.clone();
        config.set("port", port.parse::<u16>().unwrap());
        config.set("deployment", "sentinel");
        config.set("sentinel_master", "hub");
        let connection = connector_redis::Redis.connect(&config, &server.context()).await.unwrap();
        assert_eq!(connection.identity().await.unwrap(), "sentinel/hub/0");
        config.set("sentinel_master", "another");
        let connection = connector_redis::Redis.connect(&config, &server.context()).await.unwrap();
        let error = connection.identity().await.unwrap_err();
        assert_eq!(error.field.as_deref(), Some("sentinel_master"), "{error}");
    });
}
