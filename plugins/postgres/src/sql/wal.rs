//! Statements about publications, replication slots and what they send.

use super::{identifier, qualified};
use crate::types::Cast;

/// What prefixes the names of everything that is made on the server.
const PREFIX: &str = "hub_";

/// A table by schema and name.
pub type Table = (String, String);

/// Makes a publication. Each table is published under its own name, partitions under their root's.
pub fn create_publication(name: &str, tables: &[Table]) -> String {
    format!(
        "CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)",
        identifier(name),
        table_list(tables)
    )
}

/// Adds tables to a publication.
pub fn add_to_publication(name: &str, tables: &[Table]) -> String {
    format!("ALTER PUBLICATION {} ADD TABLE {}", identifier(name), table_list(tables))
}

/// Takes a publication away, if it is there.
pub fn drop_publication(name: &str) -> String {
    format!("DROP PUBLICATION IF EXISTS {}", identifier(name))
}

/// `ONLY` is not used: a partitioned table and its partitions are one.
fn table_list(tables: &[Table]) -> String {
    let names: Vec<_> = tables.iter().map(|(schema, name)| qualified(Some(schema), name)).collect();
    names.join(", ")
}

/// What gives a table without a primary key a replica identity.
pub fn identity_full(table: &Table) -> String {
    format!("ALTER TABLE {} REPLICA IDENTITY FULL", qualified(Some(&table.0), &table.1))
}

/// Makes a logical slot; a command of the replication protocol, whose strings know no escapes but doubled quotes.
pub fn create_slot(name: &str, temporary: bool, export: bool, version: u32) -> String {
    let temporary = if temporary { " TEMPORARY" } else { "" };
    let snapshot = match (version >= 150_000, export) {
        (true, true) => "(SNAPSHOT 'export')",
        (true, false) => "(SNAPSHOT 'nothing')",
        (false, true) => "EXPORT_SNAPSHOT",
        (false, false) => "NOEXPORT_SNAPSHOT",
    };
    format!("CREATE_REPLICATION_SLOT {}{temporary} LOGICAL pgoutput {snapshot}", identifier(name))
}

/// Keeps the server from ending a session whose transaction lies idle.
pub fn keep_idle_transaction(version: u32) -> String {
    let mut statements = String::from("SET idle_in_transaction_session_timeout = 0");
    if version >= 170_000 {
        statements.push_str("; SET transaction_timeout = 0");
    }
    statements
}

/// Starts the stream of a slot; `at` is a place in the WAL as text.
pub fn start_replication(slot: &str, at: &str, publication: &str, version: u32) -> String {
    let protocol = match version {
        160_000.. => 4,
        150_000.. => 3,
        _ => 2,
    };
    format!(
        "START_REPLICATION SLOT {} LOGICAL {at} (proto_version '{protocol}', publication_names '{}', \
         binary 'true', streaming 'on')",
        identifier(slot),
        identifier(publication).replace('\'', "''"),
    )
}

/// The name of what a pipeline makes on the server, without its generation: small letters, digits and underscores,
/// at most 50, told apart from any other pipeline's by a checksum of the whole name.
pub fn name_prefix(pipeline: &str) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in pipeline.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let readable: String = pipeline
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .take(28)
        .collect();
    format!("{PREFIX}{readable}_{hash:016x}_")
}

/// One text into the form that a value of a type has when it is read by a query. Binds the value.
pub fn convert(cast: Cast) -> Option<&'static str> {
    match cast {
        Cast::None => None,
        Cast::Text => Some("SELECT $1::pg_catalog.text"),
        Cast::TextList => Some("SELECT $1::pg_catalog.text[]"),
        Cast::InetOutput => Some("SELECT pg_catalog.textin(pg_catalog.inet_out($1))"),
    }
}

/// A statement whose columns have these types, named as the server writes them.
pub fn null_of_each(type_names: &[String]) -> String {
    let columns: Vec<_> = type_names.iter().map(|name| format!("CAST(NULL AS {name})")).collect();
    format!("SELECT {}", columns.join(", "))
}

/// The rows that a publication sends of a table. Those of tables that inherit from it are sent as theirs, those of
/// partitions as its own.
pub fn published_rows(
    table: &Table,
    is_partitioned: bool,
    columns: &[String],
    filter: Option<&str>,
) -> String {
    let columns: Vec<_> = columns.iter().map(|name| identifier(name)).collect();
    let filter = filter.map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
    let only = if is_partitioned { "" } else { "ONLY " };
    format!("SELECT {} FROM {only}{}{filter}", columns.join(", "), qualified(Some(&table.0), &table.1))
}

