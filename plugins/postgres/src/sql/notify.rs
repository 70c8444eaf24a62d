//! Statements about channels and outboxes.

use super::{identifier, literal, qualified, read::inner_column};

/// Starts to listen on channels.
pub fn listen(channels: &[String]) -> String {
    let statements: Vec<_> =
        channels.iter().map(|channel| format!("LISTEN {}", identifier(channel))).collect();
    statements.join("; ")
}

/// Sends a notification. In: channel, payload.
pub const NOTIFY: &str = "SELECT pg_catalog.pg_notify($1, $2)";

/// How full the server's queue of notifications is, from 0 to 1.
pub const QUEUE_USAGE: &str = "SELECT pg_catalog.pg_notification_queue_usage()";

/// What an outbox is. In: schema, table, key column. Out: the table's OID and kind; the key's type, whether it is NOT
/// NULL and the first column of an index; cache, increment and OID of its sequence; USAGE on the schema, SELECT on the table;
/// whether something notifies when rows are added.
pub const OUTBOX: &str = "SELECT c.oid, c.relkind::text, t.typname::text, coalesce(a.attnotnull, false), \
    EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL \
    AND i.indkey[0] = a.attnum), s.seqcache, s.seqincrement, s.seqrelid, \
    pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.has_table_privilege(c.oid, 'SELECT'), \
    EXISTS (SELECT FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid \
    WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND g.tgtype & 4 <> 0 \
    AND pg_catalog.strpos(pg_catalog.lower(p.prosrc), 'notify') > 0) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = $3 AND a.attnum > 0 \
    AND NOT a.attisdropped LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
    LEFT JOIN LATERAL (SELECT q.seqcache, q.seqincrement, q.seqrelid FROM pg_catalog.pg_depend d \
    JOIN pg_catalog.pg_sequence q ON q.seqrelid = d.objid \
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass \
    AND d.refobjid = c.oid AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i') LIMIT 1) s ON true \
    WHERE n.nspname = $1 AND c.relname = $2";

/// Transactions that may still add rows to a table or its partitions: a writer takes its lock before it draws a key.
/// In: the table's OID.
pub const WRITERS: &str = "WITH RECURSIVE tree(oid) AS (SELECT $1::oid UNION \
    SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree t ON i.inhparent = t.oid) \
    SELECT DISTINCT l.virtualtransaction, l.pid FROM pg_catalog.pg_locks l \
    WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() \
    AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) \
    AND l.relation IN (SELECT oid FROM tree) \
    AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')";

/// Starts to read an outbox: its columns stay as they are until the end, and every statement sees what is committed.
pub const BEGIN_READING: &str = "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED READ ONLY";

/// The greatest key of an outbox, the last one that its sequence gave out, where the role may know, and the table's OID.
pub fn greatest_key(schema: &str, table: &str, key: &str, sequence: Option<u32>) -> String {
    let key = identifier(key);
    let drawn = sequence.map_or("NULL".into(), |oid| {
        format!(
            "CASE WHEN pg_catalog.has_sequence_privilege('{oid}'::oid, 'USAGE, SELECT') \
             THEN pg_catalog.pg_sequence_last_value('{oid}'::oid) END"
        )
    });
    let table = qualified(Some(schema), table);
    let name = literal(&table);
    format!(
        "SELECT pg_catalog.max(o.{key})::int8, ({drawn})::int8, {name}::pg_catalog.regclass::oid FROM {table} o"
    )
}

/// All columns of an outbox.
pub fn outbox_rows(schema: &str, table: &str) -> String {
    format!("SELECT * FROM {}", qualified(Some(schema), table))
}

/// The condition of keys behind `after` and up to `through`, where `column` is the key's place.
pub fn keys_between(column: usize, after: Option<i64>, through: i64) -> Vec<String> {
    let key = inner_column(column);
    let mut conditions = vec![format!("{key} <= {}", number(through))];
    conditions.extend(after.map(|after| format!("{key} > {}", number(after))));
    conditions
}

/// The condition of keys in any of some ranges, ends included.
pub fn keys_within(column: usize, ranges: &[(i64, i64)]) -> Vec<String> {
    let key = inner_column(column);
    let range = |(from, to): &(i64, i64)| format!("{key} BETWEEN {} AND {}", number(*from), number(*to));
    let ranges: Vec<_> = ranges.iter().map(range).collect();
    vec![format!("({})", ranges.join(" OR "))]
}

/// The least bigint has no literal of its own: its minus is an operator.
fn number(value: i64) -> String {
    format!("'{value}'::int8")
}

/// A function and a trigger that notify a channel of every statement that adds rows to a table.
pub fn notifying_trigger(schema: &str, table: &str, channel: &str) -> String {
    let name = identifier(&trigger_name(table));
    let schema_name = identifier(schema);
    let body = format!(
        "BEGIN PERFORM pg_catalog.pg_notify({}, ''); RETURN NULL; END",
        literal(channel).trim_start()
    );
    format!(
        "CREATE OR REPLACE FUNCTION {schema_name}.{name}() RETURNS trigger LANGUAGE plpgsql AS {body}; \
         CREATE TRIGGER {name} AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {schema_name}.{name}()",
        body = literal(&body).trim_start(),
        table = qualified(Some(schema), table),
    )
}

/// `orders_notify`, within the 63 bytes of a name.
fn trigger_name(table: &str) -> String {
    const SUFFIX: &str = "_notify";
    let mut end = table.len().min(63 - SUFFIX.len());
    while !table.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{SUFFIX}", &table[..end])
}

/// A table that is an outbox.
pub fn create_outbox(schema: &str, table: &str, key: &str) -> String {
    format!(
        "CREATE TABLE {} ({} bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload jsonb NOT NULL)",
        qualified(Some(schema), table),
        identifier(key),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_quote_every_name_and_number() {
        let statements = [
            listen(&["orders".into(), "it's \"here\"".into()]),
            greatest_key("s", "t \"x\"", "key", Some(7)),
            outbox_rows("s", "t \"x\""),
            keys_between(1, Some(i64::MIN), 7).join(" AND "),
            keys_between(0, None, i64::MAX).join(" AND "),
            keys_within(0, &[(1, 3), (-9, -9)]).join(" AND "),
            notifying_trigger("s", "t \"x\"", "it's \\ $$"),
            create_outbox("s", "t", "id"),
        ];
        insta::assert_snapshot!(statements.join("\n"));
    }

    #[test]
    fn a_long_table_name_is_cut_between_characters() {
        assert_eq!(trigger_name("orders"), "orders_notify");
        let name = trigger_name(&"ü".repeat(40));
        assert_eq!(name, format!("{}_notify", "ü".repeat(28)));
    }
}
