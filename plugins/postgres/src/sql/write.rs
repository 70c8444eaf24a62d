//! Statements of the writer. Names are quoted, values bound; types come quoted from the catalogue.

use super::{identifier, literal};
use crate::wire::encode_plan::ColumnPlan;

/// The number of a row in a staging table.
pub(crate) const ORDER: &str = "__hub_n";

/// A column of a staging table or of one to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewColumn {
    /// Unquoted.
    pub name: String,
    /// As SQL.
    pub type_name: String,
    /// NOT NULL.
    pub required: bool,
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(identifier).collect::<Vec<_>>().join(", ")
}

/// Makes the table that tokens are kept in. `table` is quoted.
pub(crate) fn create_commits(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (pipeline text NOT NULL, lane integer NOT NULL, fence bigint NOT NULL, \
         generation bigint NOT NULL, n bigint NOT NULL, token json, committed_at timestamp with time zone, \
         PRIMARY KEY (pipeline, lane))"
    )
}

/// Raises the fence of a lane: binds pipeline and lane, returns fence and token.
pub(crate) fn take_lane(table: &str) -> String {
    format!(
        "INSERT INTO {table} AS lane (pipeline, lane, fence, generation, n) VALUES ($1, $2, 1, 0, 0) \
         ON CONFLICT (pipeline, lane) DO UPDATE SET fence = lane.fence + 1 RETURNING fence, token::text"
    )
}

/// Stores a token if the fence is still ours: binds pipeline, lane, fence, generation, n and token.
pub(crate) fn store_token(table: &str) -> String {
    format!(
        "UPDATE {table} SET generation = $4, n = $5, token = $6::text::json, committed_at = clock_timestamp() \
         WHERE pipeline = $1 AND lane = $2 AND fence = $3"
    )
}

/// Oid, kind, and whether a trigger or a rule may leave rows out without an error, by schema and name.
pub(crate) const FIND_TABLE: &str = "SELECT c.oid, c.relkind::text, c.relhasrules OR EXISTS ( \
     SELECT 1 FROM pg_catalog.pg_trigger g WHERE NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') \
     AND g.tgtype & 3 = 3 AND (g.tgrelid = c.oid OR g.tgrelid IN ( \
     SELECT p.relid FROM pg_catalog.pg_partition_tree(c.oid) p))) FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";

/// The columns of a table, by its oid, with the base types of domains and the elements of arrays.
pub(crate) const COLUMNS: &str = "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), \
     a.attnotnull OR b.required, a.atthasdef OR a.attidentity <> '', a.attgenerated::text, \
     b.oid, b.typname::text, b.typtype::text, b.modifier, \
     pg_catalog.quote_ident(bn.nspname) || '.' || pg_catalog.quote_ident(b.typname), \
     e.oid, e.typname::text, e.typtype::text, pg_catalog.format_type(e.oid, b.modifier), \
     pg_catalog.quote_ident(en.nspname) || '.' || pg_catalog.quote_ident(e.typname) \
     FROM pg_catalog.pg_attribute a CROSS JOIN LATERAL ( \
       WITH RECURSIVE base AS ( \
         SELECT t.oid, t.typname, t.typtype, t.typcategory, t.typnamespace, t.typelem, t.typbasetype, t.typtypmod, \
                a.atttypmod AS modifier, t.typnotnull AS required \
         FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid \
         UNION ALL \
         SELECT t.oid, t.typname, t.typtype, t.typcategory, t.typnamespace, t.typelem, t.typbasetype, t.typtypmod, \
                base.typtypmod, t.typnotnull OR base.required \
         FROM pg_catalog.pg_type t JOIN base ON t.oid = base.typbasetype WHERE base.typtype = 'd') \
       SELECT * FROM base WHERE typtype <> 'd') b \
     JOIN pg_catalog.pg_namespace bn ON bn.oid = b.typnamespace \
     LEFT JOIN pg_catalog.pg_type e ON e.oid = b.typelem AND b.typcategory = 'A' \
     LEFT JOIN pg_catalog.pg_namespace en ON en.oid = e.typnamespace \
     WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/// The column names of every unique index that a conflict can be found by, by the table's oid.
pub(crate) const UNIQUE_INDEXES: &str = "SELECT array_agg(a.attname::text ORDER BY a.attnum) \
     FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid \
     AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) \
     WHERE i.indrelid = $1 AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL \
     AND i.indexprs IS NULL GROUP BY i.indexrelid ORDER BY i.indexrelid";

