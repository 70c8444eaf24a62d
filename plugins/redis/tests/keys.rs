//! By Keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use hub_plugin_api::json;
use redis::aio::MultiplexedConnection;

use crate::support::{Server, is_full, open, plan_request, read_all, run, write};

/// Bytes that no text has.
const BYTES: [&[u8]; 4] = [b"\xff\x00\xfe", b"", b"plain", "ünï ✓\r\n$5\r\n".as_bytes()];

async fn flush(client: &mut MultiplexedConnection) {
    redis::cmd("FLUSHDB").exec_async(client).await.unwrap();
}

/// A key of every type, whose names and elements are bytes.
async fn make_every_type(client: &mut MultiplexedConnection, many: usize) {
    let key = |name: &[u8]| [b"\xffbinary:\x00", name].concat();
    let mut pipeline = redis::pipe();
    for (number, value) in BYTES.iter().enumerate() {
        pipeline.cmd("SET").arg(key(format!("string{number}").as_bytes())).arg(*value).ignore();
    }
    pipeline.cmd("SET").arg(key(b"large")).arg(vec![0xfe_u8; 200_000]).ignore();
    for (number, elements) in [(1, BYTES.len()), (2, many)] {
        let element = |place: usize| match BYTES.get(place) {
            Some(bytes) => bytes.to_vec(),
            None => format!("element {place}").into_bytes(),
        };
        for place in 0..elements {
            let element = element(place);
            pipeline
                .cmd("HSET")
                .arg(key(format!("hash{number}").as_bytes()))
                .arg(&element)
                .arg(&element)
                .ignore();
            pipeline.cmd("RPUSH").arg(key(format!("list{number}").as_bytes())).arg(&element).ignore();
            pipeline.cmd("SADD").arg(key(format!("set{number}").as_bytes())).arg(&element).ignore();
            let score = format!("{}", place as f64 * 0.5);
            pipeline
                .cmd("ZADD")
                .arg(key(format!("zset{number}").as_bytes()))
                .arg(score)
                .arg(&element)
                .ignore();
            pipeline
                .cmd("XADD")
                .arg(key(format!("stream{number}").as_bytes()))
                .arg(format!("{}-1", place + 1))
                .arg(&element)
                .arg(&element)
                .arg("twice")
                .arg(1)
                .arg("twice")
                .arg(2)
                .ignore();
        }
    }
    pipeline.cmd("ZADD").arg(key(b"zset1")).arg("inf").arg("endless").ignore();
    pipeline.cmd("PEXPIRE").arg(key(b"hash1")).arg(3_600_000).ignore();
    pipeline.exec_async(client).await.unwrap();
}

/// What a database holds, in the server's own words.
async fn contents(client: &mut MultiplexedConnection) -> BTreeMap<Vec<u8>, (String, bool, redis::Value)> {
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(client).await.unwrap();
    let mut contents = BTreeMap::new();
    for key in keys.into_iter().filter(|key| !key.starts_with(b"__hub_commits")) {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(client).await.unwrap();
        let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(client).await.unwrap();
        let mut command = match kind.as_str() {
            "string" => redis::cmd("GET"),
            "hash" => redis::cmd("HGETALL"),
            "list" => redis::cmd("LRANGE"),
            "set" => redis::cmd("SMEMBERS"),
            "zset" => redis::cmd("ZRANGE"),
            _ => redis::cmd("XRANGE"),
        };
        command.arg(&key);
        match kind.as_str() {
            "list" => command.arg(0).arg(-1),
            "zset" => command.arg(0).arg(-1).arg("WITHSCORES"),
            "stream" => command.arg("-").arg("+"),
            _ => &mut command,
        };
        let value: redis::Value = command.query_async(client).await.unwrap();
        let value = match (kind.as_str(), value) {
            // In no order.
            ("hash", redis::Value::Array(items)) => {
                let mut pairs: Vec<String> = items.chunks(2).map(|pair| format!("{pair:?}")).collect();
                pairs.sort();
                redis::Value::SimpleString(pairs.join(","))
            }
            ("set", redis::Value::Array(items)) => {
                let mut items: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
                items.sort();
                redis::Value::SimpleString(items.join(","))
            }
            (_, value) => value,
        };
        contents.insert(key, (kind, ttl > 0, value));
    }
    contents
}

