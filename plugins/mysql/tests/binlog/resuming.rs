use std::time::{Duration, Instant};

use hub_plugin_api::{ErrorKind, Event, StartAt, json};

use super::{Followed, follow, follow_from, log_request, own_server_id};
use crate::support::{ALL, Server, Which, drain, open_request, run};

#[test]
fn changes_come_in_their_order_with_what_they_changed() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "order").await;
            own_server_id(&mut server);
            server
                .run(&["CREATE TABLE t (id int PRIMARY KEY, v varchar(20))", "CREATE TABLE other (id int)"])
                .await;
            let mut reader = follow(&server, json!({ "tables": ["t"] })).await;
            server
                .run(&[
                    "INSERT INTO t VALUES (1, 'a'), (2, NULL)",
                    "INSERT INTO other VALUES (9)",
                    "START TRANSACTION",
                    "UPDATE t SET v = 'b' WHERE id = 2",
                    "UPDATE t SET id = 3 WHERE id = 1",
                    "DELETE FROM t WHERE id = 2",
                    "COMMIT",
                    "START TRANSACTION",
                    "INSERT INTO t VALUES (8, 'taken back')",
                    "ROLLBACK",
                    "TRUNCATE t",
                    "INSERT INTO t VALUES (4, 'd')",
                ])
                .await;
            let mut followed = Followed::default();
            followed.more(&mut *reader, 6).await.unwrap();
            assert_eq!(
                followed.lines(),
                [
                    "insert t 1 | a",
                    "insert t 2 | null",
                    "update t 2 | b",
                    "update t 3 | a <- 1 | a",
                    "delete t 2 | b",
                    "insert t 4 | d",
                ]
            );
            assert_eq!(followed.numbers(), [1, 2, 3, 4, 5, 6]);
            assert_eq!(followed.truncated.len(), 1);
        });
    }
}

/// However long the caller would wait.
#[test]
fn rows_wait_for_their_own_delay_only() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "delay").await;
            own_server_id(&mut server);
            server.run(&["CREATE TABLE t (id int PRIMARY KEY)"]).await;
            let mut reader = follow(&server, json!({})).await;
            while !matches!(reader.next(Duration::from_millis(300)).await.unwrap(), Event::Idle) {}
            server.run(&["INSERT INTO t VALUES (1)"]).await;
            let since = Instant::now();
            while !matches!(reader.next(Duration::from_secs(60)).await.unwrap(), Event::Rows(_)) {}
            assert!(since.elapsed() < Duration::from_secs(20), "{which:?}: {:?}", since.elapsed());
        });
    }
}

#[test]
fn position_goes_on_exactly_where_it_was() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "resume").await;
            own_server_id(&mut server);
            server.run(&["CREATE TABLE t (id int PRIMARY KEY)"]).await;
            let mut reader = follow(&server, json!({})).await;
            server.run(&["INSERT INTO t VALUES (1), (2)"]).await;
            let mut first = Followed::default();
            first.more(&mut *reader, 2).await.unwrap();
            drop(reader);
            server.run(&["INSERT INTO t VALUES (3)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (4)"]).await;
            let mut reader = follow_from(&server, json!({}), first.position.clone()).await;
            let mut second = Followed::default();
            second.more(&mut *reader, 2).await.unwrap();
            assert_eq!(second.lines(), ["insert t 3", "insert t 4"]);
            assert_eq!(second.numbers(), [3, 4]);
        });
    }
}

#[test]
fn position_without_gtids_goes_on_by_file() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "byfile").await;
            own_server_id(&mut server);
            server.run(&["CREATE TABLE t (id int PRIMARY KEY)"]).await;
            let mut reader = follow(&server, json!({})).await;
            server.run(&["INSERT INTO t VALUES (1), (2)"]).await;
            let mut first = Followed::default();
            first.more(&mut *reader, 2).await.unwrap();
            drop(reader);
            server.run(&["INSERT INTO t VALUES (3)"]).await;
            let mut value = first.position.unwrap().as_value().clone();
            value.as_object_mut().unwrap().remove("gtids");
            let position = serde_json::from_value(value).unwrap();
            let mut reader = follow_from(&server, json!({}), Some(position)).await;
            let mut second = Followed::default();
            second.more(&mut *reader, 1).await.unwrap();
            assert_eq!(second.lines(), ["insert t 3"]);
        });
    }
}

