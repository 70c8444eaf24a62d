//! Statements of the connection test.

use super::{identifier, literal, qualified, wal::Table};

/// Room for logical decoding: slots and how many are there, senders and how many are there, what a slot may hold back
/// in MB (-1: anything), after how many seconds idle slots are dropped (0: never).
pub const WAL_ROOM: &str = "SELECT pg_catalog.current_setting('max_replication_slots')::int8, \
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots), \
    pg_catalog.current_setting('max_wal_senders')::int8, \
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.backend_type = 'walsender'), \
    (SELECT s.setting::int8 FROM pg_catalog.pg_settings s WHERE s.name = 'max_slot_wal_keep_size'), \
    coalesce((SELECT s.setting::int8 FROM pg_catalog.pg_settings s \
    WHERE s.name = 'idle_replication_slot_timeout'), 0)";

/// Slots that nobody reads, and the bytes of WAL that each holds back. In: the least bytes.
pub const PINNING_SLOTS: &str = "SELECT s.slot_name::text, b.bytes FROM pg_catalog.pg_replication_slots s, \
    LATERAL (SELECT pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery() \
    THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, s.restart_lsn)::int8) b(bytes) \
    WHERE NOT s.active AND b.bytes >= $1 ORDER BY b.bytes DESC LIMIT 5";

/// What the role may do with a table, and what logical decoding makes of it. In: the table's OID. Out: USAGE on its
/// schema, SELECT on it, its ownership; whether it has a primary key; its generated columns.
pub const CAPTURE_RIGHTS: &str = "SELECT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE'), \
    pg_catalog.has_table_privilege(c.oid, 'SELECT'), pg_catalog.pg_has_role(c.relowner, 'USAGE'), \
    EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary), \
    ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 \
    AND NOT a.attisdropped AND a.attgenerated <> '' ORDER BY a.attnum) \
    FROM pg_catalog.pg_class c WHERE c.oid = $1";

/// Whether the role may make publications in this database.
pub const MAY_PUBLISH: &str =
    "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')";

/// Changes a setting of the server, which counts after a restart.
pub fn alter_system(name: &str, value: &str) -> String {
    format!("ALTER SYSTEM SET {name} = {}", literal(value).trim_start())
}

/// Changes a setting of the server now.
pub fn alter_system_now(name: &str, value: &str) -> String {
    format!("{}; SELECT pg_reload_conf()", alter_system(name, value))
}

/// Lets a role open replication sessions.
pub fn grant_replication(role: &str) -> String {
    format!("ALTER ROLE {} REPLICATION", identifier(role))
}

/// Lets a role use a schema.
pub fn grant_usage(schema: &str, role: &str) -> String {
    format!("GRANT USAGE ON SCHEMA {} TO {}", identifier(schema), identifier(role))
}

/// Lets a role read a table.
pub fn grant_select(table: &Table, role: &str) -> String {
    format!("GRANT SELECT ON {} TO {}", qualified(Some(&table.0), &table.1), identifier(role))
}

/// Has a publication send every kind of change.
pub fn publish_all(publication: &str) -> String {
    format!(
        "ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate')",
        identifier(publication)
    )
}

/// Takes a replication slot away.
pub fn drop_slot(slot: &str) -> String {
    format!("SELECT pg_drop_replication_slot({})", literal(slot).trim_start())
}

/// Makes a column NOT NULL.
pub fn set_not_null(schema: &str, table: &str, column: &str) -> String {
    let column = identifier(column);
    format!("ALTER TABLE {} ALTER COLUMN {column} SET NOT NULL", qualified(Some(schema), table))
}

/// Makes an index on a column.
pub fn create_index(schema: &str, table: &str, column: &str) -> String {
    format!("CREATE INDEX CONCURRENTLY ON {} ({})", qualified(Some(schema), table), identifier(column))
}

/// Has the sequence of a column hand out one key at a time.
pub fn uncached_sequence(sequence: &str) -> String {
    format!("ALTER SEQUENCE {sequence} CACHE 1")
}

/// The sequence of a column, quoted as needed. In: the table as a quoted name, the column.
pub const SEQUENCE: &str = "SELECT pg_catalog.pg_get_serial_sequence($1, $2)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixes_quote_every_name() {
        let table = ("s".to_owned(), "t \"x\"".to_owned());
        insta::assert_snapshot!(
            [
                alter_system("wal_level", "logical"),
                alter_system_now("max_slot_wal_keep_size", "10GB"),
                grant_replication("r\"; drop role x"),
                grant_usage("s \"", "r"),
                grant_select(&table, "r \""),
                publish_all("p\""),
                drop_slot("it's"),
                set_not_null("s", "t\"", "c\""),
                create_index("s", "t\"", "c\""),
            ]
            .join("\n")
        );
    }
}
