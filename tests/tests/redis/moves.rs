//! Keys, streams and rows between Redis and other databases.

use hub_tests::{Database, Hub, skip};
use serde_json::json;

use crate::server::{Answer, Redis};

fn count(hub: &Hub) -> u64 {
    if hub.environment.full { 500_000 } else { 50_000 }
}

#[test]
fn keys_of_all_types_come_into_an_embedded_database() {
    let Some(mut redis) = Redis::open(1) else { return skip("no Redis") };
    let hub = Hub::new();
    let keys = count(&hub);
    for part in (0..keys).collect::<Vec<_>>().chunks(5000) {
        let commands: Vec<Vec<String>> = part
            .iter()
            .map(|number| {
                let key = format!("k:{number}");
                let command = match number % 4 {
                    0 => vec!["SET", &key, "text"],
                    1 => vec!["HSET", &key, "f", "v"],
                    2 => vec!["RPUSH", &key, "a", "b"],
                    _ => vec!["ZADD", &key, "1.5", "m"],
                };
                command.into_iter().map(str::to_owned).collect()
            })
            .collect();
        redis.ask_all(&commands);
    }
    let source = json!({
        "connector": "redis", "config": redis.config(), "strategy": "keys", "options": { "patterns": ["k:*"] }
    });
    let destination = json!({
        "connector": "sqlite",
        "config": { "file": hub.path("keys.db") },
        "options": { "mode": "upsert", "table": "keys", "create_table": true }
    });
    let run = hub.run(&hub.pipeline("keys", &source, &destination, &json!({}))).expect_success();
    assert_eq!(run.rows(), keys);
    assert!(run.peak_mib < 150.0, "{:.1} MiB", run.peak_mib);
    let database = rusqlite::Connection::open(hub.path("keys.db")).unwrap();
    let ask = |sql: &str| database.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(ask("select cast(count(distinct key) as text) from keys"), keys.to_string());
    assert_eq!(
        ask("select group_concat(kind) from (select distinct type kind from keys order by 1)"),
        "hash,list,string,zset"
    );
    assert_eq!(ask("select value from keys where key = 'k:1'"), r#"{"f":"v"}"#);
}

#[test]
fn postgres_rows_become_hashes_and_a_second_run_changes_nothing() {
    let Some(mut redis) = Redis::open(2) else { return skip("no Redis") };
    let Some(database) = Database::create("redis_query") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    database.execute(
        "create table people as select n::bigint as id, 'name ' || n as name, n * 0.25 as amount
         from generate_series(1, 20000) n; alter table people add primary key (id)",
    );
    let source = json!({
        "connector": "postgres", "config": database.config(), "strategy": "query",
        "options": { "statement": "select * from people", "cursor": ["id"] }
    });
    let destination = json!({
        "connector": "redis", "config": redis.config(), "options": { "type": "hash", "key": "person:{{id}}" }
    });
    let file = hub.pipeline("people", &source, &destination, &json!({}));
    assert_eq!(hub.run(&file).expect_success().rows(), 20_000);
    // The lane's own key beside them.
    assert_eq!(redis.ask(&["DBSIZE"]).number(), 20_001);
    let text = |text: &str| Answer::Text(text.into());
    assert_eq!(
        redis.ask(&["HMGET", "person:7", "id", "name", "amount"]).list(),
        [text("7"), text("name 7"), text("1.75")]
    );
    assert_eq!(hub.run(&file).expect_success().rows(), 0);
}

#[test]
fn redis_to_redis_keeps_every_type() {
    let (Some(mut from), Some(mut to)) = (Redis::open(3), Redis::open(4)) else { return skip("no Redis") };
    let hub = Hub::new();
    for command in [
        &["SET", "s", "v"][..],
        &["HSET", "h", "a", "1", "b", "2"],
        &["RPUSH", "l", "2", "1", "2"],
        &["SADD", "set", "m"],
        &["ZADD", "z", "1.5", "m", "-inf", "n"],
        &["XADD", "x", "1-1", "f", "v"],
        &["PEXPIRE", "s", "600000"],
    ] {
        from.ask(command);
    }
    let source = json!({
        "connector": "redis", "config": from.config(), "strategy": "keys",
        "options": { "patterns": ["*"], "encoding": "binary" }
    });
    let destination = json!({
        "connector": "redis", "config": to.config(), "options": { "type": "from-rows", "encoding": "binary" }
    });
    let run = hub.run(&hub.pipeline("copy", &source, &destination, &json!({}))).expect_success();
    assert_eq!(run.rows(), 6);
    for command in [
        &["GET", "s"][..],
        &["HGETALL", "h"],
        &["LRANGE", "l", "0", "-1"],
        &["SMEMBERS", "set"],
        &["ZRANGE", "z", "0", "-1", "WITHSCORES"],
        &["XRANGE", "x", "-", "+"],
    ] {
        assert_eq!(from.ask(command), to.ask(command), "{command:?}");
    }
    assert!((1..=600_000).contains(&to.ask(&["PTTL", "s"]).number()));
}