#[test]
fn snapshot_and_stream_meet_without_gap_or_double() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "meet").await;
            own_server_id(&mut server);
            server
                .run(&[
                    "CREATE TABLE a (id int PRIMARY KEY, f float, u int unsigned)",
                    "CREATE TABLE b (id int PRIMARY KEY, e enum('x','y'))",
                    "INSERT INTO a VALUES (1, 0.1, 4294967295), (2, NULL, 0)",
                    "INSERT INTO b VALUES (1, 'y')",
                ])
                .await;
            let connection = server.connection().await;
            let plan = connection.plan(&log_request(&server, json!({}), None)).await.unwrap();
            // Committed behind the snapshot, before its rows are read.
            server.run(&["UPDATE a SET u = 7 WHERE id = 1", "INSERT INTO b VALUES (2, 'x')"]).await;
            let splits = plan.description().splits;
            assert_eq!(splits.len(), 3);
            assert_eq!(splits[2].after, [splits[0].id.clone(), splits[1].id.clone()]);
            let mut found = Vec::new();
            for split in &splits[..2] {
                let mut reader = plan.open(&open_request(split, None)).await.unwrap();
                let read = drain(&mut *reader).await.unwrap();
                for batch in &read.batches {
                    found.extend(super::lines(&read.schema.stream, batch));
                }
            }
            assert_eq!(
                found,
                ["snapshot a 1 | 0.1 | 4294967295", "snapshot a 2 | null | 0", "snapshot b 1 | y"]
            );
            let mut reader = plan.open(&open_request(&splits[2], None)).await.unwrap();
            let mut followed = Followed::default();
            followed.more(&mut *reader, 2).await.unwrap();
            assert_eq!(followed.lines(), ["update a 1 | 0.1 | 7", "insert b 2 | x"]);
        });
    }
}

#[test]
fn tables_may_be_altered_as_soon_as_they_are_read() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "released").await;
            own_server_id(&mut server);
            server
                .run(&[
                    "CREATE TABLE a (id int PRIMARY KEY)",
                    "CREATE TABLE b (id int PRIMARY KEY)",
                    "INSERT INTO a VALUES (1)",
                    "INSERT INTO b VALUES (1)",
                ])
                .await;
            let connection = server.connection().await;
            let plan = connection.plan(&log_request(&server, json!({}), None)).await.unwrap();
            let splits = plan.description().splits;
            let alter = async |statements: &[&str]| {
                server.run(&[&["SET SESSION lock_wait_timeout = 5"], statements].concat()).await;
            };
            let mut a = plan.open(&open_request(&splits[0], None)).await.unwrap();
            assert_eq!(drain(&mut *a).await.unwrap().rows(), 1);
            if which == Which::MySql {
                // The transaction of the snapshot goes on for `b`.
                alter(&["ALTER TABLE a ADD COLUMN more int"]).await;
            }
            let mut b = plan.open(&open_request(&splits[1], None)).await.unwrap();
            assert_eq!(drain(&mut *b).await.unwrap().rows(), 1);
            let mut reader = plan.open(&open_request(&splits[2], None)).await.unwrap();
            // Nothing is left of it, though its readers and the plan are still held.
            alter(&[
                "ALTER TABLE a ADD COLUMN another int",
                "ALTER TABLE b ADD COLUMN more int",
                "INSERT INTO b VALUES (2, 3)",
            ])
            .await;
            let open = "SELECT COUNT(*) FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p \
                        ON p.ID = t.trx_mysql_thread_id WHERE p.DB = DATABASE()";
            assert_eq!(server.rows(open).await, [["0"]], "{which:?}");
            let mut followed = Followed::default();
            followed.more(&mut *reader, 1).await.unwrap();
            assert_eq!(followed.lines(), ["insert b 2 | 3"], "{which:?}");
        });
    }
}

