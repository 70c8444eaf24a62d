//! By Keyspace.

use std::{collections::BTreeSet, time::Duration};

use hub_plugin_api::{ErrorKind, json};
use redis::aio::MultiplexedConnection;

use crate::support::{NOTIFICATIONS, Server, cluster_ports, follow, open, plan_request, run, skip};

const PATIENCE: Duration = Duration::from_millis(800);

#[test]
fn events_of_every_class_come_with_the_value_that_is_there() {
    run(async {
        let _alone = NOTIFICATIONS.lock().await;
        let server = Server::get().database(14);
        let mut client = server.client().await;
        redis::cmd("FLUSHDB").exec_async(&mut client).await.unwrap();
        let connection = server.connection().await;
        let options = json!({ "fetch_value": true, "patterns": ["k:*"] });
        let plan = connection.plan(&plan_request("keyspace", "p", options)).await.unwrap();
        let mut reader = open(&*plan, None).await.unwrap();
        follow(&mut *reader, PATIENCE).await.unwrap();
        let mut pipeline = redis::pipe();
        pipeline.cmd("SET").arg("k:string").arg("v").ignore();
        pipeline.cmd("HSET").arg("k:hash").arg("f").arg("v").ignore();
        pipeline.cmd("RPUSH").arg("k:list").arg("v").ignore();
        pipeline.cmd("SADD").arg("k:set").arg("v").ignore();
        pipeline.cmd("ZADD").arg("k:zset").arg(1).arg("v").ignore();
        pipeline.cmd("XADD").arg("k:stream").arg("1-1").arg("f").arg("v").ignore();
        pipeline.cmd("DEL").arg("k:list").ignore();
        pipeline.cmd("SET").arg("k:short").arg("v").arg("PX").arg(50).ignore();
        pipeline.cmd("SET").arg("other").arg("v").ignore();
        pipeline.exec_async(&mut client).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        // An expired key goes when it is touched, or by and by.
        let _: Option<String> = redis::cmd("GET").arg("k:short").query_async(&mut client).await.unwrap();
        let read = follow(&mut *reader, PATIENCE).await.unwrap();
        let rows: BTreeSet<String> = read
            .texts("event")
            .into_iter()
            .zip(read.texts("key"))
            .map(|(event, key)| format!("{event} {key}"))
            .collect();
        for expected in [
            "set k:string",
            "hset k:hash",
            "rpush k:list",
            "sadd k:set",
            "zadd k:zset",
            "xadd k:stream",
            "del k:list",
            "expired k:short",
        ] {
            assert!(rows.contains(expected), "{expected}: {rows:?}");
        }
        assert!(!rows.iter().any(|row| row.ends_with("other")));
        let values: BTreeSet<String> = read
            .texts("key")
            .into_iter()
            .zip(read.texts("value"))
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        assert!(values.contains("k:string \"v\"") && values.contains("k:hash {\"f\":\"v\"}"), "{values:?}");
        assert!(values.contains("k:list -"), "what is gone has no value: {values:?}");
        redis::cmd("FLUSHDB").exec_async(&mut client).await.unwrap();
    });
}

#[test]
fn a_server_that_stops_to_send_events_ends_the_run_instead_of_being_silent() {
    run(async {
        let _alone = NOTIFICATIONS.lock().await;
        let server = Server::get().database(13);
        let mut client = server.client().await;
        let mut send = async |classes: &str| {
            let mut command = redis::cmd("CONFIG");
            command.arg("SET").arg("notify-keyspace-events").arg(classes);
            command.exec_async(&mut client).await.unwrap();
        };
        let connection = server.connection().await;
        let options = json!({ "topology_ms": 100 });
        let plan = connection.plan(&plan_request("keyspace", "p", options)).await.unwrap();
        let mut reader = open(&*plan, None).await.unwrap();
        follow(&mut *reader, PATIENCE).await.unwrap();
        send("").await;
        let error = follow(&mut *reader, PATIENCE).await.unwrap_err();
        // From the first look on, too.
        let mut reader = open(&*plan, None).await.unwrap();
        let again = follow(&mut *reader, PATIENCE).await.unwrap_err();
        send("KEA").await;
        for error in [error, again] {
            assert_eq!(error.kind, ErrorKind::InvalidConfig, "{error}");
            assert!(error.message.contains("sends no key events"), "{error}");
            assert!(error.hint.unwrap().contains("CONFIG SET notify-keyspace-events KEA"));
        }
    });
}

