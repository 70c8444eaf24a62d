//! The connection test, each failing step on a real server; TLS and the ways to log in.

use hub_plugin_api::{CheckReporter, CheckRequest, CheckStatus, CheckStep, Config, Result, json};

use crate::support::{ALL, Server, Which, context, read_statement, run};

async fn steps(server: &Server, strategy: &str, options: Config) -> Vec<CheckStep> {
    let (reporter, steps) = CheckReporter::collecting();
    let request = CheckRequest { strategy: strategy.into(), options };
    server.connection().await.check(&request, &reporter).await.unwrap();
    std::mem::take(&mut *steps.lock().unwrap())
}

fn failed(steps: &[CheckStep]) -> &CheckStep {
    steps
        .iter()
        .find(|step| step.status == CheckStatus::Failed)
        .unwrap_or_else(|| panic!("none failed: {steps:?}"))
}

/// An account of the test's own.
async fn account(server: &Server, purpose: &str, identified: &str, grants: &[&str]) -> String {
    let name = format!("{purpose}_{}", std::process::id());
    let mut statements =
        vec![format!("DROP USER IF EXISTS {name}"), format!("CREATE USER {name} {identified}")];
    statements.extend(grants.iter().map(|grant| format!("GRANT {grant} ON {}.* TO {name}", server.database)));
    server.run(&statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
    name
}

#[test]
fn every_step_passes_where_all_is_well() {
    for which in ALL {
        run(async {
            let server = Server::new(which, "well").await;
            server.run(&["CREATE TABLE t (id int PRIMARY KEY)"]).await;
            let statement = Config::new().with("statement", "select * from t");
            for (strategy, options) in [("query", statement), ("write", Config::new().with("table", "t"))] {
                let steps = steps(&server, strategy, options).await;
                let bad: Vec<_> = steps
                    .iter()
                    .filter(|step| !matches!(step.status, CheckStatus::Passed | CheckStatus::Skipped))
                    .collect();
                assert!(bad.is_empty(), "{which:?} {strategy}: {bad:?}");
                assert!(steps.len() >= 6);
            }
        });
    }
}

#[test]
fn what_an_account_may_not_do_comes_with_the_grant() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "grants").await;
            server.run(&["CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)"]).await;
            let name = account(&server, "half", "IDENTIFIED BY 'pw'", &["INSERT"]).await;
            server.config.set("username", name.clone());
            server.password = "pw".into();
            let steps_read =
                steps(&server, "query", Config::new().with("statement", "select * from t")).await;
            let step = failed(&steps_read);
            assert_eq!((step.step.as_str(), step.field.as_deref()), ("permissions", Some("statement")));
            let fix = format!("GRANT SELECT ON `{}`.* TO '{name}'@'%'", server.database);
            assert_eq!(step.fix.as_deref(), Some(fix.as_str()));
            let steps_write = steps(&server, "write", Config::new().with("table", "t")).await;
            let step = failed(&steps_write);
            assert_eq!(step.step, "permissions");
            assert!(step.fix.as_deref().unwrap().starts_with("GRANT "), "{step:?}");
        });
    }
}

/// An account of one host, which a grant to every host would not be for.
#[test]
fn grants_that_the_test_names_are_all_that_a_run_needs() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "ladder").await;
            let name = format!("ladder_{}", std::process::id());
            let (drop, create) = (
                format!("DROP USER IF EXISTS {name}@localhost"),
                format!("CREATE USER {name}@localhost IDENTIFIED BY 'pw'"),
            );
            server.run(&["CREATE TABLE t (id int PRIMARY KEY)", &drop, &create]).await;
            let admin = Server::at(which, &server.database);
            server.config.set("username", name.clone());
            server.password = "pw".into();
            let options = Config::new().with("table", "t").with("mode", "apply-changes");
            let mut granted = Vec::new();
            loop {
                let found = steps(&server, "write", options.clone()).await;
                let Some(step) = found.iter().find(|step| step.status == CheckStatus::Failed) else { break };
                let fix = step.fix.clone().unwrap_or_else(|| panic!("{which:?}: {step:?}"));
                assert!(fix.ends_with(&format!("TO '{name}'@'localhost'")), "{which:?}: {fix}");
                admin.run(&[&fix]).await;
                granted.push(fix.split(' ').nth(1).unwrap().to_owned());
                assert!(granted.len() < 9, "{which:?}: {granted:?}");
            }
            granted.sort();
            assert_eq!(granted, ["CREATE", "DELETE", "INSERT", "SELECT", "UPDATE"], "{which:?}");
            let request = hub_plugin_api::WriterRequest {
                pipeline: "ladder".into(),
                lane: 0,
                generation: 1,
                run: 1,
                strategy: "write".into(),
                options,
            };
            server.connection().await.writer(&request).await.unwrap();
            admin.run(&[&drop]).await;
        });
    }
}

