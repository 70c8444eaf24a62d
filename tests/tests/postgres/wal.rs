//! By WAL into another database: rows that are there, then every kind of change.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use hub_tests::{Database, Hub, Running, skip};
use serde_json::{Value, json};

/// How long a change may take to arrive.
const LIMIT: Duration = Duration::from_secs(60);

pub fn source(database: &Database, options: Value) -> Value {
    json!({ "connector": "postgres", "strategy": "wal", "config": database.config(), "options": options })
}

pub fn destination(database: &Database) -> Value {
    json!({
        "connector": "postgres", "strategy": "write", "config": database.config(),
        "options": { "mode": "apply-changes" },
    })
}

/// Commits as soon as there is something.
pub fn soon() -> Value {
    json!({ "commit": { "every": "200ms" }, "retry": { "first_delay": "100ms" } })
}

/// Waits until something is so; what the run says is shown when it ends before.
#[track_caller]
pub fn wait_until(running: &mut Running, what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        if running.has_ended() {
            let out = running.out();
            let last = out.lines().last().unwrap_or_default();
            panic!("The run ended before {what}: {last}\n{}", running.log());
        }
        assert!(started.elapsed() < LIMIT, "Nothing came in a minute: {what}\n{}", running.log());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Set when this goes, also when a test fails: whoever works beside it ends then.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Every row of a table as text, in order.
pub fn content(database: &Database, table: &str) -> Vec<Option<String>> {
    if database.rows(&format!("select 1 where to_regclass('{table}') is not null")).is_empty() {
        return Vec::new();
    }
    let rows = database.rows(&format!("select t::text from {table} t order by 1"));
    rows.into_iter().map(|mut row| row.remove(0)).collect()
}

#[test]
fn rows_that_are_there_and_every_kind_of_change_arrive() {
    let Some(from) = Database::create("wal_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_to") else { return skip("no PostgreSQL") };
    every_kind_of_change_arrives(&from, &to);
}

/// Moves a table of many types and one with an odd name, and changes them in every way.
pub fn every_kind_of_change_arrives(from: &Database, to: &Database) {
    from.execute(
        "create type mood as enum ('sad', 'ok'); create type pair as (a int, b text);
         create domain short as varchar(5);
         create table t (id int primary key, name text, price numeric(12,2), at timestamptz, mood mood, pair pair,
             spans int4range[], address inet, list text[], big text, data jsonb, code short, raw bytea,
             twice int generated always as (id * 2) stored);
         insert into t (id, name, pair) values (1, 'old', (1, 'x,y')), (2, 'older', null);
         create table \"Odd.Name\" (a int, b int, primary key (b, a)); insert into \"Odd.Name\" values (1, 2)",
    );
    let hub = Hub::new();
    let options = json!({ "tables": ["t", "public.\"Odd.Name\""] });
    let file = hub.pipeline("kinds", &source(from, options), &destination(to), &soon());
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || to.count("t") == 2 && to.count("\"Odd.Name\"") == 1);
    from.execute(
        "insert into t (id, name, price, at, mood, pair, spans, address, list, big, data, code, raw)
         values (3, 'new', 12.50, '2024-02-29 12:00:00.123456+02', 'ok', (7, 'q'), '{\"[1,5)\",empty}', '10.0.0.0/8',
             '{a,null,\"b c\"}', (select string_agg(md5(i::text), '') from generate_series(1, 200) i),
             '{\"k\": [1, null]}', 'abc', '\\x00ff')",
    );
    from.execute("begin; update t set name = 'changed' where id = 3; delete from t where id = 1; commit");
    from.execute("update t set id = 30 where id = 3");
    from.execute("update \"Odd.Name\" set b = 5; insert into \"Odd.Name\" values (8, 9)");
    let columns = "id, name, price, at, mood::text, pair::text, spans, address, list, big, data, code, raw";
    let rows = |database: &Database| database.rows(&format!("select {columns} from t order by id"));
    wait_until(&mut running, "all changes", || {
        rows(from) == rows(to) && content(from, "\"Odd.Name\"") == content(to, "\"Odd.Name\"")
    });
    from.execute("truncate t; insert into t (id) values (99)");
    wait_until(&mut running, "the truncate", || rows(from) == rows(to));
    running.stop();
    // What happens meanwhile is not missed.
    from.execute("insert into t (id) values (100); delete from t where id = 99");
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "what happened meanwhile", || rows(from) == rows(to));
    running.stop();
}
