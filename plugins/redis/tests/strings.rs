//! By Keys, strings only: many are read by one command as long as they are small.

use std::collections::{BTreeMap, BTreeSet};

use hub_plugin_api::{Connector, json};
use redis::aio::MultiplexedConnection;

use crate::support::{Server, context, read_all, run};

const SMALL: usize = 6000;
const LARGE: [usize; 4] = [4096, 65_535, 65_536, 300_000];

/// Small strings, among them an empty one, some large ones, and a hash.
async fn fill(client: &mut MultiplexedConnection) -> BTreeMap<String, String> {
    redis::cmd("FLUSHDB").exec_async(client).await.unwrap();
    let mut all = BTreeMap::from([("s:empty".to_owned(), String::new())]);
    all.extend((0..SMALL).map(|number| (format!("s:{number}"), format!("value {number}"))));
    all.extend(LARGE.iter().map(|bytes| (format!("s:large:{bytes}"), "x".repeat(*bytes))));
    let mut pipeline = redis::pipe();
    for (key, value) in &all {
        pipeline.cmd("SET").arg(key).arg(value).ignore();
    }
    pipeline.cmd("HSET").arg("s:hash").arg("f").arg("v").ignore();
    pipeline.exec_async(client).await.unwrap();
    all
}

#[test]
fn every_string_comes_as_it_is_with_its_time_to_live() {
    run(async {
        let server = Server::get().database(1);
        let mut client = server.client().await;
        let all = fill(&mut client).await;
        let connection = server.connection().await;
        let options = json!({ "patterns": ["s:*"], "type": "string" });
        let read = read_all(&*connection, options.clone()).await.unwrap();
        let pairs = |read: &crate::support::Read| -> BTreeMap<String, String> {
            read.texts("key").into_iter().zip(read.texts("value")).collect()
        };
        assert!(read.rows() == all.len() && pairs(&read) == all);
        assert!(read.texts("ttl_ms").iter().all(|ttl| ttl == "-"));

        // Now that some expire, each is asked for.
        let expiring: BTreeSet<String> =
            (0..SMALL).step_by(700).map(|number| format!("s:{number}")).collect();
        for key in &expiring {
            redis::cmd("PEXPIRE").arg(key).arg(600_000).exec_async(&mut client).await.unwrap();
        }
        let read = read_all(&*connection, options).await.unwrap();
        assert!(read.rows() == all.len() && pairs(&read) == all);
        let with_ttl = read.texts("key").into_iter().zip(read.texts("ttl_ms")).filter(|(_, ttl)| ttl != "-");
        assert_eq!(with_ttl.map(|(key, _)| key).collect::<BTreeSet<_>>(), expiring);
        redis::cmd("FLUSHDB").exec_async(&mut client).await.unwrap();
    });
}

#[test]
fn a_user_who_may_not_read_many_strings_at_once_reads_them_one_by_one() {
    run(async {
        let server = Server::get().database(2);
        let mut client = server.client().await;
        let all = fill(&mut client).await;
        let rules = ["reset", "on", ">single", "~*", "+@all", "-mget", "-info"];
        redis::cmd("ACL").arg("SETUSER").arg("single").arg(&rules).exec_async(&mut client).await.unwrap();
        let mut config = server.config.clone();
        config.set("username", "single");
        let connection = connector_redis::Redis.connect(&config, &context("single")).await.unwrap();
        let options = json!({ "patterns": ["s:*"], "type": "string" });
        let read = read_all(&*connection, options).await.unwrap();
        assert_eq!(read.rows(), all.len());
        redis::cmd("ACL").arg("DELUSER").arg("single").exec_async(&mut client).await.unwrap();
        redis::cmd("FLUSHDB").exec_async(&mut client).await.unwrap();
    });
}