#[test]
fn every_master_of_a_cluster_is_heard_also_after_a_failover_and_what_was_missed_is_found() {
    run(async {
        let Some(server) = Server::cluster() else { return skip("no cluster") };
        let mut client = server.cluster_client().await;
        let connection = server.connection().await;
        let prefix = format!("heard-{}", std::process::id());
        let options = json!({ "patterns": [format!("{prefix}:*")], "reconcile": true, "topology_ms": 200 });
        let plan = connection.plan(&plan_request("keyspace", "p", options)).await.unwrap();
        let mut reader = open(&*plan, None).await.unwrap();
        follow(&mut *reader, PATIENCE).await.unwrap();

        let set = async |client: &mut redis::cluster_async::ClusterConnection,
                         numbers: std::ops::Range<u32>| {
            for number in numbers {
                redis::cmd("SET")
                    .arg(format!("{prefix}:{number}"))
                    .arg(number)
                    .exec_async(client)
                    .await
                    .unwrap();
            }
        };
        set(&mut client, 0..60).await;
        let read = follow(&mut *reader, PATIENCE).await.unwrap();
        assert_eq!(read.rows(), 60);
        let nodes: BTreeSet<String> = read.texts("node").into_iter().collect();
        assert_eq!(nodes.len(), 3, "{nodes:?}");

        // Events of every class, wherever the keys are.
        let key = |name: &str| format!("{prefix}:{{{name}}}");
        for command in [
            &["HSET", &key("hash"), "f", "v"][..],
            &["RPUSH", &key("list"), "v"],
            &["SADD", &key("set"), "v"],
            &["ZADD", &key("zset"), "1", "v"],
            &["XADD", &key("stream"), "1-1", "f", "v"],
            &["EXPIRE", &key("hash"), "600"],
            &["RENAME", &key("set"), &format!("{}:new", key("set"))],
            &["SET", &key("short"), "v", "PX", "50"],
            &["DEL", &key("list")],
        ] {
            let answer: redis::RedisResult<redis::Value> =
                redis::cmd(command[0]).arg(&command[1..]).query_async(&mut client).await;
            answer.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _: Option<String> = redis::cmd("GET").arg(key("short")).query_async(&mut client).await.unwrap();
        for port in cluster_ports() {
            let mut node = server.node(port).await;
            let mut set = redis::cmd("SET");
            let is_here =
                set.arg(key("full")).arg("v").arg("EX").arg(600).exec_async(&mut node).await.is_ok();
            if is_here {
                throw_out_what_would_expire(&mut node).await;
            }
        }
        let read = follow(&mut *reader, PATIENCE).await.unwrap();
        let events: BTreeSet<String> = read.texts("event").into_iter().collect();
        let wanted = [
            "del",
            "evicted",
            "expire",
            "expired",
            "hset",
            "rename_from",
            "rename_to",
            "rpush",
            "sadd",
            "set",
            "xadd",
            "zadd",
        ];
        for event in wanted {
            assert!(events.contains(event), "{event}: {events:?}");
        }
        for key in [key("hash"), key("zset"), key("stream"), format!("{}:new", key("set"))] {
            redis::cmd("DEL").arg(key).exec_async(&mut client).await.unwrap();
        }
        follow(&mut *reader, PATIENCE).await.unwrap();

        // A replica takes over, and right then keys are set.
        let mut replica = None;
        for port in cluster_ports() {
            let mut node = server.node(port).await;
            let role: redis::Value = redis::cmd("ROLE").query_async(&mut node).await.unwrap();
            if role.as_sequence().unwrap()[0] == redis::Value::BulkString(b"slave".to_vec()) {
                replica = Some(node);
                break;
            }
        }
        redis::cmd("CLUSTER").arg("FAILOVER").exec_async(&mut replica.unwrap()).await.unwrap();
        set(&mut client, 60..200).await;
        let read = follow(&mut *reader, Duration::from_secs(4)).await.unwrap();
        let keys: BTreeSet<String> = read.texts("key").into_iter().collect();
        assert_eq!(keys.len(), 200, "what was missed is found, with what was known before");
        assert!(read.texts("event").contains(&"reconcile".to_owned()));

        // The new master is heard.
        set(&mut client, 200..260).await;
        let read = follow(&mut *reader, PATIENCE).await.unwrap();
        assert!(read.texts("event").iter().filter(|event| *event == "set").count() >= 60);
        assert_eq!(
            read.texts("node").into_iter().filter(|node| node != "-").collect::<BTreeSet<_>>().len(),
            3
        );

        // Each master ends our session and sets a key before it could be opened again: nobody hears of those keys.
        let mut missed = BTreeSet::new();
        for port in cluster_ports() {
            let mut node = server.node(port).await;
            let mut tags = (0..200).map(|tag| format!("{prefix}:{{missed{tag}}}"));
            let here = loop {
                let Some(key) = tags.next() else { break None };
                let is_here: redis::RedisResult<i64> =
                    redis::cmd("UNLINK").arg(&key).query_async(&mut node).await;
                if is_here.is_ok() {
                    break Some(key);
                }
            };
            // Replicas have none.
            let Some(key) = here else { continue };
            let mut pipeline = redis::pipe();
            pipeline.cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"]).ignore();
            pipeline.cmd("SET").arg(&key).arg("missed").ignore();
            pipeline.exec_async(&mut node).await.unwrap();
            missed.insert(key);
        }
        assert_eq!(missed.len(), 3, "a key on each master");
        let read = follow(&mut *reader, Duration::from_secs(4)).await.unwrap();
        let found: Vec<(String, String)> = read.texts("key").into_iter().zip(read.texts("event")).collect();
        for key in missed {
            let events: BTreeSet<&str> =
                found.iter().filter(|(found, _)| *found == key).map(|(_, event)| event.as_str()).collect();
            assert_eq!(events, BTreeSet::from(["reconcile"]), "{key}");
        }
    });
}

/// Has a node be full for a moment.
async fn throw_out_what_would_expire(node: &mut MultiplexedConnection) {
    let mut pipeline = redis::pipe();
    for (name, value) in [
        ("maxmemory-policy", "volatile-ttl"),
        ("maxmemory", "1"),
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
    ] {
        pipeline.cmd("CONFIG").arg("SET").arg(name).arg(value).ignore();
    }
    pipeline.exec_async(node).await.unwrap();
}