/// Whether a type of this name can be a column's: its kind, by a declared name; no row when there is none.
pub(crate) const FIND_TYPE: &str =
    "SELECT t.typtype::text FROM pg_catalog.pg_type t WHERE t.oid = pg_catalog.to_regtype($1::text)::oid";

/// Holds other lanes of the same table back until this transaction ends: binds a text.
pub(crate) const LOCK_NAME: &str =
    "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))";

/// Whether there is a schema: binds its name.
pub(crate) const SCHEMA: &str = "SELECT 1 FROM pg_catalog.pg_namespace n WHERE n.nspname = $1";

/// Makes a schema, unless it is there.
pub(crate) fn create_schema(name: &str) -> String {
    format!("CREATE SCHEMA IF NOT EXISTS {}", identifier(name))
}

/// Makes a table.
pub(crate) fn create_table(table: &str, columns: &[NewColumn], key: &[String]) -> String {
    let mut parts: Vec<_> = columns.iter().map(definition).collect();
    if !key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", list(key.iter().map(String::as_str))));
    }
    format!("CREATE TABLE {table} ({})", parts.join(", "))
}

fn definition(column: &NewColumn) -> String {
    let required = if column.required { " NOT NULL" } else { "" };
    format!("{} {}{required}", identifier(&column.name), column.type_name)
}

/// Adds a column.
pub(crate) fn add_column(table: &str, column: &NewColumn) -> String {
    format!("ALTER TABLE {table} ADD COLUMN {}", definition(column))
}

/// Widens a column.
pub(crate) fn widen_column(table: &str, name: &str, type_name: &str) -> String {
    format!("ALTER TABLE {table} ALTER COLUMN {} TYPE {type_name}", identifier(name))
}

/// Makes a staging table of this session, which is empty in every new transaction.
pub(crate) fn create_stage(stage: &str, columns: &[NewColumn]) -> String {
    let order = NewColumn { name: ORDER.into(), type_name: "bigint".into(), required: true };
    let columns: Vec<_> = std::iter::once(&order).chain(columns).map(definition).collect();
    format!("CREATE TEMPORARY TABLE {stage} ({}) ON COMMIT DELETE ROWS", columns.join(", "))
}

/// Takes rows in binary form.
pub(crate) fn copy_into<'a>(table: &str, columns: impl IntoIterator<Item = &'a str>) -> String {
    format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", list(columns))
}

/// A column on its way from a staging table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Staged {
    /// Unquoted.
    pub name: String,
    /// What the staged text is cast to.
    pub cast: Option<String>,
}

impl Staged {
    /// How a column is staged.
    pub(crate) fn of(plan: &ColumnPlan) -> Self {
        Self { name: plan.name.clone(), cast: plan.via_text.map(|_| plan.target.cast.clone()) }
    }

    fn value(&self) -> String {
        match &self.cast {
            Some(cast) => format!("s.{}::{cast}", identifier(&self.name)),
            None => format!("s.{}", identifier(&self.name)),
        }
    }
}

/// Moves staged rows in their order.
pub(crate) fn insert_staged(table: &str, stage: &str, columns: &[Staged]) -> String {
    let values: Vec<_> = columns.iter().map(Staged::value).collect();
    format!(
        "INSERT INTO {table} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {stage} s ORDER BY s.{}",
        list(columns.iter().map(|column| column.name.as_str())),
        values.join(", "),
        identifier(ORDER),
    )
}

/// Puts the last staged row of each key in place of what is there.
pub(crate) fn merge_staged(table: &str, stage: &str, columns: &[Staged], key: &[String]) -> String {
    let values: Vec<_> =
        columns.iter().map(|column| format!("{} AS {}", column.value(), identifier(&column.name))).collect();
    let names = list(columns.iter().map(|column| column.name.as_str()));
    let keys = list(key.iter().map(String::as_str));
    format!(
        "INSERT INTO {table} AS t ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM (SELECT DISTINCT ON ({keys}) {names} \
         FROM (SELECT {}, s.{order} FROM {stage} s) v ORDER BY {keys}, {order} DESC) l {}",
        values.join(", "),
        on_conflict(columns, key),
        order = identifier(ORDER),
    )
}

/// How many keys are staged.
pub(crate) fn count_keys(stage: &str, key: &[Staged]) -> String {
    let values: Vec<_> = key.iter().map(Staged::value).collect();
    format!("SELECT pg_catalog.count(*) FROM (SELECT DISTINCT {} FROM {stage} s) k", values.join(", "))
}

