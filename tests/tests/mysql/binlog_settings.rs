//! By Bin Logs of servers that log otherwise than the launcher's: whatever they leave out or pack, all of it arrives.

use std::{fs, os::unix::fs::PermissionsExt};

use hub_tests::{Hub, servers::MySqlRelease};
use serde_json::json;

use crate::own::{Own, wait_until};

const COLUMNS: [&str; 6] = ["id", "n", "words", "large", "at", "data"];

/// Rows that are there, changes of every kind, and a backlog over a restart with a table that is altered twice in it.
fn follows(release: MySqlRelease, settings: &[&str]) {
    let Some(mut own) = Own::start(release, settings) else { return };
    own.run(
        "create table t (id int primary key, n int unsigned, words varchar(50) character set latin1, large text, \
             at datetime(3), data json);
         insert into t values (1, 4000000000, 'ü', repeat('l', 9000), '2024-02-29 12:00:00.125', \
             '{\"a\": [1, 2.5, \"x\"], \"b\": {\"c\": null}, \"s\": \"some text that is longer than its change\"}'),
             (2, null, '', '', null, null), (3, 3, 'three', 'small', '1000-01-01', '[]')",
    );
    let hub = Hub::new();
    let file = own.pipeline(&hub, "settings", json!({}));
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || own.is_same("t", &COLUMNS, "id > 0"));
    own.run(
        "insert into t values (4, 4, 'four', repeat('packed ', 2000), now(3), '{\"k\": 1}');
         update t set data = json_set(data, '$.a[1]', 7, '$.s', 'short') where id = 1;
         update t set data = json_remove(data, '$.b.c') where id = 1;
         begin; update t set n = 5 where id = 2; update t set id = 30, words = 'moved' where id = 3;
         delete from t where id = 4; insert into t values (5, null, null, null, null, '{\"k\": [true, false]}'); commit;
         update t set large = concat(large, '!') where id = 1",
    );
    wait_until(&mut running, "all changes", || own.is_same("t", &COLUMNS, "id > 0"));
    running.stop();

    own.run("update t set words = 'while away' where id = 30; alter table t add column extra bigint after n");
    own.run("insert into t values (6, 6, -6, 'six', null, null, '6'); delete from t where id = 5");
    own.server.restart().unwrap();
    own.run(
        "alter table t drop column at, add column more date first; insert into t values ('2024-01-01', 7, null, null, '', null, null);
         rename table t to u; insert into u values (null, 1001, 0, 8, 'eight', 'e', '{\"z\": 1e3}')",
    );
    let mut running = hub.spawn(&file);
    let all = ["id", "n", "extra", "words", "large", "data", "more"];
    wait_until(&mut running, "the renamed table", || own.is_same("u", &all, "id > 1000"));
    running.stop();
    let rows = |database: &str| {
        own.run(&format!(
            "select id, n, extra, words, sha2(large, 256), more, data from {database}.t order by id"
        ))
    };
    own.run("rename table u to t; delete from t where id > 1000");
    assert_eq!(rows("copy"), rows("shop"));
}

#[test]
fn log_without_gtids_and_names_of_columns_is_followed_by_file() {
    follows(
        MySqlRelease::MySql,
        &["gtid-mode=OFF", "enforce-gtid-consistency=OFF", "binlog-row-metadata=MINIMAL"],
    );
}

#[test]
fn log_with_partial_documents_in_packed_transactions_is_followed() {
    follows(
        MySqlRelease::MySql,
        &["binlog-row-value-options=PARTIAL_JSON", "binlog-transaction-compression=ON"],
    );
}

#[test]
fn log_without_unchanged_texts_and_with_partial_documents_is_followed() {
    follows(MySqlRelease::MySql, &["binlog-row-image=NOBLOB", "binlog-row-value-options=PARTIAL_JSON"]);
}

#[test]
fn log_with_no_more_than_what_changed_is_followed() {
    follows(MySqlRelease::MySql, &["binlog-row-image=MINIMAL", "binlog-row-metadata=MINIMAL"]);
}

#[test]
fn packed_and_encrypted_log_of_mariadb_without_names_of_columns_is_followed() {
    let hub = Hub::new();
    let keys = hub.write("keys", "1;770A8A65DA156D24EE2A093277530142\n");
    // The server runs as somebody else.
    for (path, mode) in [(keys.parent().unwrap(), 0o755), (&*keys, 0o644)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    follows(
        MySqlRelease::MariaDb,
        &[
            "log-bin-compress=ON",
            "log-bin-compress-min-len=10",
            "binlog-row-metadata=NO_LOG",
            "plugin-load-add=file_key_management",
            &format!("file-key-management-filename={}", keys.display()),
            "encrypt-binlog=ON",
        ],
    );
}

#[test]
fn log_of_mariadb_with_no_more_than_what_changed_is_followed() {
    follows(MySqlRelease::MariaDb, &["binlog-row-image=MINIMAL", "binlog-annotate-row-events=OFF"]);
}

#[test]
fn log_of_a_newer_mariadb_without_what_came_twice_is_followed() {
    follows(MySqlRelease::NewMariaDb, &["binlog-row-image=FULL_NODUP", "binlog-checksum=NONE"]);
}
