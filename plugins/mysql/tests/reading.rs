//! Statements, parameters, cursors and ranges.

use hub_plugin_api::{ErrorKind, StartAt, arrow::util::display::FormatOptions, json, types::cell_text};

use crate::support::{
    ALL, Server, Which, drain, numbers, open_request, plan_request, read_run, read_statement, run,
    writing_context,
};

async fn with_rows(which: Which, purpose: &str, rows: u32) -> Server {
    let server = Server::new(which, purpose).await;
    server
        .run(&[
            "CREATE TABLE t (id bigint PRIMARY KEY, name varchar(40) NOT NULL, at datetime(3) NOT NULL, f float)",
            &format!(
                "INSERT INTO t WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
                 SELECT n, CONCAT('name ', n), '2024-01-01' + INTERVAL n DIV 3 SECOND, n / 7 FROM n"
            ),
        ])
        .await;
    server
}

#[test]
fn any_statement_is_read() {
    for which in ALL {
        run(async {
            let server = with_rows(which, "any", 100).await;
            let connection = server.connection().await;
            for (statement, rows) in [
                ("select * from t where name like '%1%' -- some", 20),
                (
                    "with a as (select id from t) select a.id, b.name from a join t b on a.id = b.id + 1 order by a.id",
                    99,
                ),
                (
                    "select count(*) as n, avg(id) as m, null as nothing, 'text' as text, 1.50 as d, f from t group by f",
                    100,
                ),
                ("show tables", 1),
                ("(select id from t limit 3) union all (select 7)", 4),
                ("select id, f from t where 1 = 0", 0),
            ] {
                let read = read_statement(&*connection, statement).await;
                let read = read.unwrap_or_else(|error| panic!("{statement}: {error}"));
                assert_eq!(read.rows(), rows, "{which:?}: {statement}");
            }
        });
    }
}

/// Where a server describes a result otherwise than it sends it, or needs another question.
#[test]
fn what_a_statement_makes_of_its_columns_arrives_as_the_server_means_it() {
    for which in ALL {
        run(async {
            let server = with_rows(which, "meaning", 3).await;
            server
                .run(&[
                    "CREATE TABLE b (id int PRIMARY KEY, one bit(1), ten bit(10), n int NOT NULL)",
                    "INSERT INTO b VALUES (1, b'0', b'1000000001', 7), (2, NULL, b'110101', 7)",
                ])
                .await;
            let connection = server.connection().await;
            let text = async |statement: &str| {
                let read = read_statement(&*connection, statement).await;
                let read = read.unwrap_or_else(|error| panic!("{which:?} {statement}: {error}"));
                let options = FormatOptions::new().with_null("null");
                let batch = read.one();
                let row = |row| {
                    let cells = batch.columns().iter();
                    let cells = cells.map(|array| cell_text(array.as_ref(), row, &options).unwrap());
                    cells.collect::<Vec<_>>().join(" ")
                };
                (0..batch.num_rows()).map(row).collect::<Vec<_>>()
            };
            // Some servers send the bits of some expressions as digits.
            assert_eq!(text("select max(one) as a, max(ten) as b from b").await, ["false 0201"]);
            let bits = "select ifnull(one, one) as a, greatest(ten, ten) as b, one, ten from b order by id";
            assert_eq!(text(bits).await, ["false 0201 false 0201", "null 0035 null 0035"]);
            // MariaDB calls the key of a sum NOT NULL, and so does a table that has no rows to sum.
            let sums = "select id, count(*) as n from b group by id with rollup";
            assert_eq!(text(sums).await, ["1 1", "2 1", "null 2"]);
            let read = read_statement(&*connection, sums).await.unwrap();
            assert_eq!(read.schema.keys(), Vec::<&str>::new());
            if which != Which::MySql {
                assert_eq!(text("select n, count(*) as c from b where id > 9").await, ["null 0"]);
            }
            // MySQL describes a window's whole number narrower than it sends it.
            let window = "select id, lag(n) over (order by id) as l from b order by id";
            assert_eq!(text(window).await, ["1 null", "2 7"]);
            // MariaDB forgets the order of a statement inside of another one.
            let order = read_statement(&*connection, "select f, id from t order by id desc").await.unwrap();
            assert_eq!(numbers(&[order], "id"), [3, 2, 1]);
            let cut = "select group_concat(repeat('x', 700) separator '') as v from t, b, t t2, t t3";
            let cut = if which == Which::MySql {
                cut
            } else {
                "select group_concat(repeat('x', 600000)) as v from t"
            };
            let error = read_statement(&*connection, cut).await.unwrap_err();
            assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::ResourceExhausted, Some("1260")));
            if which != Which::MySql {
                server
                    .run(&[
                        "CREATE TABLE fine (d decimal(40,38))",
                        "INSERT INTO fine VALUES (-12.34567890123456789012345678901234567891)",
                    ])
                    .await;
                assert_eq!(text("select d from fine").await, ["-12.34567890123456789012345678901234567891"]);
            }
        });
    }
}

