//! By WAL into another server: whatever happens arrives transaction by transaction, whatever is killed or cut.

use std::{cell::RefCell, sync::Arc, thread, time::Duration};

use hub_tests::{
    Database, Hub, Proxy,
    changes::{Equivalence, Fault, PostgresStore, equivalence},
    servers::{NoServer, PostgresCluster, PostgresRelease},
    skip,
};
use serde_json::json;

use crate::wal::{destination, soon, source};

/// How often each fault strikes.
fn times(hub: &Hub) -> u32 {
    if hub.environment.full { 20 } else { 3 }
}

#[test]
fn random_changes_arrive_whole_whatever_is_killed_restarted_or_cut() {
    let cluster = || match PostgresCluster::start(PostgresRelease::Distribution, &[]) {
        Ok(cluster) => Some(cluster),
        Err(NoServer::Missing(reason)) => {
            skip(&reason);
            None
        }
        Err(NoServer::Broken(reason)) => panic!("{reason}"),
    };
    let (Some(from), Some(to)) = (cluster(), cluster()) else { return };
    let hub = Hub::new();
    let (to_url, from_url) = (to.url(), from.url());
    let source_database = Database::create_at(&from_url, "equivalence_from");
    let destination_database = Database::create_at(&to_url, "equivalence_to");
    // The program goes through ways that can be cut; whoever compares does not.
    let (from_way, to_way) = (Proxy::to(from.port()), Proxy::to(to.port()));
    let mut source = source(&source_database, json!({ "capture": "stream-only" }));
    source["config"]["port"] = json!(from_way.port());
    let mut destination = destination(&destination_database);
    destination["config"]["port"] = json!(to_way.port());
    let file = hub.pipeline("equivalence", &source, &destination, &soon());
    let (from, to) = (RefCell::new(from), RefCell::new(to));
    let restart = |cluster: &RefCell<PostgresCluster>| {
        let mut cluster = cluster.borrow_mut();
        cluster.stop();
        // A server that had to be killed, as a consumer was behind, leaves processes that take a moment to notice.
        let mut tries = 0;
        while let Err(reason) = cluster.run() {
            tries += 1;
            assert!(tries < 40, "The server does not come back: {reason}");
            thread::sleep(Duration::from_millis(250));
        }
    };
    let times = times(&hub);
    let outcome = equivalence(Equivalence {
        hub: &hub,
        file: &file,
        pipeline: "equivalence",
        source: Arc::new(PostgresStore::new(&from_url, source_database.name())),
        destination: Arc::new(PostgresStore::new(&to_url, destination_database.name())),
        changes: if hub.environment.full { 200_000 } else { 20_000 },
        kills: times,
        faults: vec![
            Fault::new("the source was restarted", times, || restart(&from)),
            Fault::new("the destination was restarted", times, || restart(&to)),
            Fault::new("the way to the source was cut", times, || {
                from_way.cut();
            }),
            Fault::new("the way to the destination was cut", times, || {
                to_way.cut();
            }),
        ],
        samples: 200,
    });
    println!("{outcome:?}");
    // Their servers go first otherwise.
    drop((source_database, destination_database));
    assert!(outcome.samples >= 200, "{outcome:?}");
    assert!(outcome.late <= times / 2, "Faults struck when nothing happened any more: {outcome:?}");
    assert!(outcome.states >= 4 * times as usize, "The destination was seen in few states: {outcome:?}");
}