#[test]
fn every_type_with_binary_keys_and_values_round_trips() {
    run(async {
        let (from, to) = (Server::get().database(3), Server::get().database(4));
        let (mut source, mut target) = (from.client().await, to.client().await);
        flush(&mut source).await;
        flush(&mut target).await;
        make_every_type(&mut source, 5000).await;
        let read = read_all(
            &*from.connection().await,
            json!({ "patterns": ["*"], "encoding": "binary", "scan_count": 3 }),
        )
        .await
        .unwrap();
        assert!(read.rejected.is_empty(), "{:?}", read.rejected);
        let options = json!({ "type": "from-rows", "encoding": "binary" });
        write(&*to.connection().await, "round trip", options, &read.schemas[0], &read.batches).await.unwrap();
        let (expected, found) = (contents(&mut source).await, contents(&mut target).await);
        assert_eq!(expected.len(), BYTES.len() + 1 + 10);
        assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
        for (key, value) in &expected {
            assert!(found[key] == *value, "{}", String::from_utf8_lossy(key));
        }
        flush(&mut source).await;
        flush(&mut target).await;
    });
}

#[test]
fn what_is_not_text_is_rejected_unless_bytes_are_wanted() {
    run(async {
        let server = Server::get().database(5);
        let mut client = server.client().await;
        flush(&mut client).await;
        redis::pipe().set("good", "text").ignore().set("bad", b"\xff").exec_async(&mut client).await.unwrap();
        let connection = server.connection().await;
        let read = read_all(&*connection, json!({ "patterns": ["*"], "type": "string" })).await.unwrap();
        assert_eq!((read.texts("key"), read.texts("value")), (vec!["good".into()], vec!["text".into()]));
        assert_eq!(read.rejected.len(), 1);
        assert!(read.rejected[0].reason.contains("UTF-8") && read.rejected[0].payload.contains("0xff"));
        flush(&mut client).await;
    });
}

#[test]
fn shapes_give_columns_for_fields_and_rows_for_elements() {
    run(async {
        let server = Server::get().database(6);
        let mut client = server.client().await;
        flush(&mut client).await;
        let mut pipeline = redis::pipe();
        pipeline.cmd("HSET").arg("h:1").arg("name").arg("a").arg("n").arg(1).ignore();
        pipeline.cmd("HSET").arg("h:2").arg("name").arg("b").arg("more").arg("x").ignore();
        pipeline.cmd("RPUSH").arg("l").arg("first").arg("second").ignore();
        pipeline.cmd("ZADD").arg("z").arg(1.5).arg("member").ignore();
        pipeline.exec_async(&mut client).await.unwrap();
        let connection = server.connection().await;

        let fields =
            json!({ "patterns": ["*"], "shape": "fields", "fields": [{ "name": "n", "type": "int64" }] });
        let read = read_all(&*connection, fields).await.unwrap();
        let rows: BTreeSet<_> = read.texts("key").into_iter().zip(read.texts("n")).collect();
        assert_eq!(rows, BTreeSet::from([("h:1".into(), "1".into()), ("h:2".into(), "-".into())]));

        let read = read_all(&*connection, json!({ "patterns": ["h:*"], "shape": "fields" })).await.unwrap();
        let names: BTreeSet<String> =
            read.schemas.last().unwrap().arrow.fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["key", "ttl_ms", "name", "n", "more"].map(String::from).into());
        assert_eq!(read.rows(), 2);

        let elements = json!({ "patterns": ["l", "z", "nothing*"], "shape": "elements", "ttl": false });
        let read = read_all(&*connection, elements).await.unwrap();
        let mut rows: Vec<_> = (0..read.rows())
            .map(|row| {
                ["key", "index", "value", "score"].map(|column| read.texts(column)[row].clone()).join(" ")
            })
            .collect();
        rows.sort();
        assert_eq!(rows, ["l 0 first -", "l 1 second -", "z 0 member 1.5"]);
        flush(&mut client).await;
    });
}