#[test]
fn a_table_is_known_behind_its_statement_and_a_join_is_none() {
    for which in ALL {
        run(async {
            let server = with_rows(which, "table", 10).await;
            let connection = server.connection().await;
            let read = read_statement(&*connection, "select name, id from t where id > 2").await.unwrap();
            assert_eq!(read.schema.stream.to_string(), format!("{}.t", server.database));
            assert_eq!(read.schema.keys(), ["id"]);
            assert!(!read.schema.arrow.field(0).is_nullable());
            for statement in ["select a.id, a.name from t a join t b on b.id > a.id", "select name from t"] {
                let read = read_statement(&*connection, statement).await.unwrap();
                assert_eq!(read.schema.keys(), Vec::<&str>::new(), "{statement}");
            }
        });
    }
}

#[test]
fn parameters_are_values_whatever_they_hold() {
    for which in ALL {
        run(async {
            let server = with_rows(which, "bound", 10).await;
            let connection = server.connection().await;
            let statement = "select id, ? as hostile, ? as nothing from t where id = ? and '?' = '?'";
            let options =
                json!({ "statement": statement, "parameters": ["'\\; drop table t; -- \u{0}", null, 7] });
            let (reads, _) = read_run(&*connection, &plan_request(options)).await.unwrap();
            assert_eq!(numbers(&reads, "id"), [7]);
            let missing = json!({ "statement": statement, "parameters": [1] });
            let error = read_run(&*connection, &plan_request(missing)).await.unwrap_err();
            assert_eq!(error.field.as_deref(), Some("parameters"));
        });
    }
}

#[test]
fn what_the_server_refuses_names_the_statement() {
    for which in ALL {
        run(async {
            let server = with_rows(which, "refused", 1).await;
            let connection = server.connection().await;
            for (statement, kind) in [
                ("selec 1", ErrorKind::InvalidStatement),
                ("select * from nothing", ErrorKind::NotFound),
                ("select id, id from t", ErrorKind::InvalidStatement),
                ("delete from t", ErrorKind::InvalidStatement),
                ("select 1; select 2", ErrorKind::InvalidStatement),
            ] {
                let error = read_statement(&*connection, statement).await.unwrap_err();
                assert_eq!(
                    (error.kind, error.field.as_deref()),
                    (kind, Some("statement")),
                    "{statement}: {error}"
                );
            }
            assert_eq!(server.rows("select count(*) from t").await, [["1"]]);
        });
    }
}

#[test]
fn later_runs_read_only_what_is_behind_the_cursor() {
    for which in ALL {
        run(async {
            let server = with_rows(which, "cursor", 10).await;
            let connection = server.connection().await;
            let mut request = plan_request(json!({ "statement": "select * from t", "cursor": ["at", "id"] }));
            let (reads, carry) = read_run(&*connection, &request).await.unwrap();
            assert_eq!(numbers(&reads, "id"), (1..=10).collect::<Vec<_>>());
            request.carry = carry.clone();
            request.run = 2;
            let (reads, again) = read_run(&*connection, &request).await.unwrap();
            assert_eq!((reads.len(), again), (0, carry));
            server.run(&["INSERT INTO t VALUES (11, 'new', '2024-01-01 00:00:03', 0), (5000, 'old', '2023-01-01', 0)"]).await;
            let (reads, carry) = read_run(&*connection, &request).await.unwrap();
            assert_eq!(numbers(&reads, "id"), [11], "a row in front of the cursor is not read");
            let position = reads[0].boundaries.last().unwrap().position.clone().unwrap();
            assert_eq!(Some(position.as_value()), carry.as_ref());
            request.carry = None;
            request.start_at = Some(StartAt::Position(position));
            assert_eq!(read_run(&*connection, &request).await.unwrap().0.len(), 0);
        });
    }
}

#[test]
fn a_split_goes_on_at_a_position_and_ties_stop_it() {
    for which in ALL {
        run(async {
            let server = with_rows(which, "resume", 100).await;
            let connection = server.connection().await;
            let request = plan_request(json!({ "statement": "select * from t", "cursor": ["id"] }));
            let plan = connection.plan(&request).await.unwrap();
            let split = plan.description().splits.remove(0);
            let mut open = open_request(&split, None);
            open.budgets.max_batch_rows = 30;
            let read = drain(&mut *plan.open(&open).await.unwrap()).await.unwrap();
            assert_eq!(read.batches.len(), 4);
            let position = read.boundaries[1].position.clone();
            let rest = drain(&mut *plan.open(&open_request(&split, position)).await.unwrap()).await.unwrap();
            assert_eq!(numbers(&[rest], "id"), (61..=100).collect::<Vec<_>>());
            let ties = plan_request(json!({ "statement": "select * from t", "cursor": ["at"] }));
            let error = read_run(&*connection, &ties).await.unwrap_err();
            assert_eq!(error.field.as_deref(), Some("cursor"));
            let text = plan_request(json!({ "statement": "select * from t", "cursor": ["name"] }));
            let error = read_run(&*connection, &text).await.unwrap_err();
            assert!(error.hint.unwrap().contains("collated by bytes"));
        });
    }
}

