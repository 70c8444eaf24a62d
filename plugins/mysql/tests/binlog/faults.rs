use hub_plugin_api::{Config, ErrorKind, Position, StartAt, json};

use super::{Followed, follow, log_request, own_server_id};
use crate::support::{ALL, Server, Which, open_request, run};

#[test]
fn statements_in_place_of_rows_stop_loudly() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "format").await;
            own_server_id(&mut server);
            server.run(&["CREATE TABLE t (id int PRIMARY KEY)"]).await;
            let mut reader = follow(&server, json!({})).await;
            server.run(&["SET SESSION binlog_format = 'STATEMENT'", "INSERT INTO t VALUES (1)"]).await;
            let error = Followed::default().more(&mut *reader, 1).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unsupported);
            assert!(error.message.contains("a statement in place of the rows"), "{error}");
            assert!(error.hint.unwrap().contains("binlog_format"));
        });
    }
}

#[test]
fn position_that_the_log_does_not_have_says_what_to_do() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "lost").await;
            own_server_id(&mut server);
            server.run(&["CREATE TABLE t (id int PRIMARY KEY)"]).await;
            let mut reader = follow(&server, json!({})).await;
            server.run(&["INSERT INTO t VALUES (1)"]).await;
            let mut followed = Followed::default();
            followed.more(&mut *reader, 1).await.unwrap();
            let value = followed.position.unwrap().as_value().clone();
            let changed = |field: &str, to: hub_plugin_api::Value| -> Position {
                let mut value = value.clone();
                value["gtids"] = hub_plugin_api::Value::Null;
                value[field] = to;
                serde_json::from_value(value).unwrap()
            };
            let connection = server.connection().await;
            for (field, to, text) in [
                ("file", json!("binlog.999999"), "no longer has the file"),
                ("offset", json!(1u64 << 31), "the log was reset"),
                ("server", json!("another"), "this is server"),
            ] {
                let start = Some(StartAt::Position(changed(field, to)));
                let failed = connection.plan(&log_request(&server, json!({}), start)).await;
                let error = failed.err().expect("the position is refused");
                assert_eq!(error.kind, ErrorKind::PositionLost, "{error}");
                assert!(error.message.contains(text), "{error}");
                assert!(error.hint.unwrap().contains("--from-scratch"));
            }
            let unknown = match which {
                Which::MySql => "00000000-0000-0000-0000-00000000aaaa:1-5",
                _ => "0-9999-99999999",
            };
            let start = Some(StartAt::Position(changed("gtids", json!(unknown))));
            let error = match connection.plan(&log_request(&server, json!({}), start)).await {
                Err(error) => error,
                // MariaDB compares when the stream begins.
                Ok(plan) => {
                    let split = plan.description().splits.pop().unwrap();
                    let mut reader = plan.open(&open_request(&split, None)).await.unwrap();
                    Followed::default().more(&mut *reader, 1).await.unwrap_err()
                }
            };
            assert_eq!(error.kind, ErrorKind::PositionLost, "{error}");
        });
    }
}

#[test]
fn account_without_the_right_is_refused_with_the_grant() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "grant").await;
            own_server_id(&mut server);
            let user = format!("norepl{}", std::process::id());
            server
                .run(&[
                    "CREATE TABLE t (id int PRIMARY KEY)",
                    &format!("DROP USER IF EXISTS {user}"),
                    &format!("CREATE USER {user} IDENTIFIED BY 'pw'"),
                    &format!("GRANT SELECT ON {}.* TO {user}", server.database),
                ])
                .await;
            server.config.set("username", user.clone());
            let config: Config = server.config.clone();
            let context = crate::support::context("pw");
            let connection = which.connector().connect(&config, &context).await.unwrap();
            let error = match connection.plan(&log_request(&server, json!({}), None)).await {
                Err(error) => error,
                // MariaDB asks for the right only when the stream begins.
                Ok(plan) => {
                    let split = plan.description().splits.pop().unwrap();
                    match plan.open(&open_request(&split, None)).await {
                        Err(error) => error,
                        Ok(mut reader) => Followed::default().more(&mut *reader, 1).await.unwrap_err(),
                    }
                }
            };
            assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
        });
    }
}

#[test]
fn second_that_follows_under_the_same_number_ends_the_first_which_says_why() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "twice").await;
            own_server_id(&mut server);
            server.run(&["CREATE TABLE t (id int PRIMARY KEY)"]).await;
            let mut first = follow(&server, json!({})).await;
            server.run(&["INSERT INTO t VALUES (1)"]).await;
            Followed::default().more(&mut *first, 1).await.unwrap();
            let mut second = follow(&server, json!({})).await;
            server.run(&["INSERT INTO t VALUES (2)"]).await;
            Followed::default().more(&mut *second, 1).await.unwrap();
            let error = Followed::default().more(&mut *first, 2).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidConfig, "{which:?} {error}");
            assert_eq!(error.field.as_deref(), Some("server_id"), "{which:?} {error}");
        });
    }
}