#[test]
fn table_that_is_altered_before_it_is_read_is_read_as_it_is_then() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "meanwhile").await;
            own_server_id(&mut server);
            server
                .run(&[
                    "CREATE TABLE a (id int PRIMARY KEY, gone int, kept int)",
                    "CREATE TABLE b (id int PRIMARY KEY)",
                    "INSERT INTO a VALUES (1, 2, 3)",
                    "INSERT INTO b VALUES (1)",
                ])
                .await;
            let connection = server.connection().await;
            let mut request = log_request(&server, json!({}), None);
            let plan = connection.plan(&request).await.unwrap();
            server
                .run(&["ALTER TABLE a DROP COLUMN gone", "DROP TABLE b", "INSERT INTO a VALUES (2, 4)"])
                .await;
            let before = plan.description();
            let splits = before.splits.clone();
            let mut reader = plan.open(&open_request(&splits[0], None)).await.unwrap();
            let error = drain(&mut *reader).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Busy, "{which:?} {error}");
            drop((reader, plan));
            request.interrupted = Some(before);
            let plan = connection.plan(&request).await.unwrap();
            let mut reader = plan.open(&open_request(&splits[0], None)).await.unwrap();
            let read = drain(&mut *reader).await.unwrap();
            assert_eq!(
                super::lines(&read.schema.stream, &read.one()),
                ["snapshot a 1 | 3", "snapshot a 2 | 4"]
            );
            let mut reader = plan.open(&open_request(&splits[1], None)).await.unwrap();
            assert!(matches!(reader.next(Duration::from_secs(1)).await.unwrap(), Event::Boundary(_)));
            assert!(matches!(reader.next(Duration::from_secs(1)).await.unwrap(), Event::End));
            let mut reader = plan.open(&open_request(&splits[2], None)).await.unwrap();
            let mut followed = Followed::default();
            followed.more(&mut *reader, 1).await.unwrap();
            assert_eq!(followed.lines(), ["insert a 2 | 4"], "{which:?}");
        });
    }
}

#[test]
fn idle_tables_still_move_the_position() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "idle").await;
            own_server_id(&mut server);
            server.run(&["CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE other (id int)"]).await;
            let mut reader = follow(&server, json!({ "tables": ["t"], "heartbeat_ms": 200 })).await;
            server.run(&["INSERT INTO other VALUES (1)"]).await;
            let mut followed = Followed::default();
            followed.more(&mut *reader, 0).await.unwrap();
            let first = followed.position.clone().unwrap();
            server.run(&["INSERT INTO other VALUES (2)"]).await;
            followed.more(&mut *reader, 0).await.unwrap();
            assert_ne!(followed.position, Some(first));
            assert_eq!(followed.rows(), 0);
        });
    }
}

#[test]
fn large_transaction_comes_in_parts_with_one_boundary_behind_it() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "large").await;
            own_server_id(&mut server);
            server.run(&["CREATE TABLE t (id int PRIMARY KEY, v varchar(100))"]).await;
            let connection = server.connection().await;
            let plan = connection
                .plan(&log_request(&server, json!({ "snapshot": "never" }), Some(StartAt::Latest)))
                .await
                .unwrap();
            let split = plan.description().splits.pop().unwrap();
            let mut request = open_request(&split, None);
            request.budgets.max_batch_rows = 1000;
            let mut reader = plan.open(&request).await.unwrap();
            server
                .run(&["INSERT INTO t WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900) \
                    SELECT n.i * 10 + m.i, REPEAT('x', 90) FROM n JOIN n m ON m.i < 10"])
                .await;
            let (mut rows, mut batches) = (0, 0);
            loop {
                match reader.next(std::time::Duration::from_secs(1)).await.unwrap() {
                    Event::Rows(part) => {
                        assert!(part.batch.num_rows() < 1500);
                        (rows, batches) = (rows + part.batch.num_rows(), batches + 1);
                    }
                    Event::Boundary(_) if rows > 0 => break,
                    _ => {}
                }
            }
            assert_eq!(rows, 8100);
            assert!(batches > 5);
        });
    }
}

