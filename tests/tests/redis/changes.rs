//! Changes of PostgreSQL's log as keys of Redis.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use hub_tests::{Database, Hub, Running, skip};
use serde_json::{Value, json};

use crate::server::{Answer, Redis};

const COLUMNS: [&str; 3] = ["id", "name", "amount"];

/// What the table says: a hash a row, without the columns that are null.
fn wanted(database: &Database) -> BTreeMap<String, Vec<Option<String>>> {
    let rows = database.rows("select id::text, name, amount::text from people");
    rows.into_iter().map(|row| (format!("person:{}", row[0].as_deref().unwrap()), row)).collect()
}

/// What Redis says.
fn found(redis: &mut Redis) -> BTreeMap<String, Vec<Option<String>>> {
    let mut keys: Vec<String> = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let answer = redis.ask(&["SCAN", &cursor, "MATCH", "person:*", "COUNT", "1000"]);
        let text = |answer: &Answer| match answer {
            Answer::Text(text) => text.clone(),
            other => panic!("{other:?} is no text"),
        };
        keys.extend(answer.list()[1].list().iter().map(text));
        cursor = text(&answer.list()[0]);
        if cursor == "0" {
            break;
        }
    }
    let ask = |key: &String| ["HMGET", key].into_iter().chain(COLUMNS).map(str::to_owned).collect();
    let commands: Vec<Vec<String>> = keys.iter().map(ask).collect();
    let hashes = redis.ask_all(&commands).into_iter().map(|answer| {
        let fields = answer.list().iter().map(|field| match field {
            Answer::Text(text) => Some(text.clone()),
            _ => None,
        });
        fields.collect()
    });
    keys.into_iter().zip(hashes).collect()
}

fn source(database: &Database, table: &str) -> Value {
    json!({
        "connector": "postgres", "config": database.config(), "strategy": "wal", "options": { "tables": [table] }
    })
}

fn destination(redis: &Redis, options: &Value) -> Value {
    json!({ "connector": "redis", "config": redis.config(), "options": options })
}

/// Commits often, so that kills hit the middle.
fn often() -> Value {
    json!({ "commit": { "rows": 500, "every": "200ms" } })
}

fn wait_until(running: &mut Running, what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(!running.has_ended(), "The run ended before {what}: {}", running.log());
        assert!(started.elapsed() < Duration::from_secs(120), "{what} is not there: {}", running.log());
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn rows_of_postgres_are_hashes_that_follow_every_change_whatever_is_killed() {
    let Some(mut redis) = Redis::open(7) else { return skip("no Redis") };
    let Some(database) = Database::create("redis_wal") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let (rows, kills): (u64, u64) = if hub.environment.full { (50_000, 10) } else { (5_000, 3) };
    database.execute(&format!(
        "create table people (id bigint primary key, name text, amount numeric(12,2));
         insert into people select n, 'name ' || n, n * 0.25 from generate_series(1, {rows}) n"
    ));
    let options = json!({ "type": "hash", "key": "person:{{id}}" });
    let file = hub.pipeline("people", &source(&database, "people"), &destination(&redis, &options), &often());
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the table", || wanted(&database) == found(&mut redis));
    for kill in 1..=kills {
        let (first, last) = (rows + kill * 1000, rows + kill * 1000 + 999);
        database.execute(&format!(
            "insert into people select n, 'new', n from generate_series({first}, {last}) n;
             update people set amount = amount + 1, name = 'round {kill}' where id % {every} = 0;
             update people set name = null where id % 11 = {kill};
             update people set id = id + 1000000 where id = {kill};
             delete from people where id % 13 = {kill}",
            every = kill + 2
        ));
        // Dies somewhere among these changes.
        thread::sleep(Duration::from_millis(60 * kill));
        drop(running);
        running = hub.spawn(&file);
    }
    // The last run has something to do too, so that it is up when it is stopped.
    database.execute("insert into people values (0, 'last', 0)");
    wait_until(&mut running, "every change", || wanted(&database) == found(&mut redis));
    running.stop();
    let wanted = wanted(&database);
    // Its key changed in the last round.
    let (old, new) = (format!("person:{kills}"), format!("person:{}", 1_000_000 + kills));
    assert!(wanted.contains_key(&new) && !wanted.contains_key(&old));
}

#[test]
fn inserted_rows_are_appended_to_a_list_in_order_and_once_whatever_is_killed() {
    let Some(mut redis) = Redis::open(8) else { return skip("no Redis") };
    let Some(database) = Database::create("redis_wal_list") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let (rows, kills): (u64, u64) = if hub.environment.full { (20_000, 10) } else { (5_000, 3) };
    database.execute("create table events (id bigint primary key)");
    let options = json!({ "type": "list", "key": "events", "value_column": "id" });
    let file = hub.pipeline("events", &source(&database, "events"), &destination(&redis, &options), &often());
    let mut running = hub.spawn(&file);
    let insert = |number: u64| database.execute(&format!("insert into events values ({number})"));
    insert(1);
    wait_until(&mut running, "the first row", || redis.ask(&["LLEN", "events"]).number() > 0);
    for kill in 0..kills {
        // An element that is added twice cannot be told from one that belongs there.
        let before = redis.ask(&["LLEN", "events"]).number();
        let transactions: String = (0..rows / 100)
            .map(|part| {
                let first = 2 + kill * rows + part * 100;
                format!("begin; insert into events select generate_series({first}, {}); commit;", first + 99)
            })
            .collect();
        database.execute(&transactions);
        wait_until(&mut running, "a commit", || redis.ask(&["LLEN", "events"]).number() > before);
        drop(running);
        println!("killed with {} of {rows} rows", redis.ask(&["LLEN", "events"]).number() - before);
        running = hub.spawn(&file);
    }
    // The last run has something to do too, so that it is up when it is stopped.
    let all = kills * rows + 2;
    insert(all);
    wait_until(&mut running, "every row", || redis.ask(&["LLEN", "events"]).number() >= all.cast_signed());
    running.stop();
    let found = redis.ask(&["LRANGE", "events", "0", "-1"]);
    let wanted: Vec<Answer> = (1..=all).map(|number| Answer::Text(number.to_string())).collect();
    assert!(found.list() == wanted, "{} elements for {all} rows", found.list().len());
}
