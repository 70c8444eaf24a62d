//! By Streams.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use hub_plugin_api::{ErrorKind, Event, Position, json};
use redis::aio::MultiplexedConnection;

use crate::support::{Server, follow, is_full, open, plan_request, run};

const PATIENCE: Duration = Duration::from_millis(700);

async fn add(client: &mut MultiplexedConnection, stream: &str, numbers: std::ops::Range<u64>) {
    for part in numbers.collect::<Vec<_>>().chunks(1000) {
        let mut pipeline = redis::pipe();
        for number in part {
            pipeline.cmd("XADD").arg(stream).arg(format!("{}-1", number + 1)).arg("n").arg(*number).ignore();
        }
        pipeline.exec_async(client).await.unwrap();
    }
}

/// A stream of a test's own.
async fn stream(purpose: &str) -> (Server, MultiplexedConnection, String) {
    let server = Server::get();
    let mut client = server.client().await;
    let name = format!("stream-{purpose}");
    redis::cmd("DEL").arg(&name).exec_async(&mut client).await.unwrap();
    (server, client, name)
}

async fn pending(client: &mut MultiplexedConnection, stream: &str) -> i64 {
    let answer: redis::Value = redis::cmd("XPENDING").arg(stream).arg("g").query_async(client).await.unwrap();
    match answer.as_sequence().unwrap()[0] {
        redis::Value::Int(count) => count,
        _ => panic!("{answer:?}"),
    }
}