fn on_conflict(columns: &[Staged], key: &[String]) -> String {
    let assignments: Vec<_> = columns
        .iter()
        .filter(|column| !key.contains(&column.name))
        .map(|column| format!("{name} = EXCLUDED.{name}", name = identifier(&column.name)))
        .collect();
    let keys = list(key.iter().map(String::as_str));
    if assignments.is_empty() {
        format!("ON CONFLICT ({keys}) DO NOTHING")
    } else {
        format!("ON CONFLICT ({keys}) DO UPDATE SET {}", assignments.join(", "))
    }
}

fn same_key(key: &[Staged]) -> String {
    let equal: Vec<_> =
        key.iter().map(|column| format!("t.{} = {}", identifier(&column.name), column.value())).collect();
    equal.join(" AND ")
}

/// Removes the rows whose keys are staged.
pub(crate) fn delete_staged(table: &str, stage: &str, key: &[Staged]) -> String {
    format!("DELETE FROM {table} t USING {stage} s WHERE {}", same_key(key))
}

/// Sets the staged columns in the rows with the staged keys. Without any column besides the key it only finds them.
pub(crate) fn update_staged(table: &str, stage: &str, columns: &[Staged], key: &[Staged]) -> String {
    let assignments = assignments(columns, key, Staged::value);
    format!("UPDATE {table} t SET {assignments} FROM {stage} s WHERE {}", same_key(key))
}

fn assignments(columns: &[Staged], key: &[Staged], value: impl Fn(&Staged) -> String) -> String {
    let set = |column: &Staged| format!("{} = {}", identifier(&column.name), value(column));
    let others: Vec<_> = columns.iter().filter(|column| !key.contains(column)).map(set).collect();
    // An update needs something to set; the key stays what it is.
    if others.is_empty() { key.iter().map(set).collect::<Vec<_>>().join(", ") } else { others.join(", ") }
}

/// Puts staged rows, each of another key, in place of what is there.
pub(crate) fn upsert_staged(table: &str, stage: &str, columns: &[Staged], key: &[String]) -> String {
    let values: Vec<_> = columns.iter().map(Staged::value).collect();
    format!(
        "INSERT INTO {table} AS t ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {stage} s {}",
        list(columns.iter().map(|column| column.name.as_str())),
        values.join(", "),
        on_conflict(columns, key),
    )
}

/// A bound value of a column: the type on the wire, and the cast from there.
fn bound(number: usize, wire_type: &str, column: &Staged) -> String {
    match &column.cast {
        Some(cast) => format!("${number}::{wire_type}::{cast}"),
        None => format!("${number}::{wire_type}"),
    }
}

/// Sets every column of the row that has an old key: binds the columns, then the old key.
pub(crate) fn move_row(table: &str, columns: &[(Staged, &str)], key: &[(Staged, &str)]) -> String {
    let set: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(index, (column, wire))| {
            format!("{} = {}", identifier(&column.name), bound(index + 1, wire, column))
        })
        .collect();
    let equal: Vec<_> = key
        .iter()
        .enumerate()
        .map(|(index, (column, wire))| {
            format!("t.{} = {}", identifier(&column.name), bound(columns.len() + index + 1, wire, column))
        })
        .collect();
    format!("UPDATE {table} t SET {} WHERE {}", set.join(", "), equal.join(" AND "))
}

/// Puts one row in place of what has its key: binds the columns.
pub(crate) fn upsert_row(table: &str, columns: &[(Staged, &str)], key: &[String]) -> String {
    let values: Vec<_> =
        columns.iter().enumerate().map(|(index, (column, wire))| bound(index + 1, wire, column)).collect();
    let staged: Vec<Staged> = columns.iter().map(|(column, _)| column.clone()).collect();
    format!(
        "INSERT INTO {table} AS t ({}) OVERRIDING SYSTEM VALUE VALUES ({}) {}",
        list(staged.iter().map(|column| column.name.as_str())),
        values.join(", "),
        on_conflict(&staged, key),
    )
}

/// Moves a staging table's rows into the table that it replaces.
pub(crate) fn move_all(table: &str, stage: &str, columns: &[String]) -> String {
    let names = list(columns.iter().map(String::as_str));
    format!("INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM {stage}")
}

