use hub_plugin_api::json;

use super::{Followed, alone, follow, own_server_id};
use crate::support::{ALL, Server, Which, run};

#[test]
fn images_without_all_values_keep_what_they_do_not_hold() {
    for which in ALL {
        for image in ["MINIMAL", "NOBLOB"] {
            run(async {
                let mut server = Server::new(which, "images").await;
                own_server_id(&mut server);
                server
                    .run(&[
                        "CREATE TABLE t (id int PRIMARY KEY, a int, b int, c text)",
                        "INSERT INTO t VALUES (1, 2, 3, 'long'), (2, 4, 5, 'other')",
                    ])
                    .await;
                let mut reader = follow(&server, json!({})).await;
                server
                    .run(&[
                        &format!("SET SESSION binlog_row_image = '{image}'"),
                        "UPDATE t SET a = 20 WHERE id = 1",
                        "UPDATE t SET id = 3 WHERE id = 2",
                        "DELETE FROM t WHERE id = 1",
                        "INSERT INTO t VALUES (7, 8, 9, 'whole')",
                    ])
                    .await;
                let mut followed = Followed::default();
                followed.more(&mut *reader, 4).await.unwrap();
                let lines = followed.lines();
                let expected = match image {
                    "MINIMAL" => [
                        "update t 1 | 20 | kept | kept",
                        "update t 3 | kept | kept | kept <- 2 | null | null | null",
                        "delete t 1 | null | null | null",
                        "insert t 7 | 8 | 9 | whole",
                    ],
                    _ => [
                        "update t 1 | 20 | 3 | kept",
                        "update t 3 | 4 | 5 | kept <- 2 | 4 | 5 | null",
                        "delete t 1 | 20 | 3 | null",
                        "insert t 7 | 8 | 9 | whole",
                    ],
                };
                assert_eq!(lines, expected, "{which:?} {image}");
            });
        }
    }
}

#[test]
fn inserted_rows_hold_the_defaults_that_a_minimal_image_leaves_out() {
    let _alone = alone();
    for which in ALL {
        for metadata in ["FULL", "MINIMAL"] {
            run(async {
                let mut server = Server::new(which, "defaults").await;
                own_server_id(&mut server);
                server
                    .run(&[
                        &format!("SET GLOBAL binlog_row_metadata = '{metadata}'"),
                        "SET SESSION sql_mode = ''",
                        "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, a int DEFAULT 5, b decimal(10,2) DEFAULT 1.5, \
                         c varchar(20) DEFAULT 'it''s \\\\', d char(5) NOT NULL, e enum('x','y') DEFAULT 'y', \
                         f bit(10) DEFAULT b'101', g datetime(2) DEFAULT '2020-01-02 03:04:05.6', h bigint unsigned NOT NULL, \
                         i text, j varchar(40) DEFAULT (CONCAT('a', 'b')), k year DEFAULT 1999)",
                    ])
                    .await;
                let mut reader = follow(&server, json!({})).await;
                server
                    .run(&[
                        "SET SESSION binlog_row_image = 'MINIMAL', sql_mode = ''",
                        "INSERT INTO t (id) VALUES (1)",
                        "INSERT INTO t (c, a) VALUES ('given', NULL), (DEFAULT, 6)",
                        "ALTER TABLE t ALTER COLUMN a SET DEFAULT 50, ALTER c DROP DEFAULT",
                        "INSERT INTO t VALUES ()",
                        "ALTER TABLE t ADD COLUMN z time(1) DEFAULT '-10:00:00.5' AFTER id",
                        "INSERT INTO t (a) SELECT 7",
                        "SET GLOBAL binlog_row_metadata = 'FULL'",
                    ])
                    .await;
                let mut followed = Followed::default();
                followed.more(&mut *reader, 5).await.unwrap();
                let rest = "y | 0005 | 2020-01-02T03:04:05.600 | 0 | null | ab | 1999";
                assert_eq!(
                    followed.lines(),
                    [
                        format!("insert t 1 | 5 | 1.50 | it's \\ |  | {rest}"),
                        format!("insert t 2 | null | 1.50 | given |  | {rest}"),
                        format!("insert t 3 | 6 | 1.50 | it's \\ |  | {rest}"),
                        format!("insert t 4 | 50 | 1.50 | null |  | {rest}"),
                        format!("insert t 5 | -PT36000.5S | 7 | 1.50 | null |  | {rest}"),
                    ],
                    "{which:?} {metadata}"
                );
            });
        }
    }
}