#[test]
fn without_a_group_reading_goes_on_behind_the_position() {
    run(async {
        let (server, mut client, name) = stream("groupless").await;
        add(&mut client, &name, 0..2500).await;
        let connection = server.connection().await;
        let plan =
            connection.plan(&plan_request("streams", "p", json!({ "streams": [name] }))).await.unwrap();
        let mut reader = open(&*plan, None).await.unwrap();
        let read = follow(&mut *reader, PATIENCE).await.unwrap();
        assert_eq!(read.rows(), 2500);
        assert_eq!(read.texts("fields")[2499], r#"{"n":"2499"}"#);
        let position = read.boundaries[0].position.clone();
        drop(reader);
        add(&mut client, &name, 2500..2600).await;
        let mut reader = open(&*plan, position).await.unwrap();
        let read = follow(&mut *reader, PATIENCE).await.unwrap();
        assert_eq!(read.texts("entry_id")[0], "1001-1", "behind the first boundary");
        assert_eq!(read.rows(), 1600);
    });
}

#[test]
fn entries_are_acknowledged_only_when_they_are_durable_and_come_again_until_then() {
    run(async {
        let (server, mut client, name) = stream("pending").await;
        add(&mut client, &name, 0..10).await;
        let connection = server.connection().await;
        let options = json!({ "streams": [name], "group": "g" });
        let plan = connection.plan(&plan_request("streams", "p", options)).await.unwrap();
        let mut reader = open(&*plan, None).await.unwrap();
        let first = follow(&mut *reader, PATIENCE).await.unwrap();
        assert_eq!((first.rows(), pending(&mut client, &name).await), (10, 10));
        drop(reader);

        // Nothing was durable: they come again, before what is new.
        add(&mut client, &name, 10..12).await;
        let mut reader = open(&*plan, None).await.unwrap();
        let second = follow(&mut *reader, PATIENCE).await.unwrap();
        let ids: Vec<String> = (1..=12).map(|number| format!("{number}-1")).collect();
        assert_eq!(second.texts("entry_id"), ids);
        // Durable at the destination, but not acknowledged: the position tells, and they do not come again.
        let position = second.boundaries.last().unwrap().position.clone();
        drop(reader);
        let mut reader = open(&*plan, position).await.unwrap();
        let third = follow(&mut *reader, PATIENCE).await.unwrap();
        assert_eq!((third.rows(), pending(&mut client, &name).await), (0, 0));

        add(&mut client, &name, 12..13).await;
        let fourth = follow(&mut *reader, PATIENCE).await.unwrap();
        assert_eq!((fourth.rows(), pending(&mut client, &name).await), (1, 1));
        reader.acknowledge(fourth.boundaries.last().unwrap().number).await.unwrap();
        assert_eq!(pending(&mut client, &name).await, 0);
    });
}

#[test]
fn what_a_dead_consumer_left_is_claimed_and_what_is_delivered_too_often_is_rejected() {
    run(async {
        let (server, mut client, name) = stream("claims").await;
        add(&mut client, &name, 0..5).await;
        redis::cmd("XGROUP")
            .arg("CREATE")
            .arg(&name)
            .arg("g")
            .arg("0")
            .exec_async(&mut client)
            .await
            .unwrap();
        for _ in 0..4 {
            // A consumer that dies again and again.
            let _: redis::Value = redis::cmd("XREADGROUP")
                .arg(&["GROUP", "g", "dead", "COUNT", "2", "STREAMS", &name, "0"])
                .query_async(&mut client)
                .await
                .unwrap();
            let _: redis::Value = redis::cmd("XREADGROUP")
                .arg(&["GROUP", "g", "dead", "COUNT", "1", "STREAMS", &name, ">"])
                .query_async(&mut client)
                .await
                .unwrap();
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let connection = server.connection().await;
        let options = json!({ "streams": [name], "group": "g", "claim_idle_ms": 200, "max_deliveries": 3 });
        let plan = connection.plan(&plan_request("streams", "p", options)).await.unwrap();
        let mut reader = open(&*plan, None).await.unwrap();
        let read = follow(&mut *reader, PATIENCE).await.unwrap();
        assert_eq!(read.rows() + read.rejected.len(), 5, "{read:?}");
        assert!(
            !read.rejected.is_empty() && read.rejected[0].reason.contains("`max_deliveries`"),
            "{read:?}"
        );
        reader.acknowledge(read.boundaries.last().unwrap().number).await.unwrap();
        assert_eq!(pending(&mut client, &name).await, 0, "rejected entries are done with too");
    });
}

#[test]
fn entries_that_were_trimmed_before_they_were_read_are_told() {
    run(async {
        for group in [None, Some("g")] {
            let (server, mut client, name) = stream("trimmed").await;
            add(&mut client, &name, 0..10).await;
            // What was removed before our time is no loss.
            redis::cmd("XTRIM").arg(&name).arg("MAXLEN").arg(8).exec_async(&mut client).await.unwrap();
            let mut options = json!({ "streams": [name] });
            if let Some(group) = group {
                options["group"] = json!(group);
            }
            let connection = server.connection().await;
            let plan = connection.plan(&plan_request("streams", "p", options.clone())).await.unwrap();
            let mut reader = open(&*plan, None).await.unwrap();
            let read = follow(&mut *reader, PATIENCE).await.unwrap();
            assert_eq!(read.rows(), 8);
            let last = read.boundaries.last().unwrap();
            reader.acknowledge(last.number).await.unwrap();
            let position = last.position.clone();
            drop(reader);
            // Removing what was read is no loss; removing what was not, is.
            redis::cmd("XTRIM").arg(&name).arg("MAXLEN").arg(2).exec_async(&mut client).await.unwrap();
            let mut reader = open(&*plan, position.clone()).await.unwrap();
            assert_eq!(follow(&mut *reader, PATIENCE).await.unwrap().rows(), 0);
            drop(reader);
            add(&mut client, &name, 10..20).await;
            redis::cmd("XTRIM").arg(&name).arg("MAXLEN").arg(3).exec_async(&mut client).await.unwrap();
            let mut reader = open(&*plan, position.clone()).await.unwrap();
            let error = follow(&mut *reader, PATIENCE).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::PositionLost, "{error}");
            assert!(error.message.starts_with("7 entries") && error.message.contains("`10-1`"), "{error}");
            drop(reader);
            options["on_trimmed"] = json!("warn");
            let plan = connection.plan(&plan_request("streams", "p", options)).await.unwrap();
            let mut reader = open(&*plan, position).await.unwrap();
            assert!(follow(&mut *reader, PATIENCE).await.unwrap().rows() <= 3);
        }
    });
}

#[test]
fn a_stream_that_was_made_anew_is_told_or_read_from_its_beginning() {
    run(async {
        let (server, mut client, name) = stream("anew").await;
        add(&mut client, &name, 100..110).await;
        let connection = server.connection().await;
        let mut options = json!({ "streams": [name] });
        let plan = connection.plan(&plan_request("streams", "p", options.clone())).await.unwrap();
        let mut reader = open(&*plan, None).await.unwrap();
        let read = follow(&mut *reader, PATIENCE).await.unwrap();
        let position = read.boundaries.last().unwrap().position.clone();
        // While it is read, and while it is not.
        redis::cmd("DEL").arg(&name).exec_async(&mut client).await.unwrap();
        add(&mut client, &name, 0..3).await;
        let error = follow(&mut *reader, PATIENCE).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PositionLost, "{error}");
        assert!(error.message.contains("`3-1`") && error.message.contains("`110-1`"), "{error}");
        drop(reader);
        let mut reader = open(&*plan, position.clone()).await.unwrap();
        assert_eq!(follow(&mut *reader, PATIENCE).await.unwrap_err().kind, ErrorKind::PositionLost);
        drop(reader);
        options["on_trimmed"] = json!("warn");
        let plan = connection.plan(&plan_request("streams", "p", options)).await.unwrap();
        let mut reader = open(&*plan, position).await.unwrap();
        let read = follow(&mut *reader, PATIENCE).await.unwrap();
        assert_eq!(read.texts("entry_id"), ["1-1", "2-1", "3-1"]);
    });
}