#[test]
fn keys_that_are_there_throughout_come_once_while_others_come_and_go() {
    let keys: u64 = if is_full() { 500_000 } else { 50_000 };
    run(async {
        let server = Server::get().database(7);
        let mut client = server.client().await;
        flush(&mut client).await;
        for part in (0..keys).collect::<Vec<_>>().chunks(5000) {
            let mut pipeline = redis::pipe();
            for number in part {
                match number % 4 {
                    0 => pipeline.cmd("HSET").arg(format!("stays:{number}")).arg("n").arg(*number).ignore(),
                    1 => pipeline.cmd("RPUSH").arg(format!("stays:{number}")).arg(*number).ignore(),
                    2 => pipeline.cmd("ZADD").arg(format!("stays:{number}")).arg(1).arg(*number).ignore(),
                    _ => pipeline.cmd("SET").arg(format!("stays:{number}")).arg(*number).ignore(),
                };
            }
            pipeline.exec_async(&mut client).await.unwrap();
        }
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        // So many more keys come and go that the server's table of keys grows and shrinks.
        let writing = tokio::spawn({
            let (mut client, stop, written) =
                (server.client().await, Arc::clone(&stop), Arc::clone(&written));
            async move {
                while !stop.load(Ordering::Relaxed) {
                    for delete in [false, true] {
                        for part in (0..keys * 2).collect::<Vec<_>>().chunks(5000) {
                            let mut pipeline = redis::pipe();
                            for number in part {
                                let key = format!("goes:{number}");
                                match delete {
                                    true => pipeline.cmd("UNLINK").arg(key).ignore(),
                                    false => pipeline.cmd("SET").arg(key).arg(1).ignore(),
                                };
                            }
                            pipeline
                                .cmd("SET")
                                .arg(format!("stays:{}", part[0] / 4 * 4 % keys + 3))
                                .arg("new")
                                .ignore();
                            pipeline.exec_async(&mut client).await.unwrap();
                            written.fetch_add(part.len() as u64, Ordering::Relaxed);
                            if stop.load(Ordering::Relaxed) {
                                return;
                            }
                        }
                    }
                }
            }
        });
        let connection = server.connection().await;
        let read = read_all(&*connection, json!({ "patterns": ["*"], "ttl": false })).await.unwrap();
        // Strings are read in a way of their own.
        let strings = json!({ "patterns": ["stays:*"], "type": "string" });
        let strings = read_all(&*connection, strings).await.unwrap().texts("key");
        stop.store(true, Ordering::Relaxed);
        writing.await.unwrap();
        let found = read.texts("key");
        let distinct: BTreeSet<&String> = found.iter().collect();
        assert_eq!(distinct.len(), found.len(), "no key came twice");
        let stays = distinct.iter().filter(|key| key.starts_with("stays:")).count() as u64;
        assert_eq!(stays, keys, "no key was missed");
        let distinct: BTreeSet<&String> = strings.iter().collect();
        assert_eq!((distinct.len() as u64, strings.len() as u64), (keys / 4, keys / 4), "no string either");
        assert!(written.load(Ordering::Relaxed) > 0);
        flush(&mut client).await;
    });
}

#[test]
fn keys_by_name_and_by_several_patterns_come_once() {
    run(async {
        let server = Server::get().database(8);
        let mut client = server.client().await;
        flush(&mut client).await;
        for key in ["a:1", "a:2", "b:1", "c:1"] {
            redis::cmd("SET").arg(key).arg(key).exec_async(&mut client).await.unwrap();
        }
        let options = json!({ "keys": ["a:1", "gone", "c:1"], "patterns": ["a:*", "*:1", "b*"] });
        let mut found = read_all(&*server.connection().await, options).await.unwrap().texts("key");
        found.sort();
        assert_eq!(found, ["a:1", "a:2", "b:1", "c:1"]);
        flush(&mut client).await;
    });
}

#[test]
fn a_position_of_another_process_of_the_server_is_not_trusted() {
    run(async {
        let server = Server::get().database(9);
        let mut client = server.client().await;
        flush(&mut client).await;
        for number in 0..100 {
            redis::cmd("SET").arg(format!("k:{number}")).arg(1).exec_async(&mut client).await.unwrap();
        }
        let connection = server.connection().await;
        let options = json!({ "patterns": ["k:*"], "scan_count": 10 });
        let plan = connection.plan(&plan_request("keys", "test", options)).await.unwrap();
        let position = json!({ "v": 1, "layout": "another", "keys": 0, "master": 0, "cursor": 96 }).into();
        let mut reader = open(&*plan, Some(position)).await.unwrap();
        let read = crate::support::drain(&mut *reader).await.unwrap();
        assert_eq!(read.rows(), 100, "a cursor means nothing to another process");
        flush(&mut client).await;
    });
}
