//! Statements that read.

use super::literal;
use crate::types::Cast;

/// What a wrapped statement is called inside the one around it.
const INNER: &str = "q";

/// How the column at this place is called there. The user's names may be there twice, or be empty.
///
/// Always with the name of the table: a cast keeps its column's name, so `ORDER BY c1` alone would order by the text of
/// `c1::text`.
pub fn inner_column(index: usize) -> String {
    format!("{INNER}.{}", inner_name(index))
}

fn inner_name(index: usize) -> String {
    format!("c{}", index + 1)
}

/// A statement of the user's as a table of `columns` columns.
fn from_clause(statement: &str, columns: usize) -> String {
    let names: Vec<_> = (0..columns).map(inner_name).collect();
    format!("FROM (\n{statement}\n) AS {INNER}({})", names.join(", "))
}

/// A bound of a range of keys: values as text, with the names of their types.
pub type Bound<'a> = [(&'a str, &'a str)];

/// Which rows of a statement are wanted, in which order.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// A condition over the inner columns.
    pub condition: Vec<String>,
    /// Inner columns to order by.
    pub order: Vec<String>,
}

/// The query that gives a statement's columns, each cast as it must be, narrowed down to a selection. It is the
/// statement itself where nothing is to be changed.
pub fn select(statement: &str, casts: &[Cast], selection: &Selection) -> String {
    let plain = casts.iter().all(|cast| *cast == Cast::None);
    if plain && selection.condition.is_empty() && selection.order.is_empty() {
        return statement.to_owned();
    }
    let columns: Vec<_> = casts.iter().enumerate().map(|(index, cast)| cast_column(index, *cast)).collect();
    let mut query = format!("SELECT {}\n{}", columns.join(", "), from_clause(statement, casts.len()));
    if !selection.condition.is_empty() {
        query.push_str(&format!("\nWHERE {}", selection.condition.join("\n  AND ")));
    }
    if !selection.order.is_empty() {
        query.push_str(&format!("\nORDER BY {}", selection.order.join(", ")));
    }
    query
}

fn cast_column(index: usize, cast: Cast) -> String {
    let column = inner_column(index);
    match cast {
        Cast::None => column,
        Cast::Text => format!("{column}::pg_catalog.text"),
        Cast::TextList => format!("{column}::pg_catalog.text[]"),
        Cast::InetOutput => format!("pg_catalog.textin(pg_catalog.inet_out({column}))"),
    }
}

/// A query's rows in the binary COPY format.
pub fn copy_out(query: &str) -> String {
    format!("COPY (\n{query}\n) TO STDOUT (FORMAT binary)")
}

/// A value of a type, safe to stand in a statement; `None` is null. `type_name` must be quoted where needed.
pub fn typed_literal(value: Option<&str>, type_name: &str) -> String {
    match value {
        Some(value) => format!("CAST({} AS {type_name})", literal(value).trim_start()),
        None => format!("CAST(NULL AS {type_name})"),
    }
}

/// `(a, b) > (1, 2)`, compared as a row. `columns` are places in the statement.
pub fn compare(columns: &[usize], operator: &str, bound: &Bound<'_>) -> String {
    let names: Vec<_> = columns.iter().map(|index| inner_column(*index)).collect();
    let values: Vec<_> =
        bound.iter().map(|(value, type_name)| typed_literal(Some(value), type_name)).collect();
    if let ([name], [value]) = (names.as_slice(), values.as_slice()) {
        return format!("{name} {operator} {value}");
    }
    format!("({}) {operator} ({})", names.join(", "), values.join(", "))
}

/// The greatest tuple of the cursor's columns, as text.
pub fn greatest(statement: &str, casts: &[Cast], cursor: &[usize], conditions: &[String]) -> String {
    let values: Vec<_> = cursor.iter().map(|index| as_text(*index, casts[*index])).collect();
    let order: Vec<_> = cursor.iter().map(|index| format!("{} DESC", inner_column(*index))).collect();
    // A descending order puts nulls first; those rows are not part of any range.
    let present = cursor.iter().map(|index| format!("{} IS NOT NULL", inner_column(*index)));
    let conditions: Vec<_> = present.chain(conditions.iter().cloned()).collect();
    format!(
        "SELECT {}\n{}\nWHERE {}\nORDER BY {}\nLIMIT 1",
        values.join(", "),
        from_clause(statement, casts.len()),
        conditions.join(" AND "),
        order.join(", "),
    )
}

/// The least value of one column, as text.
pub fn least(statement: &str, casts: &[Cast], column: usize) -> String {
    let name = inner_column(column);
    format!(
        "SELECT {}\n{}\nWHERE {name} IS NOT NULL\nORDER BY {name}\nLIMIT 1",
        as_text(column, casts[column]),
        from_clause(statement, casts.len()),
    )
}

fn as_text(index: usize, cast: Cast) -> String {
    if cast == Cast::InetOutput { cast_column(index, cast) } else { cast_column(index, Cast::Text) }
}

/// Whether a row has null in one of these columns.
pub fn any_null(statement: &str, columns: usize, among: &[usize]) -> String {
    format!("SELECT EXISTS (SELECT\n{}\nWHERE {})", from_clause(statement, columns), null_condition(among))
}