#[test]
fn a_group_that_is_gone_is_made_again_where_the_pipeline_is() {
    run(async {
        let (server, mut client, name) = stream("regrouped").await;
        add(&mut client, &name, 100..110).await;
        let connection = server.connection().await;
        let options = json!({ "streams": [name], "group": "g" });
        let plan = connection.plan(&plan_request("streams", "p", options.clone())).await.unwrap();
        let mut reader = open(&*plan, None).await.unwrap();
        let read = follow(&mut *reader, PATIENCE).await.unwrap();
        assert_eq!(read.rows(), 10);
        let last = read.boundaries.last().unwrap();
        reader.acknowledge(last.number).await.unwrap();
        let position = last.position.clone();
        drop(reader);
        redis::cmd("XGROUP").arg("DESTROY").arg(&name).arg("g").exec_async(&mut client).await.unwrap();
        add(&mut client, &name, 110..112).await;
        // The run that goes on plans anew, and knows that it does.
        let mut request = plan_request("streams", "p", options);
        request.interrupted = Some(plan.description());
        let plan = connection.plan(&request).await.unwrap();
        let mut reader = open(&*plan, position).await.unwrap();
        let read = follow(&mut *reader, PATIENCE).await.unwrap();
        assert_eq!(read.texts("entry_id"), ["111-1", "112-1"], "behind what was read, and nothing left out");
        let position = read.boundaries.last().unwrap().position.clone();
        drop(reader);
        // With the whole stream: what was given to this consumer and has small ids was not read before.
        redis::cmd("DEL").arg(&name).exec_async(&mut client).await.unwrap();
        add(&mut client, &name, 0..2).await;
        let mut reader = open(&*plan, position.clone()).await.unwrap();
        assert_eq!(follow(&mut *reader, PATIENCE).await.unwrap().rows(), 2);
        drop(reader);
        let mut reader = open(&*plan, position).await.unwrap();
        let read = follow(&mut *reader, PATIENCE).await.unwrap();
        assert_eq!(read.texts("entry_id"), ["1-1", "2-1"], "they were not acknowledged");
    });
}

/// A destination that stores rows and position in one step, as a transaction does.
#[derive(Default)]
struct Durable {
    position: Option<Position>,
    ids: Vec<String>,
}

