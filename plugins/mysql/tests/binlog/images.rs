use hub_plugin_api::json;

use super::{Followed, follow, own_server_id};
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
