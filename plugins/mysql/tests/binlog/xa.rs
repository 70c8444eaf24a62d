use hub_plugin_api::{Value, json};

use super::{Followed, follow, follow_from, own_server_id};
use crate::support::{ALL, Server, run};

const TABLE: &[&str] = &["CREATE TABLE t (id int PRIMARY KEY, v varchar(9))"];

/// Prepares an XA transaction, which the next session may decide.
async fn prepare(server: &Server, name: &str, change: &str) {
    let name = format!("'{}{name}','branch',9", server.database);
    server
        .run(&[&format!("XA START {name}"), change, &format!("XA END {name}"), &format!("XA PREPARE {name}")])
        .await;
}

async fn decide(server: &Server, verb: &str, name: &str) {
    server.run(&[&format!("XA {verb} '{}{name}','branch',9", server.database)]).await;
}

#[test]
fn prepared_transactions_come_where_they_are_committed() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "xa").await;
            own_server_id(&mut server);
            server.run(TABLE).await;
            let mut reader = follow(&server, json!({})).await;
            prepare(&server, "late", "INSERT INTO t VALUES (1, 'late'), (2, 'late')").await;
            prepare(&server, "never", "INSERT INTO t VALUES (3, 'never')").await;
            let other = "INSERT INTO t VALUES (4, 'between')";
            server.run(&[other, "XA START 'one'", "INSERT INTO t VALUES (5, 'once')"]).await;
            server
                .run(&[
                    "XA START 'two'",
                    "INSERT INTO t VALUES (6, 'step')",
                    "XA END 'two'",
                    "XA COMMIT 'two' ONE PHASE",
                ])
                .await;
            decide(&server, "COMMIT", "late").await;
            decide(&server, "ROLLBACK", "never").await;
            server.run(&["INSERT INTO t VALUES (7, 'end')"]).await;
            let mut followed = Followed::default();
            followed.more(&mut *reader, 5).await.unwrap();
            let expected = [
                "insert t 4 | between",
                "insert t 6 | step",
                "insert t 1 | late",
                "insert t 2 | late",
                "insert t 7 | end",
            ];
            assert_eq!(followed.lines(), expected, "{which:?}");
            assert_eq!(followed.numbers(), [1, 2, 3, 4, 5], "{which:?}");
            // Those of other databases are kept without a place.
            let position = followed.position.unwrap();
            let left =
                position.as_value().get("prepared").and_then(Value::as_object).cloned().unwrap_or_default();
            assert!(left.values().all(|prepared| prepared.get("file").is_none()), "{which:?} {left:?}");
        });
    }
}

#[test]
fn prepared_transaction_outlives_the_run_that_saw_it() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "xa_run").await;
            own_server_id(&mut server);
            server.run(TABLE).await;
            let mut reader = follow(&server, json!({})).await;
            let values: Vec<_> = (0..20_000).map(|id| format!("({id}, 'long')")).collect();
            prepare(&server, "long", &format!("INSERT INTO t VALUES {}", values.join(","))).await;
            server.run(&["INSERT INTO t VALUES (-1, 'first')", "FLUSH BINARY LOGS"]).await;
            let mut followed = Followed::default();
            followed.more(&mut *reader, 1).await.unwrap();
            assert_eq!(followed.lines(), ["insert t -1 | first"], "{which:?}");
            drop(reader);
            server.run(&["INSERT INTO t VALUES (-2, 'second')"]).await;
            decide(&server, "COMMIT", "long").await;
            server.run(&["INSERT INTO t VALUES (-3, 'third')"]).await;
            let mut reader = follow_from(&server, json!({}), followed.position).await;
            let mut rest = Followed::default();
            rest.more(&mut *reader, 20_002).await.unwrap();
            let lines = rest.lines();
            assert_eq!((lines.len(), lines[0].as_str()), (20_002, "insert t -2 | second"), "{which:?}");
            assert_eq!(lines[1], "insert t 0 | long", "{which:?}");
            assert_eq!(lines[20_001], "insert t -3 | third", "{which:?}");
        });
    }
}

#[test]
fn transaction_that_was_prepared_before_the_start_is_found_in_the_log() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "xa_early").await;
            own_server_id(&mut server);
            server.run(TABLE).await;
            prepare(&server, "early", "INSERT INTO t VALUES (1, 'gone')").await;
            decide(&server, "ROLLBACK", "early").await;
            // The same name again, in an earlier file.
            prepare(&server, "early", "INSERT INTO t VALUES (2, 'early')").await;
            server.run(&["INSERT INTO t VALUES (3, 'seen')", "FLUSH BINARY LOGS"]).await;
            let mut reader = follow(&server, json!({})).await;
            decide(&server, "COMMIT", "early").await;
            server.run(&["INSERT INTO t VALUES (4, 'end')"]).await;
            let mut followed = Followed::default();
            followed.more(&mut *reader, 2).await.unwrap();
            assert_eq!(followed.lines(), ["insert t 2 | early", "insert t 4 | end"], "{which:?}");
        });
    }
}
