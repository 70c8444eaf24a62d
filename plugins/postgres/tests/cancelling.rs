//! What is under way ends on the server, too.

use std::time::{Duration, Instant};

use hub_plugin_api::{Event, json};

use crate::support::{Server, open_request, plan_request, run};

async fn sleeping(server: &Server, mark: &str) -> bool {
    let query = format!(
        "select count(*)::text from pg_stat_activity where query like '%{mark}%' and query not like '%pg_stat_activity%' and state = 'active'"
    );
    server.text(&query).await.as_deref() != Some("0")
}

async fn until(server: &Server, mark: &str, active: bool) {
    let started = Instant::now();
    while sleeping(server, mark).await != active {
        assert!(started.elapsed() < Duration::from_secs(5), "the statement is still there: {}", !active);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn cancelled_or_dropped_reader_ends_its_statement_on_the_server() {
    run(async {
        let server = Server::get();
        let connection = server.connection().await;
        for (mark, cancel) in [("mark_cancel_1", true), ("mark_drop_2", false)] {
            // Enough rows in front of the sleep for the server to send some of them.
            let statement = format!(
                "select i, case when i > 50000 then pg_sleep(30)::text end as slept, '{mark}' as m \
                 from generate_series(1, 50001) i"
            );
            let plan = connection.plan(&plan_request(json!({ "statement": statement }))).await.unwrap();
            let split = plan.description().splits.remove(0);
            let mut reader = plan.open(&open_request(&split, None)).await.unwrap();
            while reader.next(Duration::from_millis(50)).await.unwrap() != Event::Idle {}
            until(&server, mark, true).await;
            if cancel {
                reader.canceller().cancel();
                let started = Instant::now();
                let error = loop {
                    if let Err(error) = reader.next(Duration::from_secs(1)).await {
                        break error;
                    }
                };
                assert!(started.elapsed() < Duration::from_secs(1));
                assert_eq!(error.code.as_deref(), Some("57014"));
            }
            drop(reader);
            until(&server, mark, false).await;
        }
    });
}

#[test]
fn abandoned_opening_ends_its_statement_on_the_server() {
    run(async {
        let server = Server::get();
        let connection = server.connection().await;
        let statement = "select pg_sleep(30), 'mark_open_4' as m";
        let plan = connection.plan(&plan_request(json!({ "statement": statement }))).await.unwrap();
        let split = plan.description().splits.remove(0);
        let request = open_request(&split, None);
        let opening = plan.open(&request);
        let opened = tokio::time::timeout(Duration::from_secs(2), opening).await;
        drop(opened);
        until(&server, "mark_open_4", false).await;
    });
}

#[test]
fn abandoned_plan_ends_its_statement_on_the_server() {
    run(async {
        let server = Server::get();
        let connection = server.connection().await;
        let statement = "select i as id from generate_series(1, 1) i where pg_sleep(30) is not null and 'mark_plan_3' <> ''";
        let request = plan_request(json!({ "statement": statement, "cursor": ["id"] }));
        let planning = tokio::time::timeout(Duration::from_millis(500), connection.plan(&request)).await;
        assert!(planning.is_err());
        until(&server, "mark_plan_3", false).await;
    });
}