/// MySQL asks for a plugin of its choice where there is no such account.
#[test]
fn logins_that_fail_say_what_may_be_wrong() {
    for (which, identified, said) in [
        (Which::MySql, None, "name"),
        (Which::MySql, Some("BY 'pw' ACCOUNT LOCK"), "UNLOCK"),
        (Which::MySql, Some("BY 'pw' PASSWORD EXPIRE"), "expired"),
        (Which::MySql, Some("BY 'pw' REQUIRE X509"), "certificate"),
        (Which::NewMariaDb, None, "name"),
        (Which::NewMariaDb, Some("BY 'pw' ACCOUNT LOCK"), "UNLOCK"),
        (Which::NewMariaDb, Some("BY 'pw' PASSWORD EXPIRE"), "expired"),
        (Which::NewMariaDb, Some("VIA unix_socket"), "socket"),
    ] {
        run(async {
            let mut server = Server::new(which, "logins").await;
            let name = format!("login_{}", std::process::id());
            let mut statements = vec![format!("DROP USER IF EXISTS {name}@localhost")];
            if let Some(identified) = identified {
                statements.push(format!("CREATE USER {name}@localhost IDENTIFIED {identified}"));
                statements.push(format!("GRANT ALL ON {}.* TO {name}@localhost", server.database));
            }
            server.run(&statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
            server.config.set("username", name.clone());
            server.password = "pw".into();
            let connection = server.connection().await;
            let by_driver = connection.identity().await.unwrap_err();
            let by_rows = read_statement(&*connection, "select 1").await.unwrap_err();
            for error in [by_driver, by_rows] {
                let hint = error.hint.clone().unwrap_or_default();
                let kind = hub_plugin_api::ErrorKind::Authentication;
                assert!(error.kind == kind && error.field.is_some(), "{which:?} {identified:?}: {error:?}");
                assert!(hint.contains(said), "{which:?} {identified:?}: {error:?}");
            }
            Server::at(which, &server.database).run(&[&statements[0]]).await;
        });
    }
}

#[test]
fn a_server_without_local_infile_is_a_warning_with_its_fix() {
    for which in [Which::MySql, Which::NewMariaDb] {
        run(async {
            let server = Server::new(which, "infile").await;
            server.run(&["SET GLOBAL local_infile = OFF"]).await;
            let found = steps(&server, "write", Config::new()).await;
            server.run(&["SET GLOBAL local_infile = ON"]).await;
            let step = found.iter().find(|step| step.step == "headroom").unwrap();
            assert_eq!(
                (step.status, step.fix.as_deref()),
                (CheckStatus::Warning, Some("SET GLOBAL local_infile = ON"))
            );
        });
    }
}

#[test]
fn tls_is_as_good_as_its_mode_says() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "tls").await;
            let cipher = if which == Which::MySql {
                "show session status like 'Ssl_cipher'"
            } else {
                "show status like 'Ssl_cipher'"
            };
            let query = async |server: &Server| -> Result<bool> {
                let read = read_statement(&*server.connection().await, cipher).await?.one();
                let value = hub_plugin_api::arrow::util::display::array_value_to_string(read.column(1), 0)?;
                Ok(!value.is_empty())
            };
            for (mode, authority, host, works) in [
                ("disabled", false, "127.0.0.1", Ok(false)),
                ("preferred", false, "127.0.0.1", Ok(true)),
                ("required", false, "127.0.0.1", Ok(true)),
                ("verify-ca", true, "127.0.0.1", Ok(true)),
                ("verify-ca", false, "127.0.0.1", Err(())),
                ("verify-identity", true, "localhost", Ok(true)),
                ("verify-identity", false, "localhost", Err(())),
            ] {
                server.config.set("tls_mode", mode);
                server.config.set("host", host);
                server.config.set("ca_file", if authority { json!(server.authority()) } else { json!("") });
                let found = query(&server).await;
                assert_eq!(
                    found.as_ref().map(|tls| *tls).map_err(|_| ()),
                    works,
                    "{which:?} {mode}: {found:?}"
                );
                // The session of statements must agree with the one of rows.
                let (reporter, checked) = CheckReporter::collecting();
                let request = CheckRequest { strategy: "query".into(), options: Config::new() };
                server.connection().await.check(&request, &reporter).await.unwrap();
                let checked = checked.lock().unwrap().clone();
                let ok = checked.iter().all(|step| step.status != CheckStatus::Failed);
                assert_eq!(ok, works.is_ok(), "{which:?} {mode}: {checked:?}");
                if works.is_err() {
                    assert_eq!(failed(&checked).step, "tls");
                }
            }
        });
    }
}

#[test]
fn accounts_log_in_by_every_plugin_that_their_server_has() {
    let cases: [(Which, &str, &str); 7] = [
        (Which::MySql, "sha2", "IDENTIFIED WITH caching_sha2_password BY 'pw'"),
        (Which::MySql, "none", ""),
        (Which::MariaDb, "native", "IDENTIFIED BY 'pw'"),
        (Which::MariaDb, "ed", "IDENTIFIED VIA ed25519 USING PASSWORD('pw')"),
        (Which::NewMariaDb, "native", "IDENTIFIED BY 'pw'"),
        (Which::NewMariaDb, "ed", "IDENTIFIED VIA ed25519 USING PASSWORD('pw')"),
        (Which::NewMariaDb, "parsec", "IDENTIFIED VIA parsec USING PASSWORD('pw')"),
    ];
    for (which, purpose, identified) in cases {
        run(async {
            let mut server = Server::new(which, "plugins").await;
            let name = account(&server, purpose, identified, &["ALL"]).await;
            let password = if identified.is_empty() { "" } else { "pw" };
            server.config.set("username", name);
            // First without TLS, when the server does not know the password yet; then again, and under TLS.
            for mode in ["disabled", "disabled", "required"] {
                server.config.set("tls_mode", mode);
                let connection =
                    server.which.connector().connect(&server.config, &context(password)).await.unwrap();
                let read = read_statement(&*connection, "select 1 as one").await;
                assert!(read.is_ok(), "{which:?} {purpose} {mode}: {}", read.unwrap_err());
                let identity = connection.identity().await;
                assert!(identity.is_ok(), "{which:?} {purpose} {mode}: {identity:?}");
            }
            let connection =
                server.which.connector().connect(&server.config, &context("wrong")).await.unwrap();
            let error = connection.identity().await.unwrap_err();
            assert_eq!(error.kind, hub_plugin_api::ErrorKind::Authentication, "{error}");
        });
    }
}