#[test]
fn ranges_are_read_side_by_side_in_one_state() {
    for which in ALL {
        run(async {
            let server = with_rows(which, "ranges", 1000).await;
            let connection = server.connection().await;
            let mut request = plan_request(json!({ "statement": "select * from t" }));
            request.parallel = 4;
            let plan = connection.plan(&request).await.unwrap();
            let description = plan.description();
            assert_eq!((description.splits.len(), description.snapshot), (4, hub_plugin_api::Snapshot::Same));
            // Whatever is committed now is not seen by any of them.
            server
                .run(&[
                    "DELETE FROM t WHERE id % 2 = 0",
                    "INSERT INTO t VALUES (-5, 'x', now(), 1), (5000, 'y', now(), 1)",
                ])
                .await;
            let mut reads = Vec::new();
            for split in &description.splits {
                reads.push(drain(&mut *plan.open(&open_request(split, None)).await.unwrap()).await.unwrap());
            }
            let mut ids = numbers(&reads, "id");
            ids.sort_unstable();
            assert_eq!(ids, (1..=1000).collect::<Vec<_>>());
            assert!(reads.iter().all(|read| read.rows() > 200));
        });
    }
}

#[test]
fn an_account_without_locks_is_told_that_its_ranges_differ() {
    for which in ALL {
        run(async {
            let mut server = with_rows(which, "nolock", 100).await;
            let user = format!("reader_{}", std::process::id());
            server
                .run(&[
                    &format!("DROP USER IF EXISTS {user}"),
                    &format!("CREATE USER {user} IDENTIFIED BY 'pw'"),
                    &format!("GRANT SELECT ON {}.* TO {user}", server.database),
                ])
                .await;
            server.config.set("username", user.clone());
            server.password = "pw".into();
            let connection = server.connection().await;
            let mut request = plan_request(json!({ "statement": "select * from t" }));
            request.parallel = 2;
            let description = connection.plan(&request).await.unwrap().description();
            assert_eq!(description.snapshot, hub_plugin_api::Snapshot::New);
            assert!(description.reason.contains("LOCK TABLES"), "{}", description.reason);
            let (reads, _) = read_run(&*connection, &request).await.unwrap();
            assert_eq!(numbers(&reads, "id").len(), 100);
            drop(connection);
            Server::new(which, "nolock").await.run(&[&format!("DROP USER {user}")]).await;
        });
    }
}

#[test]
fn an_account_of_few_sessions_is_told_to_cut_less() {
    for which in ALL {
        run(async {
            let mut server = with_rows(which, "few", 100).await;
            let user = format!("few_{}", std::process::id());
            server
                .run(&[
                    &format!("DROP USER IF EXISTS {user}"),
                    &format!("CREATE USER {user} IDENTIFIED BY 'pw' WITH MAX_USER_CONNECTIONS 3"),
                    &format!("GRANT SELECT ON {}.* TO {user}", server.database),
                ])
                .await;
            server.config.set("username", user.clone());
            server.password = "pw".into();
            let connection = server.connection().await;
            let mut request = plan_request(json!({ "statement": "select * from t" }));
            request.parallel = 8;
            let error = connection.plan(&request).await.err().unwrap();
            assert_eq!(error.kind, ErrorKind::ResourceExhausted, "{which:?}: {error}");
            assert!(error.hint.as_deref().unwrap_or_default().contains("splits"), "{error:?}");
            drop(connection);
            Server::new(which, "few").await.run(&[&format!("DROP USER {user}")]).await;
        });
    }
}

#[test]
fn a_query_changes_nothing_unless_it_may() {
    use hub_plugin_api::Statement;
    for which in ALL {
        run(async {
            let server = with_rows(which, "grant", 10).await;
            let delete = Statement::Text("delete from t where id > 7".into());
            let error = server.connection().await.query(&delete, None).await.err().unwrap();
            assert_eq!(
                (error.kind, error.field.as_deref()),
                (ErrorKind::PermissionDenied, Some("statement"))
            );
            assert_eq!(server.rows("select count(*) from t").await, [["10"]]);
            let context = writing_context(&server.password);
            let connection = which.connector().connect(&server.config, &context).await.unwrap();
            let read = drain(&mut *connection.query(&delete, None).await.unwrap()).await.unwrap();
            assert_eq!(numbers(&[read], "changed"), [3]);
            assert_eq!(server.rows("select count(*) from t").await, [["7"]]);
        });
    }
}

#[test]
fn a_value_that_the_server_drops_for_its_length_stops_the_run() {
    for which in ALL {
        run(async {
            let server = Server::new(which, "packet").await;
            let connection = server.connection().await;
            let long = "SELECT 1 AS id, repeat('x', @@max_allowed_packet + 1) AS v";
            let error = read_statement(&*connection, long).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::ResourceExhausted, "{which:?}: {error}");
            assert!(error.hint.as_deref().unwrap_or_default().contains("max_allowed_packet"), "{error:?}");
            // Another warning loses nothing.
            let harmless = read_statement(&*connection, "SELECT CAST('1x' AS SIGNED) AS v").await.unwrap();
            assert_eq!(harmless.rows(), 1);
        });
    }
}
