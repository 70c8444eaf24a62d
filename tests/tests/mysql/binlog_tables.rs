//! Statements that make, alter, swap and drop tables while they are followed, in a log that does not tell names of
//! columns: the copy is what the tables are, or the run says what it cannot know.

use hub_tests::{Hub, Running, servers::MySqlRelease};
use serde_json::json;

use crate::own::{Own, TO, soon, wait_for_stream, wait_until};

struct Followed {
    own: Own,
    running: Running,
    /// Names of tables as statements write them on a server that keeps them in small letters.
    shouts: bool,
}

impl Followed {
    /// Runs statements, and waits until a table is the same on both sides.
    #[track_caller]
    fn same(&mut self, sql: &str, table: &str, columns: &[&str], only: &str) {
        let written =
            if self.shouts { sql.replace("{T}", &table.to_uppercase()) } else { sql.replace("{T}", table) };
        self.own.run(&written);
        let own = &self.own;
        wait_until(&mut self.running, sql, || own.is_same(table, columns, only));
    }

    #[track_caller]
    fn says(&mut self, text: &str) {
        let log = self.running.log();
        assert!(log.contains(text), "`{text}` is not said: {log}");
    }
}

fn tables_come_and_go(release: MySqlRelease, settings: &[&str]) {
    let Some(own) = Own::start(release, settings) else { return };
    own.run(
        "alter database character set latin2; create table t (id int primary key, v varchar(20)) character set utf8mb4; \
         create table a (id int primary key, v varchar(20)); create table b (id int primary key, n int); \
         insert into t values (1, 'ü'), (2, 'b'); insert into a values (1, 'ł'); insert into b values (1, 1)",
    );
    own.run(
        "create table par (id int primary key); create table chi (id int primary key, p int, \
         foreign key (p) references par (id) on delete cascade); insert into par values (1), (2); \
         insert into chi values (10, 1), (20, 2)",
    );
    let is_mysql = release == MySqlRelease::MySql;
    if !is_mysql {
        own.run("create sequence numbers");
    }
    let hub = Hub::new();
    let file = own.pipeline(&hub, "tables", json!({ "heartbeat_ms": 300 }));
    let shouts = settings.contains(&"lower-case-table-names=1");
    let mut it = Followed { running: hub.spawn(&file), own, shouts };
    it.same("do 0", "t", &["id", "v"], "id > 0");
    it.same("do 0", "a", &["id", "v"], "id > 0");

    // Texts of the table's, the database's and the client's character sets.
    it.same(
        "alter table {T} add w varchar(9) after id; insert into t values (3, 'ß', 'ö')",
        "t",
        &["id", "v", "w"],
        "id = 3",
    );
    it.same("create table {T} (id int primary key, v text, e enum('ł', 'x')); insert into made values (1, 'ź', 'ł')", "made", &["id", "v", "e"], "id > 0");
    it.same("set names latin1; alter table {T} add `ü` int; set names utf8mb4; insert into made values (2, 'a', 'x', 7)", "made", &["id", "`Ã¼`"], "id = 2");

    // As tools alter tables that are in use: another one takes the table's place.
    it.same(
        "create /* tool */ table _new like {T}; alter table _new add x int default 8, modify v varchar(50); \
         insert into _new select *, 8 from t; insert into t values (4, 'four', 'five'); insert into _new values (4, 'four', 'five', 9); \
         rename table t to _old, _new to {T}; drop table _old; insert into t values (5, 'v', 'w', 5); update t set x = 18 where id < 5",
        "t",
        &["id", "v", "w", "x"],
        "id > 2",
    );
    it.says(
        "Rows of table `shop.t` are others now, and the log does not say which: it took the place of another",
    );
    it.same(
        "rename table a to c, b to a, c to b; insert into a values (7, 7); insert into b values (8, 'ś')",
        "a",
        &["id", "n"],
        "id = 7",
    );
    it.same("do 0", "b", &["id", "v"], "id = 8");

    // A table that is made anew has none of the rows that it had, and one that never had any can be emptied.
    it.same("drop table {T}; create table if not exists a (id int primary key, n int); insert into a values (9, 9)", "a", &["id", "n"], "id > 0");
    it.same(
        "drop table {T}; create table a (primary key (id)) select 10 as id, 11 as n",
        "a",
        &["id", "n"],
        "id > 0",
    );
    it.same("create table {T} (id int primary key); truncate FRESH; drop table fresh; create table fresh (id int primary key); insert into fresh values (1)".replace("FRESH", if shouts { "FRESH" } else { "fresh" }).as_str(), "fresh", &["id"], "id > 0");
    it.same(
        "insert into fresh values (2); truncate table {T}; alter table fresh add y int; insert into fresh values (3, 3); \
         drop table fresh; create table fresh (id int primary key, y int, x int); insert into fresh values (4, 4, 4)",
        "fresh",
        &["id", "y", "x"],
        "id > 0",
    );

    // What nobody can know is said.
    it.same(
        "create table {T} (id int primary key) partition by range (id) (partition p values less than (10), partition q values less than (99)); \
         insert into parts values (1), (50); alter table parts drop partition p; insert into parts values (51)",
        "parts",
        &["id"],
        "id > 49",
    );
    it.says("the log does not say which: a partition was dropped");

    if is_mysql {
        it.same("delete from par where id = 1", "chi", &["id", "p"], "id > 0");
    } else {
        it.says("are not in this server's log: those of `shop.chi` stay in the copy");
    }
    if !is_mysql {
        it.same("create or replace table {T} (id int primary key, z int); insert into fresh values (4, 4); create sequence more; do nextval(more); do nextval(numbers); insert into fresh values (5, nextval(more))", "fresh", &["id", "z"], "id > 0");
        it.same(
            "set session binlog_alter_two_phase = 1; alter table {T} drop column z; insert into fresh values (6); \
             alter table fresh add y int; insert into fresh values (7, 7)",
            "fresh",
            &["id", "y"],
            "id > 5",
        );
        it.own.run("create table versioned (id int primary key) with system versioning; insert into versioned values (1)");
        let ended = it.running.wait();
        assert!(ended.stderr.contains("`shop.versioned`, which keeps its earlier rows"), "{}", ended.stderr);
        assert_eq!(it.own.admin(&format!("show tables from {TO} like 'numbers'")), Vec::<Vec<_>>::new());
        let refused = hub.spawn_with(&file, &["--from-scratch"]).wait();
        assert!(refused.stderr.contains("exclude_tables"), "{}", refused.stderr);
    } else {
        it.running.stop();
    }
}

