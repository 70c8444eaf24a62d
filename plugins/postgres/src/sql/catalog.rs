//! Statements that look at the server and its catalog.

/// The system identifier and time line, from the control file.
pub const SYSTEM: &str = "SELECT s.system_identifier::text, c.timeline_id \
    FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c";

/// The database's OID, for servers that keep their control file to themselves.
pub const DATABASE_OID: &str =
    "SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()";

/// Tables and views that the role may read something of. In: a part of the name in lower case, schema and name of the
/// last one listed, the most to list. Ordered by bytes, so that a page starts where the last one ended.
pub const TABLES: &str = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition \
    AND n.nspname <> 'information_schema' AND pg_catalog.left(n.nspname::text, 3) <> 'pg_' \
    AND pg_catalog.left(c.relname::text, 6) <> '__hub_' \
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
    AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT') \
    AND ($1 = '' OR pg_catalog.strpos(pg_catalog.lower(n.nspname::text), $1) > 0 \
    OR pg_catalog.strpos(pg_catalog.lower(c.relname::text), $1) > 0) \
    AND (n.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\") > ($2, $3) \
    ORDER BY n.nspname::text COLLATE \"C\", c.relname::text COLLATE \"C\" LIMIT $4";

/// What a table is, and its bytes with indexes. In: schema and name.
pub const TABLE_SIZE: &str = "SELECT c.relkind::text, pg_catalog.pg_total_relation_size(c.oid) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relname = $2";

/// Those of some tables that the role may not read. In: their OIDs.
pub const UNREADABLE: &str = "SELECT n.nspname::text, c.relname::text, \
    pg_catalog.has_schema_privilege(n.oid, 'USAGE') FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1) \
    AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')) \
    ORDER BY 1, 2";

/// Free places for sessions of roles without privileges. Every role may see these counters, unlike the sessions.
pub const FREE_SESSIONS: &str = "SELECT pg_catalog.current_setting('max_connections')::int8 \
    - pg_catalog.current_setting('superuser_reserved_connections')::int8 \
    - (SELECT pg_catalog.sum(d.numbackends) FROM pg_catalog.pg_stat_database d)::int8";

/// The server's process behind a session.
pub const PROCESS: &str = "SELECT pg_catalog.pg_backend_pid()";

/// Rights to write. In: schema, table. Out: the schema exists, USAGE and CREATE on it; the table exists, and INSERT,
/// UPDATE, DELETE, SELECT and TRUNCATE on it.
pub const WRITE_RIGHTS: &str = "SELECT n.oid IS NOT NULL, \
    coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false), \
    coalesce(pg_catalog.has_schema_privilege(n.oid, 'CREATE'), false), c.oid IS NOT NULL, \
    coalesce(pg_catalog.has_table_privilege(c.oid, 'INSERT'), false), \
    coalesce(pg_catalog.has_table_privilege(c.oid, 'UPDATE'), false), \
    coalesce(pg_catalog.has_table_privilege(c.oid, 'DELETE'), false), \
    coalesce(pg_catalog.has_table_privilege(c.oid, 'SELECT'), false) \
    FROM (SELECT 1) one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $1 \
    LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = $2 \
    AND c.relkind IN ('r', 'p', 'v', 'f')";
