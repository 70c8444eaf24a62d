//! By WAL: a table is read again on a wish, in the middle of its stream.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use hub_tests::{Database, Hub, skip};
use serde_json::json;

use crate::wal::{Over, destination, soon, source, wait_until};

/// Rows that are lost at the destination, which only reading them again brings back.
const LOST: &str = "id % 10 = 3";

fn digest(database: &Database, table: &str) -> Vec<Vec<Option<String>>> {
    let query =
        format!("select count(*), sum(id), sum(id * n), md5(string_agg(words, '' order by id)) from {table}");
    database.rows(&query)
}

#[test]
fn a_table_is_read_again_while_it_and_another_one_change_whatever_is_killed() {
    let Some(from) = Database::create("wal_again_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_again_to") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let rows = if hub.environment.full { 1_000_000 } else { 200_000 };
    for table in ["t", "other"] {
        from.execute(&format!(
            "create table {table} (id bigint primary key, n bigint, words text);
             insert into {table} select i, 0, md5(i::text) from generate_series(1, {rows} / 10) i"
        ));
    }
    from.execute(&format!(
        "insert into t select i, 0, md5(i::text) from generate_series({rows} / 10 + 1, {rows}) i"
    ));
    let file = hub.pipeline("again", &source(&from, json!({})), &destination(&to), &soon());
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || to.count("t") == rows && to.count("other") == rows / 10);
    let lost = from.number(&format!("select count(*) from t where {LOST}"));
    let found = || to.number(&format!("select count(*) from t where {LOST}"));

    // Only what is wished of tables that are captured is taken; the run goes on.
    let refused = hub.call(&["signal", "again", "reread", "nothing", "--wait", "30"]);
    assert_eq!(refused.status.code(), Some(1), "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("Table `nothing` is not captured"), "{}", refused.stderr);

    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (stop, worker) = (&stop, from.session());
        let _over = Over(stop);
        scope.spawn(move || {
            for turn in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                worker.execute(&format!(
                    "update t set n = n + 1 where id % 1000 = {turn} % 10 * 10;
                     delete from t where id % 4999 = {turn} % 4999 and not {LOST};
                     begin; update other set n = n + 1 where id % 97 = {turn} % 97;
                     insert into t values ({rows} + {turn} * 10 + 1, {turn}, 'new'); commit"
                ));
                thread::sleep(Duration::from_millis(20));
            }
        });
        let mut in_the_middle = false;
        for _ in 0..5 {
            to.execute(&format!("delete from t where {LOST}"));
            let taken = hub.call(&["signal", "again", "reread", "public.t", "--wait", "60"]).expect_success();
            assert!(taken.stdout.contains("was taken"), "{}\n{}", taken.stdout, running.log());
            wait_until(&mut running, "the first rows", || found() > 0);
            // Killed; the next run reads the table from its beginning.
            running.kill();
            in_the_middle |= found() < lost;
            running = hub.spawn(&file);
            wait_until(&mut running, "all rows", || found() == lost);
            if in_the_middle {
                break;
            }
        }
        assert!(in_the_middle, "No kill came while rows were read");
    });
    wait_until(&mut running, "the last change", || {
        digest(&from, "t") == digest(&to, "t") && digest(&from, "other") == digest(&to, "other")
    });
    let log = running.stop().stdout;
    let last = log.lines().rfind(|line| line.contains("\"committed\"")).unwrap_or_default();
    assert!(!last.contains("snapshots"), "What was wished is not forgotten: {last}");
}

#[test]
fn what_is_wished_while_nothing_runs_is_taken_by_the_next_run_and_open_transactions_are_waited_for() {
    let Some(from) = Database::create("wal_wish_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_wish_to") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    from.execute(
        "create table t (id int primary key, n int); insert into t select i, i from generate_series(1, 50) i",
    );
    let file = hub.pipeline("wish", &source(&from, json!({})), &destination(&to), &soon());
    let unknown = hub.call(&["signal", "wish", "reread", "t"]);
    assert!(!unknown.status.success() && unknown.stderr.contains("never ran"), "{}", unknown.stderr);
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || to.count("t") == 50);
    running.stop();
    to.execute("delete from t where id > 10");
    let waits = hub.call(&["signal", "wish", "reread", "t"]).expect_success();
    assert!(waits.stdout.contains("waits for"), "{}", waits.stdout);

    // The state to read in has to wait for this one, and must hold it.
    let open = from.session();
    open.execute("begin; update t set n = -n where id = 7");
    let mut running = hub.spawn(&file);
    thread::sleep(Duration::from_secs(3));
    assert!(!running.has_ended(), "{}", running.log());
    open.execute("commit");
    let rows = |database: &Database| database.rows("select id, n from t order by id");
    wait_until(&mut running, "the rows", || rows(&from) == rows(&to));
    from.execute("insert into t values (51, 51)");
    wait_until(&mut running, "the next change", || rows(&from) == rows(&to));
    running.stop();
}