/// The condition that one of these columns is null.
pub fn null_condition(among: &[usize]) -> String {
    let nulls: Vec<_> = among.iter().map(|index| format!("{} IS NULL", inner_column(*index))).collect();
    format!("({})", nulls.join(" OR "))
}

/// The server's plan of a query, as JSON, without running it.
pub fn explain(query: &str) -> String {
    format!("EXPLAIN (FORMAT JSON)\n{query}")
}

/// Starts a read-only transaction that sees one state throughout: its own, or an exported one.
pub fn begin_snapshot(snapshot: Option<&str>, lock_timeout_ms: u64, server_version: u32) -> String {
    let mut statements = String::from("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    if let Some(snapshot) = snapshot {
        statements.push_str(&format!("; SET TRANSACTION SNAPSHOT {}", literal(snapshot).trim_start()));
    }
    // A reader waits for its destination, and a plan for its readers: the server must not give either up meanwhile.
    statements.push_str("; SET LOCAL idle_in_transaction_session_timeout = 0");
    if server_version >= 170_000 {
        statements.push_str("; SET LOCAL transaction_timeout = 0");
    }
    statements.push_str(&format!("; SET LOCAL lock_timeout = {lock_timeout_ms}"));
    statements
}

/// Makes a session's statements transactions of their own that may change data, whatever role and database set.
pub fn settings_of_changes(lock_timeout_ms: u64) -> String {
    format!(
        "SET default_transaction_read_only = off; SET default_transaction_isolation = 'read committed'; \
         SET lock_timeout = {lock_timeout_ms}"
    )
}

/// What the server is: version, standby or not, time line, the milliseconds since the last change was replayed.
pub const SERVER: &str = "SELECT pg_catalog.current_setting('server_version_num')::int4, \
    pg_catalog.pg_is_in_recovery(), \
    CASE WHEN pg_catalog.pg_is_in_recovery() THEN \
    CASE WHEN pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() THEN 0 ELSE \
    (EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) * 1000)::int8 \
    END END";

/// Of each column of a statement (rows of a table's children keep neither its key nor its NOT NULL): its declared type, NOT NULL, its place in the primary key, how many columns that
/// key has, whether equal texts have equal bytes, its type without modifier. In: type, modifier, table and attribute of each column.
pub const COLUMN_ORIGINS: &str = "SELECT \
    pg_catalog.format_type(coalesce(a.atttypid, u.type), coalesce(a.atttypmod, u.modifier)), \
    coalesce(a.attnotnull AND NOT h.inherited, false), \
    CASE WHEN k.place < i.indnkeyatts THEN k.place::int4 END, i.indnkeyatts::int4, \
    coalesce(c.collisdeterministic, true), \
    pg_catalog.format_type(u.type, -1) \
    FROM ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::int4[]), \
    pg_catalog.unnest($3::oid[]), pg_catalog.unnest($4::int2[])) \
    WITH ORDINALITY AS u(type, modifier, relation, attribute, ordinal) \
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = u.relation AND a.attnum = u.attribute \
    LEFT JOIN LATERAL (SELECT r.relkind <> 'p' AND r.relhassubclass AS inherited \
    FROM pg_catalog.pg_class r WHERE r.oid = u.relation) h ON true \
    LEFT JOIN pg_catalog.pg_index i ON i.indrelid = u.relation AND i.indisprimary AND NOT h.inherited \
    LEFT JOIN LATERAL (SELECT p.place - 1 AS place FROM pg_catalog.unnest(i.indkey::int2[]) \
    WITH ORDINALITY AS p(attribute, place) WHERE p.attribute = u.attribute) k ON true \
    LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation \
    ORDER BY u.ordinal";

/// Schema and name of a table.
pub const TABLE_NAME: &str = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1";

/// Bounds of the ranges that the server's own statistics cut a column into, as text; no row without statistics.
pub const HISTOGRAM: &str = "SELECT s.histogram_bounds::text::text[] FROM pg_catalog.pg_stats s \
    WHERE s.schemaname = $1 AND s.tablename = $2 AND s.attname = $3 AND s.histogram_bounds IS NOT NULL";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_stands_alone_where_nothing_is_to_be_changed() {
        assert_eq!(select("select 1", &[Cast::None], &Selection::default()), "select 1");
    }

    #[test]
    fn casts_ranges_and_order_go_around_the_statement() {
        let selection = Selection {
            condition: vec![
                compare(&[0, 1], ">", &[("7", "bigint"), ("o'x\\", "text")]),
                compare(&[0], "<=", &[("9", "bigint")]),
            ],
            order: vec![inner_column(0), inner_column(1)],
        };
        let casts = [Cast::None, Cast::Text, Cast::TextList, Cast::InetOutput];
        insta::assert_snapshot!(copy_out(&select("select * from t -- all", &casts, &selection)));
    }

    #[test]
    fn bounds_are_asked_for_without_nulls() {
        insta::assert_snapshot!(greatest("select * from t", &[Cast::None; 3], &[2, 0], &["c3 > 5".into()]));
        insta::assert_snapshot!(any_null("select * from t", 3, &[2, 0]));
    }

    #[test]
    fn transactions_see_one_state() {
        insta::assert_snapshot!(begin_snapshot(Some("00000003-1'B-1"), 30_000, 170_002));
        insta::assert_snapshot!(begin_snapshot(None, 0, 150_000));
        insta::assert_snapshot!(settings_of_changes(30_000));
    }
}
