//! By WAL: tables that are left out, added again, dropped, made anew, or taken out of their publication.

use std::{
    thread,
    time::{Duration, Instant},
};

use hub_tests::{Database, Hub, skip};
use serde_json::json;

use crate::{
    check_steps::with,
    wal::{content, destination, soon, source, wait_until},
};

#[test]
fn a_table_that_was_left_out_for_a_while_is_read_again_when_it_is_added() {
    let Some(from) = Database::create("wal_out_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_out_to") else { return skip("no PostgreSQL") };
    from.execute("create table a (id int primary key); create table b (id int primary key, n int)");
    from.execute("insert into a values (1); insert into b values (1, 1)");
    let hub = Hub::new();
    let pipeline = |tables: &[&str]| {
        hub.pipeline("out", &source(&from, json!({ "tables": tables })), &destination(&to), &soon())
    };
    let mut running = hub.spawn(&pipeline(&["a", "b"]));
    wait_until(&mut running, "both", || to.count("a") == 1 && to.count("b") == 1);
    running.stop();
    for round in 2..4 {
        let mut running = hub.spawn(&pipeline(&["a"]));
        from.execute(&format!("insert into b values ({round}, 0); update b set n = {round}"));
        from.execute(&format!("insert into a values ({round})"));
        wait_until(&mut running, "the one", || to.count("a") == round);
        running.stop();
        let mut running = hub.spawn(&pipeline(&["a", "b"]));
        wait_until(&mut running, "the other", || content(&from, "b") == content(&to, "b"));
        running.stop();
    }
}

#[test]
fn a_table_that_is_made_anew_stops_the_stream_and_is_read_by_the_next_run() {
    let Some(from) = Database::create("wal_anew_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_anew_to") else { return skip("no PostgreSQL") };
    from.execute("create table a (id int primary key); create table b (id int primary key, v text)");
    from.execute("insert into a values (1); insert into b values (1, 'old')");
    let hub = Hub::new();
    let file = hub.pipeline("anew", &source(&from, json!({})), &destination(&to), &soon());
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || to.count("a") == 1 && to.count("b") == 1);
    from.execute(
        "drop table b; create table b (id int primary key, v text); insert into b values (2, 'new')",
    );
    let run = running.wait();
    assert!(!run.status.success(), "{}", run.stdout);
    let said = run.stderr;
    assert!(said.contains("`public.b` was dropped and made anew") && said.contains("Run again"), "{said}");
    // Its OID is another one, its name is not.
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the new table", || to.count("b") == 2);
    from.execute("insert into b values (3, 'newer'); insert into a values (2)");
    wait_until(&mut running, "its changes", || to.count("b") == 3 && to.count("a") == 2);
    let log = running.stop().stderr;
    assert!(log.contains("what only the old one had stays"), "{log}");
    assert_eq!(
        content(&to, "b").into_iter().flatten().collect::<Vec<_>>(),
        ["(1,old)", "(2,new)", "(3,newer)"]
    );
}

#[test]
fn a_table_that_is_taken_out_of_its_publication_stops_the_stream() {
    let Some(from) = Database::create("wal_taken_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_taken_to") else { return skip("no PostgreSQL") };
    from.execute("create table a (id int primary key); create table b (id int primary key)");
    from.execute("insert into a values (1); insert into b values (1); create publication p for table a, b");
    let hub = Hub::new();
    let options = json!({ "publication": "p" });
    let mut more = soon();
    more["retry"] = json!({ "attempts": 1 });
    let file = hub.pipeline("taken", &source(&from, options), &destination(&to), &more);
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || to.count("a") == 1 && to.count("b") == 1);
    from.execute("alter publication p drop table b; insert into b values (2); insert into a values (2)");
    wait_until(&mut running, "the table that is left", || to.count("a") == 2);
    let run = running.wait();
    assert!(!run.status.success(), "{}", run.stdout);
    let said = run.stderr;
    assert!(said.contains("`p` does not have table `public.b`") && said.contains("read it again"), "{said}");
}

#[test]
fn rows_of_a_table_that_inherits_stay_its_own() {
    let Some(from) = Database::create("wal_inherits_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_inherits_to") else { return skip("no PostgreSQL") };
    from.execute("create table parent (id int primary key, v text)");
    from.execute("create table child (n int, primary key (id)) inherits (parent)");
    from.execute("insert into parent values (1, 'p'); insert into child values (2, 'c', 7)");
    let hub = Hub::new();
    let file = hub.pipeline("inherits", &source(&from, json!({})), &destination(&to), &soon());
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || to.count("parent") > 0 && to.count("child") > 0);
    from.execute("update parent set v = 'both'; insert into child values (3, 'c', 8)");
    wait_until(&mut running, "the changes", || {
        content(&to, "child") == content(&from, "child")
            && content(&to, "parent") == [Some("(1,both)".to_owned())]
    });
    running.stop();
}

