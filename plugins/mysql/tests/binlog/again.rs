//! Tables that are read again in the middle of the stream.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hub_plugin_api::{
    Connection, ErrorKind, Event, Position, Reader, Signal,
    arrow::{array::AsArray, datatypes::Int32Type},
    changes::{Changes, Op},
    json,
};
use mysql_async::prelude::Queryable;

use super::{LIMIT, follow, log_request, own_server_id};
use crate::support::{ALL, Server, Which, context, open_request, run};

const ROWS: i32 = 2000;

/// What a destination that applies changes holds: version by id.
#[derive(Default)]
struct Copy {
    rows: BTreeMap<i32, i32>,
    /// Rows that were read again.
    read_again: usize,
    /// Changes that set a row back to an earlier version.
    set_back: usize,
    position: Option<Position>,
}

impl Copy {
    fn take(&mut self, event: Event) {
        match event {
            Event::Rows(rows) => {
                let view = Changes::of(&rows.batch).unwrap();
                let column = |name: &str| {
                    let column = view.rows().column_by_name(name).unwrap();
                    column.as_primitive::<Int32Type>().values().to_vec()
                };
                for (row, (id, version)) in column("id").into_iter().zip(column("version")).enumerate() {
                    let op = view.op(row).unwrap();
                    self.read_again += usize::from(op == Op::Snapshot);
                    let before = match op {
                        Op::Delete => self.rows.remove(&id),
                        _ => self.rows.insert(id, version),
                    };
                    self.set_back += usize::from(before.is_some_and(|before| before > version));
                }
            }
            Event::Boundary(boundary) => self.position = boundary.position,
            _ => {}
        }
    }

    /// Reads until something is so.
    async fn until(&mut self, reader: &mut dyn Reader, what: &str, is_so: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !is_so(self) {
            let event = reader.next(Duration::from_millis(100)).await.unwrap();
            self.take(event);
            assert!(since.elapsed() < LIMIT, "{what}: {} rows were read again", self.read_again);
        }
    }

    fn names_a_table(&self) -> bool {
        let position = self.position.as_ref().map(|position| position.as_value().clone());
        position.is_some_and(|position| !position["snapshots"].is_null())
    }
}

async fn filled(which: Which, purpose: &str) -> Server {
    let mut server = Server::new(which, purpose).await;
    own_server_id(&mut server);
    server
        .run(&[
            "CREATE TABLE t (id int PRIMARY KEY, version int NOT NULL, filling varchar(200))",
            "CREATE TABLE other (id int PRIMARY KEY, version int NOT NULL)",
            &format!(
                "INSERT INTO t WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 99) \
                 SELECT n.i * 20 + m.i, 0, repeat('x', 200) FROM n JOIN n m ON m.i < 20 LIMIT {ROWS}"
            ),
        ])
        .await;
    server
}

/// Changes rows until it is told to stop: versions only grow.
async fn write_on(server: &Server, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<()> {
    let mut conn = server.session().await;
    tokio::spawn(async move {
        let mut round = 0;
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            let (one, two) = (round * 37 % ROWS, round * 11 % ROWS);
            let statements = [
                format!("UPDATE t SET version = version + 1 WHERE id IN ({one}, {two})"),
                format!("INSERT INTO t VALUES ({}, {round}, 'new')", ROWS + round),
                format!("DELETE FROM t WHERE id = {}", ROWS + round - 5),
            ];
            for statement in statements {
                conn.query_drop(statement).await.unwrap();
            }
        }
        conn.disconnect().await.unwrap();
    })
}

async fn content(server: &Server) -> BTreeMap<i32, i32> {
    let rows = server.rows("SELECT id, version FROM t").await;
    rows.into_iter().map(|row| (row[0].parse().unwrap(), row[1].parse().unwrap())).collect()
}

/// A reader whose batches are small.
async fn open(connection: &dyn Connection, server: &Server, position: Option<Position>) -> Box<dyn Reader> {
    let plan = connection
        .plan(&log_request(server, json!({ "snapshot": "never", "heartbeat_ms": 200 }), None))
        .await
        .unwrap();
    let split = plan.description().splits.pop().unwrap();
    let mut request = open_request(&split, position);
    request.budgets.max_batch_rows = 100;
    plan.open(&request).await.unwrap()
}