#[test]
fn three_consumers_that_are_killed_leave_no_entry_behind() {
    let entries: u64 = if is_full() { 200_000 } else { 20_000 };
    let kills: u32 = if is_full() { 10 } else { 4 };
    run(async {
        let (server, mut client, name) = stream("killed").await;
        add(&mut client, &name, 0..entries).await;
        let connection = server.connection().await;
        let mut durable: HashMap<usize, Durable> = HashMap::new();
        let mut readers = Vec::new();
        let options = |consumer: usize| json!({ "streams": [name], "group": "g", "consumer": format!("c{consumer}"), "claim_idle_ms": 1500, "count": 200 });
        for consumer in 0..3 {
            let plan = connection.plan(&plan_request("streams", "p", options(consumer))).await.unwrap();
            readers.push(Some((open(&*plan, None).await.unwrap(), plan)));
        }
        let (mut killed, mut step, mut idle) = (0, 0_u32, 0);
        // The first consumer dies for good in the middle: the others take over what it left.
        while idle < 60 {
            for (consumer, slot) in readers.iter_mut().enumerate() {
                let Some((reader, plan)) = slot.as_mut() else { continue };
                step += 1;
                let (mut ids, mut position, mut number) = (Vec::new(), None, 0);
                loop {
                    match reader.next(Duration::from_millis(20)).await.unwrap() {
                        Event::Rows(rows) => {
                            let mut read = crate::support::Read::default();
                            read.batches.push(rows.batch);
                            ids.extend(read.texts("entry_id"));
                        }
                        Event::Boundary(boundary) => {
                            (position, number) = (boundary.position, boundary.number);
                            break;
                        }
                        Event::Idle => break,
                        _ => {}
                    }
                }
                idle = if ids.is_empty() { idle + 1 } else { 0 };
                // Killed before the commit, or between the commit and the acknowledgement.
                let dies = killed < kills && step % 7 == 3 && !ids.is_empty();
                let commits = !dies || killed % 2 == 0;
                let store = durable.entry(consumer).or_default();
                if commits && position.is_some() {
                    store.ids.append(&mut ids);
                    store.position = position;
                }
                if !dies {
                    reader.acknowledge(number).await.unwrap();
                    continue;
                }
                killed += 1;
                if killed == kills {
                    *slot = None;
                    continue;
                }
                *reader = open(&**plan, store.position.clone()).await.unwrap();
            }
        }
        assert_eq!(killed, kills);
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        let mut out_of_order = 0;
        for store in durable.values() {
            let numbers: Vec<u64> =
                store.ids.iter().map(|id| id.split('-').next().unwrap().parse().unwrap()).collect();
            out_of_order += numbers.windows(2).filter(|pair| pair[1] < pair[0]).count();
            numbers.into_iter().for_each(|number| *times.entry(number).or_default() += 1);
        }
        let twice = times.values().filter(|times| **times > 1).count();
        println!(
            "{kills} kills: {twice} entries came twice, {out_of_order} steps back (entries of others, taken over)"
        );
        assert_eq!(times.len() as u64, entries, "every entry is at the destination");
        assert!(twice as u64 <= u64::from(kills) * 200, "only what one kill interrupted may come twice");
        assert_eq!(pending(&mut client, &name).await, 0, "none is left pending");
        redis::cmd("DEL").arg(&name).exec_async(&mut client).await.unwrap();
    });
}

#[test]
fn a_released_pipeline_leaves_its_groups_unless_entries_are_pending() {
    run(async {
        let (server, mut client, name) = stream("released").await;
        add(&mut client, &name, 0..4).await;
        let connection = server.connection().await;
        let options = json!({ "streams": [name], "group": "g", "count": 2 });
        let plan = connection.plan(&plan_request("streams", "leaves", options)).await.unwrap();
        let mut reader = open(&*plan, None).await.unwrap();
        let read = follow(&mut *reader, PATIENCE).await.unwrap();
        reader.acknowledge(read.boundaries[0].number).await.unwrap();
        assert_eq!(pending(&mut client, &name).await, 2);
        connection.release("leaves").await.unwrap();
        assert_eq!(consumers(&mut client, &name).await, ["connector-hub:leaves"], "two entries are pending");
        assert_eq!(pending(&mut client, &name).await, 2);

        reader.acknowledge(read.boundaries.last().unwrap().number).await.unwrap();
        drop(reader);
        let other = ["GROUP", "g", "another", "COUNT", "1", "STREAMS", &name, ">"];
        redis::cmd("XREADGROUP").arg(&other).exec_async(&mut client).await.unwrap();
        connection.release("leaves").await.unwrap();
        connection.release("leaves").await.unwrap();
        let left = consumers(&mut client, &name).await;
        assert!(!left.iter().any(|name| name.starts_with("connector-hub:")), "{left:?}");
        redis::cmd("DEL").arg(&name).exec_async(&mut client).await.unwrap();
    });
}

async fn consumers(client: &mut MultiplexedConnection, stream: &str) -> Vec<String> {
    let info: Vec<HashMap<String, redis::Value>> =
        redis::cmd("XINFO").arg("CONSUMERS").arg(stream).arg("g").query_async(client).await.unwrap();
    let name = |consumer: &HashMap<String, redis::Value>| redis::from_redis_value(consumer["name"].clone());
    info.iter().map(|consumer| name(consumer).unwrap()).collect()
}
