//! Tables that are read again while the stream goes on, with writes all the time and a kill in the middle.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use hub_tests::{Hub, changes::connect, servers::MySqlRelease};
use serde_json::json;

use crate::own::{Own, TO, wait_until};

const ROWS: u32 = 200_000;

fn spoiled(own: &Own) -> u64 {
    let count = own.admin(&format!("select {ROWS} - count(*) from {TO}.t where id < {ROWS} and n >= 0"));
    count[0][0].as_ref().and_then(|count| count.parse().ok()).unwrap()
}

fn rereads(release: MySqlRelease) {
    let Some(own) = Own::start(release, &[]) else { return };
    own.run("create table t (id int primary key, n int, words varchar(200)); create table log (id int primary key, n int)");
    own.run(&format!(
        "insert into t with recursive a as (select 0 as i union all select i + 1 from a where i < 449) \
         select x.i * 450 + y.i, 0, repeat('w', 150) from a x join a y on x.i * 450 + y.i < {ROWS}"
    ));
    let hub = Hub::new();
    let file = own.pipeline(&hub, "reread", json!({ "heartbeat_ms": 500 }));
    let columns = ["id", "n", "words"];
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || own.is_same("t", &columns, "id >= 0"));
    // What somebody did to the destination.
    own.admin(&format!("delete from {TO}.t where id % 3 = 0; update {TO}.t set n = -1 where id % 5 = 0"));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut session = connect(own.store());
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                let sql = format!(
                    "begin; update shop.t set n = n + 1 where id in ({}, {}); \
                     insert into shop.t values ({}, 0, 'new'); insert into shop.log values ({round}, 0); commit; \
                     delete from shop.t where id = {}",
                    round * 7919 % ROWS,
                    round * 104_729 % ROWS,
                    ROWS + round,
                    round * 31 % ROWS,
                );
                session.run(&sql).unwrap();
                thread::sleep(Duration::from_millis(2));
            }
        });
        // One of two tables, named both ways; the other is not touched.
        let asked = hub.call(&["signal", "reread", "reread", "t", "--wait", "60"]);
        asked.expect_success();
        let (since, before) = (Instant::now(), spoiled(&own));
        // The first row comes first.
        let first = format!("select id from {TO}.t where id = 0");
        while own.admin(&first).is_empty() {
            assert!(!running.has_ended(), "{}", running.log());
            assert!(since.elapsed() < Duration::from_secs(60), "Nothing is read again: {}", running.log());
        }
        drop(running);
        let left = spoiled(&own);
        println!("killed with {left} of {before} rows to mend");
        assert!(left > before / 20, "It was killed too late");
        let mut running = hub.spawn(&file);
        thread::sleep(Duration::from_secs(2));
        stop.store(true, Ordering::Relaxed);
        writing.join().unwrap();
        wait_until(&mut running, "all rows anew", || {
            own.is_same("log", &["id", "n"], "id >= 0") && own.is_same("t", &columns, "id >= 0")
        });
        running.stop();
    });
    let refused = hub.call(&["signal", "reread", "reread", "nothing"]);
    assert!(refused.status.success(), "a wish waits for the next run: {}", refused.stderr);
    let mut running = hub.spawn(&file);
    own.run("insert into t values (-1, 1, 'behind it')");
    wait_until(&mut running, "what comes behind a wish that is refused", || {
        own.is_same("t", &columns, "id = -1")
    });
    running.stop();
}

#[test]
fn table_of_mysql_is_read_again_under_writes_and_a_kill() {
    rereads(MySqlRelease::MySql);
}

#[test]
fn table_of_mariadb_is_read_again_under_writes_and_a_kill() {
    rereads(MySqlRelease::MariaDb);
}