#[test]
fn a_policy_that_hides_rows_stops_the_snapshot_instead_of_leaving_them_out() {
    let Some(from) = Database::create("wal_policy_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_policy_to") else { return skip("no PostgreSQL") };
    from.execute(
        "create table t (id int primary key); insert into t values (1), (2);
         alter table t enable row level security; create policy odd on t using (id % 2 = 1);
         drop role if exists hub_policy; create role hub_policy login replication password 'a-secret';
         grant select on t to hub_policy; create publication p for table t",
    );
    let hub = Hub::new();
    let mut reading = source(&from, json!({ "publication": "p" }));
    reading["config"] = with(&from.config(), json!({ "username": "hub_policy", "password": "a-secret" }));
    let file = hub.pipeline("policy", &reading, &destination(&to), &soon());
    let run = hub.run(&file);
    assert!(!run.status.success(), "{}", run.stdout);
    assert!(run.stderr.contains("row-level security") && run.stderr.contains("BYPASSRLS"), "{}", run.stderr);
    from.execute("alter role hub_policy bypassrls");
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "every row", || to.count("t") == 2);
    running.stop();
    from.execute("drop owned by hub_policy; drop role hub_policy");
}

#[test]
fn values_that_their_column_cannot_carry_come_as_text_on_request() {
    let Some(from) = Database::create("wal_text_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_text_to") else { return skip("no PostgreSQL") };
    let table = "create table t (id int primary key, grid int[], at time, later timestamp, code char(4))";
    from.execute(table);
    to.execute(table);
    let row = "'{{1,2},{3,NULL}}', '24:00', '294276-12-31 23:59:59', 'a'";
    from.execute(&format!("insert into t values (1, {row})"));
    let hub = Hub::new();
    let pipeline = |options| hub.pipeline("text", &source(&from, options), &destination(&to), &soon());
    let said = hub.run(&pipeline(json!({}))).stderr;
    assert!(
        said.contains("Column `grid`: an array has 2 dimensions") && said.contains("`as_text`"),
        "{said}"
    );
    let options = json!({ "as_text": ["t.grid", "public.t.at", "t.l*", "t.code"] });
    let mut running = hub.spawn(&pipeline(options));
    wait_until(&mut running, "the snapshot", || content(&to, "t") == content(&from, "t"));
    from.execute(&format!(
        "insert into t values (2, {row}); update t set grid = '[0:1]={{7,8}}' where id = 1"
    ));
    wait_until(&mut running, "the changes", || content(&to, "t") == content(&from, "t"));
    running.stop();
}

#[test]
fn tables_of_one_name_keep_the_schemas_of_the_source_on_request() {
    let Some(from) = Database::create("wal_schemas_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_schemas_to") else { return skip("no PostgreSQL") };
    from.execute(
        "create schema x; create schema \"Y z\"; create table x.t (id int primary key, v text);
         create table \"Y z\".t (id int primary key, v text); create table plain (id int primary key);
         insert into x.t values (1, 'x'), (2, 'x'); insert into \"Y z\".t values (1, 'y'); insert into plain values (1)",
    );
    let hub = Hub::new();
    let said = hub.run(&hub.pipeline("shared", &source(&from, json!({})), &destination(&to), &soon())).stderr;
    assert!(said.contains("would share table"), "{said}");
    let mut writing = destination(&to);
    writing["options"]["source_schemas"] = json!(true);
    let mut running = hub.spawn(&hub.pipeline("schemas", &source(&from, json!({})), &writing, &soon()));
    let is_equal =
        || ["x.t", "\"Y z\".t", "plain"].iter().all(|table| content(&from, table) == content(&to, table));
    wait_until(&mut running, "the snapshot", is_equal);
    from.execute("truncate x.t; insert into x.t values (3, 'after'); delete from \"Y z\".t; insert into plain values (2)");
    from.execute("insert into \"Y z\".t values (4, 'y')");
    wait_until(&mut running, "the changes", is_equal);
    running.stop();
}

#[test]
fn changes_under_another_name_arrive_when_the_table_has_its_name_back() {
    let Some(from) = Database::create("wal_name_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_name_to") else { return skip("no PostgreSQL") };
    from.execute("create table t (id int primary key, v text); insert into t values (1, 'a')");
    let hub = Hub::new();
    let file = hub.pipeline("name", &source(&from, json!({ "tables": ["*"] })), &destination(&to), &soon());
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || to.count("t") == 1);
    from.execute(
        "insert into t values (2, 'b'); alter table t rename to other; insert into other values (3, 'c')",
    );
    let run = running.wait();
    assert!(!run.status.success(), "{}", run.stdout);
    assert!(run.stderr.contains("is now called `public.other`"), "{}", run.stderr);
    // In the WAL the change keeps the name that the table had then.
    from.execute("alter table other rename to t; insert into t values (4, 'd')");
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "every row", || content(&from, "t") == content(&to, "t"));
    running.stop();
}

#[test]
fn a_slot_that_waits_for_an_open_transaction_says_so() {
    let Some(from) = Database::create("wal_waits_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_waits_to") else { return skip("no PostgreSQL") };
    from.execute("create table t (id int primary key)");
    let open = from.session();
    open.execute("begin; insert into t values (1)");
    let hub = Hub::new();
    let mut running =
        hub.spawn(&hub.pipeline("waits", &source(&from, json!({})), &destination(&to), &soon()));
    let started = Instant::now();
    while !running.log().contains("every transaction is over that was open before") {
        assert!(started.elapsed() < Duration::from_secs(60) && !running.has_ended(), "{}", running.log());
        thread::sleep(Duration::from_millis(100));
    }
    open.execute("commit");
    wait_until(&mut running, "the row", || to.count("t") == 1);
    running.stop();
}