#[test]
fn transactions_with_tags_are_counted_too() {
    run(async {
        let mut server = Server::new(Which::MySql, "tags").await;
        own_server_id(&mut server);
        server.run(&["CREATE TABLE t (id int PRIMARY KEY)"]).await;
        let mut reader = follow(&server, json!({})).await;
        server
            .run(&[
                "INSERT INTO t VALUES (1)",
                "SET SESSION gtid_next = 'AUTOMATIC:red'",
                "INSERT INTO t VALUES (2)",
                "INSERT INTO t VALUES (3)",
            ])
            .await;
        let mut first = Followed::default();
        first.more(&mut *reader, 3).await.unwrap();
        drop(reader);
        let position = first.position.clone().unwrap();
        let gtids = position.as_value()["gtids"].as_str().unwrap().to_owned();
        assert!(gtids.contains(":red:"), "{gtids}");
        server.run(&["SET SESSION gtid_next = 'AUTOMATIC:red'", "INSERT INTO t VALUES (4)"]).await;
        server.run(&["INSERT INTO t VALUES (5)"]).await;
        let mut reader = follow_from(&server, json!({}), Some(position)).await;
        let mut second = Followed::default();
        second.more(&mut *reader, 2).await.unwrap();
        assert_eq!(second.lines(), ["insert t 4", "insert t 5"]);
        assert_eq!(second.numbers(), [4, 5]);
    });
}

/// What comes from a start that the user names.
async fn from_start(server: &Server, start: StartAt, rows: usize) -> Vec<String> {
    let connection = server.connection().await;
    let request = log_request(server, json!({}), Some(start));
    let plan = connection.plan(&request).await.unwrap();
    let split = plan.description().splits.pop().unwrap();
    let mut reader = plan.open(&open_request(&split, None)).await.unwrap();
    let mut followed = Followed::default();
    followed.more(&mut *reader, rows).await.unwrap();
    followed.lines()
}

#[test]
fn stream_starts_at_a_time() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "attime").await;
            own_server_id(&mut server);
            let now = async || {
                let pause = std::time::Duration::from_millis(1100);
                tokio::time::sleep(pause).await;
                let now = server.rows("SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')").await;
                tokio::time::sleep(pause).await;
                now[0][0].clone()
            };
            server.run(&["CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)"]).await;
            let first = now().await;
            server.run(&["INSERT INTO t VALUES (2), (3)"]).await;
            let second = now().await;
            server.run(&["FLUSH BINARY LOGS", "INSERT INTO t VALUES (4)"]).await;
            let third = now().await;
            server.run(&["INSERT INTO t VALUES (5)"]).await;
            for (time, expected) in
                [(first, &["2", "3", "4", "5"][..]), (second, &["4", "5"]), (third, &["5"])]
            {
                let found = from_start(&server, StartAt::Time(time), expected.len()).await;
                let expected: Vec<_> = expected.iter().map(|id| format!("insert t {id}")).collect();
                assert_eq!(found, expected, "{which:?}");
            }
            let connection = server.connection().await;
            // Behind all that is there: where the log ends now.
            let later = Some(StartAt::Time("2100-01-01T00:00:00+02:00".into()));
            let plan = connection.plan(&log_request(&server, json!({}), later)).await.unwrap();
            server.run(&["INSERT INTO t VALUES (6)"]).await;
            let split = plan.description().splits.pop().unwrap();
            let mut reader = plan.open(&open_request(&split, None)).await.unwrap();
            let mut followed = Followed::default();
            followed.more(&mut *reader, 1).await.unwrap();
            assert_eq!(followed.lines(), ["insert t 6"], "{which:?}");
            let long_ago = Some(StartAt::Time("2001-01-01T00:00:00Z".into()));
            let refused = connection.plan(&log_request(&server, json!({}), long_ago)).await.err().unwrap();
            assert!(refused.message.contains("does not go back"), "{refused}");
        });
    }
}

#[test]
fn stream_starts_at_gtids_that_a_user_names() {
    for which in ALL {
        run(async {
            let mut server = Server::new(which, "atgtid").await;
            own_server_id(&mut server);
            server.run(&["CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)"]).await;
            let asking = match which {
                Which::MySql => "SELECT @@GLOBAL.gtid_executed",
                _ => "SELECT @@GLOBAL.gtid_binlog_pos",
            };
            let gtids = server.rows(asking).await[0][0].clone();
            server.run(&["INSERT INTO t VALUES (2)"]).await;
            let position = serde_json::from_value(json!({ "v": 1, "gtids": gtids })).unwrap();
            assert_eq!(
                from_start(&server, StartAt::Position(position), 1).await,
                ["insert t 2"],
                "{which:?}"
            );
        });
    }
}