#[test]
fn tables_of_mysql_come_and_go() {
    tables_come_and_go(MySqlRelease::MySql, &["binlog-row-metadata=MINIMAL"]);
}

#[test]
fn tables_of_mariadb_come_and_go_whatever_their_letters() {
    tables_come_and_go(MySqlRelease::MariaDb, &["binlog-row-metadata=NO_LOG", "lower-case-table-names=1"]);
}

#[test]
fn tables_of_a_newer_mariadb_come_and_go() {
    tables_come_and_go(MySqlRelease::NewMariaDb, &["binlog-row-metadata=NO_LOG"]);
}

#[test]
fn transactions_may_lose_their_gtids_and_get_them_again() {
    let Some(own) = Own::start(MySqlRelease::MySql, &[]) else { return };
    own.run("create table t (id int primary key); insert into t values (1)");
    let hub = Hub::new();
    let file = own.pipeline(&hub, "ids", json!({ "heartbeat_ms": 300 }));
    let mut it = Followed { running: hub.spawn(&file), own, shouts: false };
    let same = |it: &mut Followed, sql: &str| it.same(sql, "t", &["id"], "id > 0");
    same(&mut it, "insert into t values (2)");
    same(&mut it, "set global gtid_mode = on_permissive; insert into t values (3)");
    same(&mut it, "set global gtid_mode = off_permissive; insert into t values (4)");
    same(&mut it, "set global gtid_mode = off; insert into t values (5)");
    it.running.stop();
    it.own.run("insert into t values (6); flush binary logs; insert into t values (7)");
    it.running = hub.spawn(&file);
    same(&mut it, "set global gtid_mode = off_permissive; insert into t values (8)");
    same(
        &mut it,
        "set global gtid_mode = on_permissive; set global gtid_mode = on; insert into t values (9)",
    );
    it.running.stop();
    it.own.run("insert into t values (10)");
    it.running = hub.spawn(&file);
    same(&mut it, "insert into t values (11)");
    it.running.stop();

    // A history of changes outlives a table that is emptied or made anew.
    let mut destination = it.own.destination();
    destination["options"] = json!({ "mode": "append", "table": "history" });
    let history =
        hub.pipeline("history", &it.own.source(json!({ "snapshot": "never" })), &destination, &soon());
    let mut running = hub.spawn(&history);
    wait_for_stream(&mut running);
    it.own.run(
        "insert into t values (100); truncate t; insert into t values (101); \
         drop table t; create table t (id int primary key); insert into t values (102)",
    );
    let appended = || {
        let sql = format!(
            "select group_concat(concat(__op, ' ', id) order by __seq) from {TO}.history where id > 99"
        );
        let rows = it.own.admin("show tables from copy like 'history'").first().map(|_| it.own.admin(&sql));
        rows.and_then(|rows| rows[0][0].clone())
    };
    wait_until(&mut running, "the history", || {
        appended().as_deref() == Some("insert 100,insert 101,insert 102")
    });
    let log = running.stop().stderr;
    assert!(log.contains("was emptied at the source: what was appended of it stays"), "{log}");
}