#[test]
fn table_is_read_again_exactly_between_the_changes_that_it_holds_and_those_that_it_does_not() {
    for which in ALL {
        run(async {
            let server = filled(which, "again").await;
            let connection = server.connection().await;
            let mut reader = open(&*connection, &server, None).await;
            let stop = Arc::new(AtomicBool::new(false));
            let writing = write_on(&server, Arc::clone(&stop)).await;
            let mut copy = Copy::default();
            copy.until(&mut *reader, "the first changes", |copy| copy.rows.len() > 20).await;
            reader.signal(&Signal::snapshot(&["t".into()])).await.unwrap();
            copy.until(&mut *reader, "the snapshot", |copy| {
                copy.read_again >= ROWS as usize && !copy.names_a_table()
            })
            .await;
            stop.store(true, Ordering::Relaxed);
            writing.await.unwrap();
            let expected = content(&server).await;
            copy.until(&mut *reader, "the rest", |copy| copy.rows == expected).await;
            assert_eq!(copy.set_back, 0, "{which:?}");
            assert!(copy.read_again < ROWS as usize + 50, "{which:?}: {}", copy.read_again);
        });
    }
}

#[test]
fn table_that_was_read_half_is_read_from_its_beginning() {
    for which in ALL {
        run(async {
            let server = filled(which, "half").await;
            let connection = server.connection().await;
            let mut reader = open(&*connection, &server, None).await;
            reader.signal(&Signal::snapshot(&["t".into(), "other".into()])).await.unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let writing = write_on(&server, Arc::clone(&stop)).await;
            let mut copy = Copy::default();
            copy.until(&mut *reader, "half of it", |copy| copy.read_again >= ROWS as usize / 2).await;
            copy.until(&mut *reader, "a boundary", Copy::names_a_table).await;
            drop(reader);
            let mut rest = Copy { rows: copy.rows, ..Copy::default() };
            let mut reader = open(&*connection, &server, copy.position).await;
            rest.until(&mut *reader, "the snapshot", |copy| {
                copy.read_again >= ROWS as usize && !copy.names_a_table()
            })
            .await;
            stop.store(true, Ordering::Relaxed);
            writing.await.unwrap();
            let expected = content(&server).await;
            rest.until(&mut *reader, "the rest", |copy| copy.rows == expected).await;
        });
    }
}

#[test]
fn wish_for_what_is_not_followed_is_refused_and_following_goes_on() {
    for which in ALL {
        run(async {
            let server = filled(which, "wish").await;
            let mut reader = follow(&server, json!({ "tables": ["t"] })).await;
            let refused = reader.signal(&Signal::snapshot(&["other".into()])).await.unwrap_err();
            assert_eq!((refused.kind, refused.field.as_deref()), (ErrorKind::NotFound, Some("tables")));
            let unknown = Signal { kind: "dance".into(), arguments: json!({}) };
            assert_eq!(reader.signal(&unknown).await.unwrap_err().kind, ErrorKind::Unsupported);
            server.run(&["UPDATE t SET version = 7 WHERE id = 3"]).await;
            let mut copy = Copy::default();
            copy.until(&mut *reader, "the change", |copy| copy.rows.get(&3) == Some(&7)).await;
        });
    }
}

#[test]
fn table_is_read_again_without_a_lock_where_the_account_may_not_lock() {
    run(async {
        let mut server = filled(Which::MySql, "nolock").await;
        let user = format!("nolock{}", std::process::id());
        server
            .run(&[
                &format!("DROP USER IF EXISTS {user}"),
                &format!("CREATE USER {user} IDENTIFIED BY 'pw'"),
                &format!("GRANT SELECT ON {}.* TO {user}", server.database),
                &format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {user}"),
            ])
            .await;
        server.config.set("username", user);
        let connection = server.which.connector().connect(&server.config, &context("pw")).await.unwrap();
        let mut reader = open(&*connection, &server, None).await;
        let stop = Arc::new(AtomicBool::new(false));
        let writing = write_on(&server, Arc::clone(&stop)).await;
        reader.signal(&Signal::snapshot(&["t".into()])).await.unwrap();
        let mut copy = Copy::default();
        copy.until(&mut *reader, "the snapshot", |copy| {
            copy.read_again >= ROWS as usize && !copy.names_a_table()
        })
        .await;
        stop.store(true, Ordering::Relaxed);
        writing.await.unwrap();
        let expected = content(&server).await;
        copy.until(&mut *reader, "the rest", |copy| copy.rows == expected).await;
    });
}
