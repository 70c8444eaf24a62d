use hub_plugin_api::{ErrorKind, json};

use super::{Followed, alone, follow_from, log_request, own_server_id};
use crate::support::{ALL, Server, Which, open_request, run};

/// A server that does not tell names of columns while this test runs.
async fn terse(which: Which, purpose: &str) -> Server {
    let mut server = Server::new(which, purpose).await;
    own_server_id(&mut server);
    let least = if which == Which::MySql { "MINIMAL" } else { "NO_LOG" };
    server.run(&[&format!("SET GLOBAL binlog_row_metadata = '{least}'")]).await;
    server
}

#[test]
fn several_alters_in_a_backlog_are_read_right() {
    let _alone = alone();
    for which in ALL {
        run(async {
            let server = terse(which, "alters").await;
            server
                .run(&["CREATE TABLE t (id int PRIMARY KEY, a varchar(10) CHARACTER SET latin1, b int unsigned, e enum('x','y'))"])
                .await;
            let connection = server.connection().await;
            let plan =
                connection.plan(&log_request(&server, json!({ "snapshot": "never" }), None)).await.unwrap();
            let split = plan.description().splits.pop().unwrap();
            // All of it lies in the log before the first event is read; now the table looks entirely different.
            server
                .run(&[
                    "SET NAMES utf8mb4",
                    "INSERT INTO t VALUES (1, 'ü', 4000000000, 'y')",
                    "ALTER TABLE t ADD COLUMN c bigint AFTER a, DROP COLUMN e",
                    "INSERT INTO t VALUES (2, 'two', -5, 6)",
                    "ALTER TABLE t CHANGE b d smallint FIRST",
                    "INSERT INTO t VALUES (-7, 3, 'three', 8)",
                    "RENAME TABLE t TO u",
                    "INSERT INTO u VALUES (9, 4, 'four', 10)",
                    "CREATE TABLE t LIKE u",
                    "INSERT INTO t VALUES (11, 5, 'five', 12)",
                    "DROP TABLE u",
                    "CREATE TABLE u (k date, v decimal(5,2), PRIMARY KEY (k))",
                    "INSERT INTO u VALUES ('2024-02-29', 1.50)",
                ])
                .await;
            let mut reader = plan.open(&open_request(&split, None)).await.unwrap();
            let mut followed = Followed::default();
            followed.more(&mut *reader, 6).await.unwrap();
            let mut expected = vec![
                "insert t 1 | ü | 4000000000 | y",
                "insert t 2 | two | -5 | 6",
                "insert t -7 | 3 | three | 8",
                "insert u 9 | 4 | four | 10",
                "insert t 11 | 5 | five | 12",
                "insert u 2024-02-29 | 1.50",
            ];
            let mut lines = followed.lines();
            // Tables of one window come in any order.
            lines.sort();
            expected.sort_unstable();
            assert_eq!(lines, expected, "{which:?}");
            server.run(&["SET GLOBAL binlog_row_metadata = 'FULL'"]).await;
        });
    }
}

/// As tools do that alter tables in use: the table that takes the place is not followed itself.
#[test]
fn table_that_takes_the_place_of_a_followed_one_is_read_right() {
    let _alone = alone();
    for which in ALL {
        run(async {
            let server = terse(which, "place").await;
            server.run(&["CREATE TABLE t (id int PRIMARY KEY, v varchar(10) CHARACTER SET latin1)"]).await;
            let mut reader = follow_from(&server, json!({ "tables": ["t"] }), None).await;
            server
                .run(&[
                    "CREATE TABLE _new LIKE t",
                    "ALTER TABLE _new ADD w text CHARACTER SET utf16, MODIFY v varchar(20) FIRST",
                    "INSERT INTO t VALUES (1, 'é')",
                    "INSERT INTO _new VALUES ('é', 1, 'x')",
                    "RENAME TABLE t TO _old, _new TO t",
                    "INSERT INTO t VALUES ('è', 2, 'ü')",
                    "DROP TABLE _old",
                ])
                .await;
            let mut followed = Followed::default();
            followed.more(&mut *reader, 2).await.unwrap();
            server.run(&["SET GLOBAL binlog_row_metadata = 'FULL'"]).await;
            assert_eq!(followed.lines(), ["insert t 1 | é", "insert t è | 2 | ü"], "{which:?}");
        });
    }
}

#[test]
fn table_that_nothing_declares_stops_loudly() {
    let _alone = alone();
    for which in ALL {
        run(async {
            let server = terse(which, "unknown").await;
            server.run(&["CREATE TABLE other (id int PRIMARY KEY)"]).await;
            let mut reader = follow_from(&server, json!({ "tables": ["t"] }), None).await;
            // What was not followed has no declaration under its new name.
            server.run(&["RENAME TABLE other TO t", "INSERT INTO t VALUES (2)"]).await;
            let error = Followed::default().more(&mut *reader, 1).await.unwrap_err();
            server.run(&["SET GLOBAL binlog_row_metadata = 'FULL'"]).await;
            assert_eq!(error.kind, ErrorKind::SchemaMismatch);
            assert!(error.message.contains("does not tell the columns"), "{error}");
            assert!(error.hint.unwrap().contains("binlog_row_metadata"));
        });
    }
}