/// How many rows a table has.
pub(crate) fn count_rows(table: &str) -> String {
    format!("SELECT pg_catalog.count(*) FROM {table}")
}

/// The staging tables of a run of `replace`: binds schema and the start of their names.
pub(crate) const STAGING_TABLES: &str = "SELECT c.relname::text FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relkind = 'r' AND pg_catalog.starts_with(c.relname::text, $2)";

/// What the names of staging tables start with: binds pipeline and table.
pub(crate) const STAGING_PREFIX: &str = "SELECT '__hub_replace_' || pg_catalog.left(pg_catalog.md5(pg_catalog.length($1) || ':' || $1 || $2), 16) || '_'";

/// The staging tables of a schema and their comments.
pub(crate) const STAGING_NOTES: &str = "SELECT c.relname::text, pg_catalog.obj_description(c.oid, 'pg_class') \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relkind = 'r' AND pg_catalog.starts_with(c.relname::text, '__hub_replace_') \
     AND pg_catalog.obj_description(c.oid, 'pg_class') IS NOT NULL ORDER BY c.oid";

/// Gives a table a comment.
pub(crate) fn comment_on(table: &str, comment: &str) -> String {
    format!("COMMENT ON TABLE {table} IS {}", literal(comment))
}

/// Makes an empty table that takes and refuses the same rows as another.
pub(crate) fn create_like(table: &str, other: &str) -> String {
    format!(
        "CREATE TABLE {table} (LIKE {other} INCLUDING DEFAULTS INCLUDING IDENTITY INCLUDING GENERATED \
         INCLUDING CONSTRAINTS INCLUDING INDEXES)"
    )
}

/// Gives a table another name.
pub(crate) fn rename_table(table: &str, name: &str) -> String {
    format!("ALTER TABLE {table} RENAME TO {}", identifier(name))
}

/// Gives a constraint another name.
pub(crate) fn rename_constraint(table: &str, from: &str, to: &str) -> String {
    format!("ALTER TABLE {table} RENAME CONSTRAINT {} TO {}", identifier(from), identifier(to))
}

/// The name of a table's primary key, by its oid.
pub(crate) const PRIMARY_KEY: &str =
    "SELECT conname::text FROM pg_catalog.pg_constraint WHERE conrelid = $1 AND contype = 'p'";

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, type_name: &str, required: bool) -> NewColumn {
        NewColumn { name: name.into(), type_name: type_name.into(), required }
    }

    fn staged(name: &str, cast: Option<&str>) -> Staged {
        Staged { name: name.into(), cast: cast.map(String::from) }
    }

    /// Every statement, over names that try to leave their quotes.
    #[test]
    fn statements_quote_every_name() {
        let (table, stage) = ("\"s\".\"t\"\"; --\"", "\"pg_temp\".\"__hub_stage_1\"");
        let columns = [column("id", "bigint", true), column("a\"b", "\"My type\"(3)", false)];
        let both = [staged("id", None), staged("a\"b", Some("\"pg_catalog\".\"inet\""))];
        let (key, keys) = (["id".to_owned()], [staged("id", None)]);
        let text = "\"pg_catalog\".\"text\"";
        let typed = [(both[0].clone(), "\"pg_catalog\".\"int8\""), (both[1].clone(), text)];
        let statements = [
            create_commits(table),
            take_lane(table),
            store_token(table),
            create_schema("s\"; --"),
            create_table(table, &columns, &["id".into(), "a\"b".into()]),
            create_table(table, &columns, &[]),
            add_column(table, &columns[1]),
            widen_column(table, "a\"b", "bigint"),
            create_stage(stage, &columns),
            copy_into(table, ["id", "a\"b"]),
            insert_staged(table, stage, &both),
            merge_staged(table, stage, &both, &key),
            merge_staged(table, stage, &both[..1], &key),
            delete_staged(table, stage, &keys),
            update_staged(table, stage, &both, &keys),
            update_staged(table, stage, &keys, &keys),
            upsert_staged(table, stage, &both, &key),
            move_row(table, &typed, &typed[..1]),
            upsert_row(table, &typed, &key),
            create_like(stage, table),
            rename_table(table, "a\"b"),
            rename_constraint(table, "a\"b", "c\"d"),
            move_all(table, stage, &["id".into(), "a\"b".into()]),
            comment_on(table, "it's \\ {\"a\": 1}"),
        ];
        insta::assert_snapshot!(statements.join("\n"));
    }
}