/// What logical decoding needs: version, standby or not, `wal_level`, the longest silence that the server bears, in
/// milliseconds, and whether the role may use replication.
pub const FACTS: &str = "SELECT pg_catalog.current_setting('server_version_num')::int4, \
    pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('wal_level'), \
    (SELECT s.setting::int8 FROM pg_catalog.pg_settings s WHERE s.name = 'wal_sender_timeout'), \
    (SELECT r.rolreplication OR r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)";

/// A slot: plugin, database, whether it is active, of which process, the place that is acknowledged, what has become
/// of its WAL, whether it decodes two-phase commits; and the end of the server's WAL. In: its name.
pub const SLOT: &str = "SELECT s.plugin::text, s.database::text, s.active, s.active_pid, \
    s.confirmed_flush_lsn::text, s.wal_status, s.two_phase, \
    CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
    ELSE pg_catalog.pg_current_wal_insert_lsn() END::text \
    FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1";

/// Slots of this database whose name begins so.
pub const SLOTS_OF: &str = "SELECT s.slot_name::text FROM pg_catalog.pg_replication_slots s \
    WHERE pg_catalog.starts_with(s.slot_name::text, $1) AND NOT s.temporary \
    AND s.database = pg_catalog.current_database() ORDER BY 1";

/// Takes a slot away. In: its name.
pub const DROP_SLOT: &str = "SELECT pg_catalog.pg_drop_replication_slot($1)";

/// Publications whose name begins so.
pub const PUBLICATIONS_OF: &str = "SELECT p.pubname::text FROM pg_catalog.pg_publication p \
    WHERE pg_catalog.starts_with(p.pubname::text, $1) ORDER BY 1";

/// What a publication sends: updates, deletes. In: its name.
pub const PUBLICATION: &str =
    "SELECT p.pubupdate, p.pubdelete FROM pg_catalog.pg_publication p WHERE p.pubname = $1";

/// The tables of a publication, as they are sent. In: its name.
pub const PUBLISHED: &str = "SELECT t.schemaname::text, t.tablename::text \
    FROM pg_catalog.pg_publication_tables t WHERE t.pubname = $1 ORDER BY 1, 2";

/// Of tables that a publication does not send: OID, and whether there still is such a table; whether there is another
/// one of the name. In: publication; OIDs, schemas and names.
pub const NO_LONGER_PUBLISHED: &str = "SELECT u.oid, c.oid IS NOT NULL, EXISTS (SELECT 1 FROM pg_catalog.pg_class o \
    JOIN pg_catalog.pg_namespace m ON m.oid = o.relnamespace \
    WHERE m.nspname::text = u.schema AND o.relname::text = u.name AND o.oid <> u.oid) \
    FROM ROWS FROM (pg_catalog.unnest($2::oid[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[])) \
    AS u(oid, schema, name) LEFT JOIN pg_catalog.pg_class c ON c.oid = u.oid \
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_catalog.pg_publication_tables t ON t.pubname = $1 AND t.schemaname = n.nspname \
    AND t.tablename = c.relname WHERE t.tablename IS NULL";

/// Columns and rows of a published table, from version 15 on. In: publication, schema, table.
pub const PUBLISHED_PART: &str = "SELECT t.attnames::text[], t.rowfilter \
    FROM pg_catalog.pg_publication_tables t \
    WHERE t.pubname = $1 AND t.schemaname = $2 AND t.tablename = $3";

/// Tables that rows can be captured of: schema, name. Partitions belong to their root.
pub const CAPTURABLE: &str = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p' \
    AND n.nspname <> 'information_schema' AND pg_catalog.left(n.nspname::text, 3) <> 'pg_' \
    AND pg_catalog.left(c.relname::text, 6) <> '__hub_' ORDER BY 1, 2";

/// Policies that would hide rows of a snapshot make it fail instead: the stream sends every row.
pub const SHOW_EVERY_ROW: &str = "SET LOCAL row_security = off";

/// A table: OID, replica identity, the server's estimate of its rows, whether an update or delete can be sent, and
/// whether it is partitioned. In: schema, name.
pub const TABLE: &str = "SELECT c.oid, c.relreplident::text, c.reltuples::int8, \
    CASE c.relreplident WHEN 'f' THEN true WHEN 'n' THEN false ELSE EXISTS ( \
    SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid \
    AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END) END, c.relkind = 'p' \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')";

/// A table's schema and name. In: OID.
pub const NAME: &str = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1";

