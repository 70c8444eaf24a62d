//! TLS and identity against real servers: certificates made for the test, right and wrong.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

use hub_tests::{
    Hub,
    servers::{Authority, PostgresCluster, PostgresRelease},
    skip,
};
use serde_json::{Value, json};

use crate::check_steps::{Steps, at_port, check, cluster, with};

pub(crate) fn statement() -> Value {
    json!({ "statement": "select 1 as one" })
}

/// A server that takes sessions with TLS only, and the authority of its certificate.
pub(crate) fn server(hub: &Hub, names: &str, days: i32) -> Option<(PostgresCluster, Authority)> {
    let mut cluster = cluster(PostgresRelease::Distribution, &[])?;
    let Some(authority) = Authority::make(&folder(hub, "ours"), "Ours").unwrap() else {
        skip("no openssl");
        return None;
    };
    cluster.use_certificate(&authority.issue("server", "server", names, days).unwrap()).unwrap();
    cluster.trust(authority.certificate()).unwrap();
    cluster.admit("hostssl all all 127.0.0.1/32 scram-sha-256\n").unwrap();
    cluster.restart().unwrap();
    Some((cluster, authority))
}

fn folder(hub: &Hub, name: &str) -> std::path::PathBuf {
    let folder = hub.path(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn checked(hub: &Hub, cluster: &PostgresCluster, more: Value) -> Steps {
    check(hub, &with(&at_port(cluster.port()), more), "query", statement())
}

#[test]
fn only_the_right_authority_and_the_right_name_are_taken_for_the_server() {
    let hub = Hub::new();
    let Some((cluster, authority)) = server(&hub, "DNS:localhost,IP:127.0.0.1", 30) else { return };
    let other = Authority::make(&folder(&hub, "theirs"), "Theirs").unwrap().unwrap();
    let ours = authority.certificate();

    // SCRAM is bound to the server's certificate wherever there is TLS.
    for more in [
        json!({ "ssl_mode": "require" }),
        json!({ "ssl_mode": "require", "ca_file": ours }),
        json!({ "ssl_mode": "verify-full", "ca_file": ours }),
        json!({ "ssl_mode": "verify-full", "ca_file": ours, "host": "localhost" }),
    ] {
        checked(&hub, &cluster, more).expect_passed();
    }
    for more in [
        json!({ "ssl_mode": "verify-full" }),
        json!({ "ssl_mode": "verify-full", "ca_file": other.certificate() }),
        json!({ "ssl_mode": "require", "ca_file": other.certificate() }),
    ] {
        let steps = checked(&hub, &cluster, more);
        let step = steps.failed("tls");
        assert_eq!(step["field"], "ssl_mode");
        assert!(step["hint"].as_str().unwrap().contains("ca_file"), "{step}");
    }
    let steps = checked(&hub, &cluster, json!({ "ssl_mode": "disable" }));
    assert_eq!(steps.failed("authentication")["field"], "ssl_mode");
}

#[test]
fn a_certificate_of_another_name_is_refused_where_the_name_counts() {
    let hub = Hub::new();
    let Some((cluster, authority)) = server(&hub, "DNS:elsewhere.example", 30) else { return };
    let ours = authority.certificate();
    let steps = checked(&hub, &cluster, json!({ "ssl_mode": "verify-full", "ca_file": ours }));
    let step = steps.failed("tls");
    assert!(step["hint"].as_str().unwrap().contains("`host`"), "{step}");
    checked(&hub, &cluster, json!({ "ssl_mode": "require", "ca_file": ours })).expect_passed();
}

#[test]
fn a_certificate_that_has_expired_is_refused() {
    let hub = Hub::new();
    let Some((cluster, authority)) = server(&hub, "DNS:localhost,IP:127.0.0.1", -1) else { return };
    let ours = authority.certificate();
    for mode in ["verify-full", "require"] {
        let steps = checked(&hub, &cluster, json!({ "ssl_mode": mode, "ca_file": ours }));
        let step = steps.failed("tls");
        assert!(step["hint"].as_str().unwrap().contains("expired"), "{step}");
    }
}

#[test]
fn a_server_without_tls_is_no_server_for_a_session_that_needs_it() {
    let Some(cluster) = cluster(PostgresRelease::Eighteen, &[]) else { return };
    let hub = Hub::new();
    let steps = checked(&hub, &cluster, json!({ "ssl_mode": "require" }));
    assert_eq!(steps.failed("tls")["field"], "ssl_mode");
    checked(&hub, &cluster, json!({ "ssl_mode": "disable" })).expect_passed();
}

#[test]
fn a_role_is_known_by_its_certificate() {
    let hub = Hub::new();
    let Some((cluster, authority)) = server(&hub, "DNS:localhost,IP:127.0.0.1", 30) else { return };
    cluster.admit("hostssl all all 127.0.0.1/32 cert\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let other = Authority::make(&folder(&hub, "theirs"), "Theirs").unwrap().unwrap();
    let issue = |authority: &Authority, file: &str, role: &str, days: i32| {
        let (certificate, key) = authority.issue(file, role, "DNS:client", days).unwrap();
        json!({
            "ssl_mode": "verify-full", "ca_file": authority.certificate(), "client_certificate": certificate,
            "client_key": key, "password": null,
        })
    };
    let ours = json!({ "ca_file": authority.certificate() });
    checked(&hub, &cluster, issue(&authority, "right", "hub", 30)).expect_passed();

    let none = json!({ "ssl_mode": "verify-full", "ca_file": authority.certificate(), "password": null });
    checked(&hub, &cluster, none).failed("authentication");
    checked(&hub, &cluster, issue(&authority, "role", "somebody", 30)).failed("authentication");
    // A certificate that the server does not trust ends the handshake.
    checked(&hub, &cluster, with(&issue(&other, "foreign", "hub", 30), ours.clone())).failed("tls");
    checked(&hub, &cluster, issue(&authority, "old", "hub", -1)).failed("tls");

    let half = with(&issue(&authority, "half", "hub", 30), json!({ "client_key": hub.path("none.key") }));
    assert_eq!(checked(&hub, &cluster, half).failed("tls")["field"], "client_key");
    let swapped = issue(&authority, "swapped", "hub", 30);
    let swapped =
        with(&swapped, json!({ "client_key": issue(&authority, "second", "hub", 30)["client_key"] }));
    assert_eq!(checked(&hub, &cluster, swapped).failed("tls")["field"], "client_key");
}

#[test]
fn older_passwords_still_log_in_and_nothing_is_read_that_was_not_given() {
    let Some(cluster) = cluster(PostgresRelease::Distribution, &[("password_encryption", "md5")]) else {
        return;
    };
    let hub = Hub::new();
    {
        let database = hub_tests::Database::create_at(&cluster.url(), "md5");
        database.execute("create role old login password 'an-old-password'");
    }
    cluster.admit("host all old 127.0.0.1/32 md5\nhost all all 127.0.0.1/32 scram-sha-256\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let old = json!({ "username": "old", "password": "an-old-password" });
    checked(&hub, &cluster, old).expect_passed();
    let wrong = checked(&hub, &cluster, json!({ "username": "old", "password": "another-password" }));
    assert_eq!(wrong.failed("authentication")["field"], "password");

    // What libpq would find by itself is not looked for.
    let port = cluster.port();
    let passwords = hub.write("pgpass", &format!("127.0.0.1:{port}:*:old:an-old-password\n"));
    let services = hub.write("services", &format!("[here]\nhost=127.0.0.1\nport={port}\nuser=old\n"));
    let settings = [
        "host=127.0.0.1".to_owned(),
        format!("port={port}"),
        "username=old".into(),
        "database=postgres".into(),
    ];
    let mut arguments = vec!["check", "postgres", "--json"];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
    let output = hub
        .command(&arguments)
        .env("PGPASSFILE", &passwords)
        .env("PGPASSWORD", "an-old-password")
        .env("PGSERVICEFILE", &services)
        .env("PGSERVICE", "here")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
    let steps = report["endpoints"][0]["steps"].as_array().unwrap();
    let failed = steps.iter().find(|step| step["status"] == "failed").unwrap();
    assert_eq!((&failed["step"], &failed["field"]), (&json!("authentication"), &json!("password")));
}