#[test]
fn default_that_is_not_known_stops_the_stream_by_name() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "unknown_default").await;
            own_server_id(&mut server);
            server
                .run(&["CREATE TABLE t (id int PRIMARY KEY, v timestamp NULL DEFAULT '2020-01-02 03:04:05')"])
                .await;
            let mut reader = follow(&server, json!({})).await;
            server.run(&["SET SESSION binlog_row_image = 'MINIMAL'", "INSERT INTO t (id) VALUES (1)"]).await;
            let error = Followed::default().more(&mut *reader, 1).await.unwrap_err();
            assert!(error.message.contains("`v`"), "{which:?} {error}");
            assert!(error.hint.is_some_and(|hint| hint.contains("binlog_row_image")));
        });
    }
}

#[test]
fn packed_transactions_and_events_are_unpacked() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "packed").await;
            own_server_id(&mut server);
            server.run(&["CREATE TABLE t (id int PRIMARY KEY, v text)"]).await;
            let mut reader = follow(&server, json!({})).await;
            let (on, off) = match which {
                Which::MySql => ("SET SESSION binlog_transaction_compression = ON", "DO 0"),
                _ => ("SET GLOBAL log_bin_compress = ON", "SET GLOBAL log_bin_compress = OFF"),
            };
            server
                .run(&[
                    on,
                    "START TRANSACTION",
                    "INSERT INTO t VALUES (1, REPEAT('packed ', 1000)), (2, 'b')",
                    "UPDATE t SET v = REPEAT('anew ', 500) WHERE id = 2",
                    "DELETE FROM t WHERE id = 1",
                    "COMMIT",
                    off,
                    "INSERT INTO t VALUES (3, 'plain')",
                ])
                .await;
            let mut followed = Followed::default();
            followed.more(&mut *reader, 5).await.unwrap();
            let lines = followed.lines();
            assert_eq!(lines[0], format!("insert t 1 | {}", "packed ".repeat(1000)));
            assert_eq!(lines[2], format!("update t 2 | {}", "anew ".repeat(500)));
            assert_eq!(lines[4], "insert t 3 | plain");
            // Positions behind a packed transaction are those of the log.
            server.run(&["INSERT INTO t VALUES (4, 'later')"]).await;
            let mut value = followed.position.unwrap().as_value().clone();
            value.as_object_mut().unwrap().remove("gtids");
            let position = serde_json::from_value(value).unwrap();
            let mut reader = super::follow_from(&server, json!({}), Some(position)).await;
            let mut rest = Followed::default();
            rest.more(&mut *reader, 1).await.unwrap();
            assert_eq!(rest.lines(), ["insert t 4 | later"]);
        });
    }
}

#[test]
fn whole_row_before_an_update_comes_where_it_is_asked_for() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "before").await;
            own_server_id(&mut server);
            server
                .run(&[
                    "CREATE TABLE t (id int PRIMARY KEY, v varchar(9))",
                    "INSERT INTO t VALUES (1, 'old')",
                ])
                .await;
            let mut reader = follow(&server, json!({ "before_images": true })).await;
            server.run(&["UPDATE t SET v = 'new'"]).await;
            let mut followed = Followed::default();
            followed.more(&mut *reader, 1).await.unwrap();
            assert_eq!(followed.lines(), ["update t 1 | new <- 1 | old"]);
        });
    }
}