/// Tables whose rows name rows of another table: their OID, and the other's.
pub const REFERENCES: &str = "SELECT DISTINCT k.conrelid, k.confrelid FROM pg_catalog.pg_constraint k \
    WHERE k.contype = 'f' AND k.conrelid <> k.confrelid";

/// The columns of a table: name, type, modifier, whether it is generated, whether it belongs to the replica
/// identity. In: OID.
pub const TABLE_COLUMNS: &str = "SELECT a.attname::text, a.atttypid, a.atttypmod, a.attgenerated <> '', \
    coalesce(a.attnum = ANY (i.indkey::int2[]), false) FROM pg_catalog.pg_attribute a \
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
    LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid \
    AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END \
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/// Of each column of a relation as the stream describes it: its declared type, its type without modifier, NOT NULL,
/// its place in the index that identifies rows, and how many columns that has. In: OID, whether rows are identified
/// by an index other than the primary key, and of each column name, type and modifier.
pub const RELATION_COLUMNS: &str = "SELECT pg_catalog.format_type(u.type, u.modifier), \
    pg_catalog.format_type(u.type, -1), \
    coalesce(a.attnotnull AND (r.relkind = 'p' OR NOT r.relhassubclass), false), \
    CASE WHEN k.place < i.indnkeyatts THEN k.place::int4 END, i.indnkeyatts::int4 \
    FROM ROWS FROM (pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::oid[]), \
    pg_catalog.unnest($5::int4[])) WITH ORDINALITY AS u(name, type, modifier, ordinal) \
    LEFT JOIN pg_catalog.pg_class r ON r.oid = $1 \
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attname::text = u.name \
    AND NOT a.attisdropped \
    LEFT JOIN pg_catalog.pg_index i ON i.indrelid = r.oid \
    AND CASE WHEN $2 THEN i.indisreplident ELSE i.indisprimary END \
    LEFT JOIN LATERAL (SELECT p.place - 1 AS place FROM pg_catalog.unnest(i.indkey::int2[]) \
    WITH ORDINALITY AS p(attribute, place) WHERE p.attribute = a.attnum) k ON true ORDER BY u.ordinal";

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> Vec<Table> {
        vec![("s\"; drop".into(), "t'x".into()), ("public".into(), "T".into())]
    }

    #[test]
    fn hostile_names_stay_inside_their_quotes() {
        let hostile = hostile();
        let quoted = r#""s""; drop"."t'x""#;
        assert_eq!(
            create_publication("p\"x", &hostile),
            format!(
                r#"CREATE PUBLICATION "p""x" FOR TABLE {quoted}, "public"."T" WITH (publish_via_partition_root = true)"#
            )
        );
        assert_eq!(
            add_to_publication("p", &hostile[..1]),
            format!(r#"ALTER PUBLICATION "p" ADD TABLE {quoted}"#)
        );
        assert_eq!(drop_publication("p\";"), r#"DROP PUBLICATION IF EXISTS "p"";""#);
        assert_eq!(identity_full(&hostile[0]), format!("ALTER TABLE {quoted} REPLICA IDENTITY FULL"));
        assert_eq!(
            create_slot("s\"x", true, true, 150_000),
            r#"CREATE_REPLICATION_SLOT "s""x" TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')"#
        );
        assert_eq!(
            create_slot("s", false, false, 140_000),
            r#"CREATE_REPLICATION_SLOT "s" LOGICAL pgoutput NOEXPORT_SNAPSHOT"#
        );
        assert_eq!(
            start_replication("s\"x", "0/16", "p'\"x", 180_000),
            concat!(
                r#"START_REPLICATION SLOT "s""x" LOGICAL 0/16 (proto_version '4', "#,
                r#"publication_names '"p''""x"', binary 'true', streaming 'on')"#
            )
        );
        assert_eq!(
            published_rows(&hostile[0], false, &["a\"b".into(), "c".into()], Some("(a > 1)")),
            format!(r#"SELECT "a""b", "c" FROM ONLY {quoted} WHERE (a > 1)"#)
        );
        let partitioned = published_rows(&hostile[0], true, &["c".into()], None);
        assert_eq!(partitioned, format!(r#"SELECT "c" FROM {quoted}"#));
    }

    #[test]
    fn names_fit_what_the_server_takes_and_tell_pipelines_apart() {
        let long =
            name_prefix(&"Ä long NAME with 'quotes' and more than sixty-three characters in it".repeat(3));
        assert!(
            long.len() <= 52
                && long.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        );
        assert_ne!(name_prefix("a-b"), name_prefix("a_b"));
        assert!(name_prefix("a-b").starts_with("hub_a_b_"));
    }
}
