//! What a statement gives: its columns as the server describes them, and the table they come from where it is one.

use hub_plugin_api::{
    Error, ErrorKind, Result, StreamId, Value,
    arrow::datatypes::SchemaRef,
    types::{Column, schema_of},
};
use tokio_postgres::{SimpleQueryMessage, Statement};

use super::options::{Decimals, QueryOptions};
use crate::{
    connection::Session,
    error,
    sql::{read, statement::StatementText},
    types::{Cast, ENGINE, Reading, Wire, reading},
};

/// A statement's columns.
#[derive(Clone, Debug)]
pub struct Shape {
    /// In the statement's order.
    pub columns: Vec<ShapeColumn>,
    /// The table, where the statement reads rows of one table and nothing else.
    pub table: Option<StreamId>,
    /// The server's estimate.
    pub estimated_rows: Option<u64>,
}

/// A column of a statement.
#[derive(Clone, Debug)]
pub struct ShapeColumn {
    /// As it crosses the boundary.
    pub column: Column,
    /// How it is read.
    pub reading: Reading,
    /// The type's name without modifier, quoted where needed.
    pub type_name: String,
    /// Equal values have equal bytes.
    pub deterministic: bool,
    /// The type's OID and modifier: what must still be so when the rows are read.
    pub server_type: (u32, i32),
}

impl Shape {
    /// Asks the server about a prepared statement.
    ///
    /// # Errors
    /// When the statement gives no rows, has a column name twice, or the server refuses it.
    pub async fn of(
        session: &Session,
        statement: &Statement,
        text: &StatementText,
        options: &QueryOptions,
    ) -> Result<Self> {
        if statement.columns().is_empty() {
            return Err(Error::new(ErrorKind::InvalidStatement, "The statement gives no columns")
                .with_field("statement")
                .with_hint("A source needs a statement that returns rows"));
        }
        let plan = if text.is_query() { Some(explain(session, text).await?) } else { None };
        let origins = origins(session, statement).await?;
        let table = plan.as_ref().and_then(|plan| single_table(plan, statement));
        let mut columns = Vec::with_capacity(origins.len());
        for (described, origin) in statement.columns().iter().zip(origins) {
            columns.push(shape_column(described, origin, table, options));
        }
        check_names(&columns, options)?;
        if table.is_some() {
            drop_incomplete_key(&mut columns);
        }
        Ok(Self {
            columns: columns.into_iter().map(|(column, _)| column).collect(),
            table: match table {
                Some(oid) => table_name(session, oid).await?,
                None => None,
            },
            estimated_rows: plan.and_then(|plan| plan.get("Plan Rows")?.as_f64()).map(|rows| rows as u64),
        })
    }

    /// The columns as they cross the boundary.
    pub fn schema(&self) -> SchemaRef {
        schema_of(&self.columns.iter().map(|column| column.column.clone()).collect::<Vec<_>>())
    }

    /// What each column is cast to.
    pub fn casts(&self) -> Vec<Cast> {
        self.columns.iter().map(|column| column.reading.cast).collect()
    }

    /// How each column lies on the wire.
    pub fn wires(&self) -> Vec<Wire> {
        self.columns.iter().map(|column| column.reading.wire.clone()).collect()
    }

    /// The place of a column.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.column.name == name)
    }

    /// The places of the primary key's columns, in the key's order.
    pub fn key(&self) -> Vec<usize> {
        let mut key: Vec<_> = self
            .columns
            .iter()
            .enumerate()
            .filter_map(|(at, column)| Some((column.column.key?, at)))
            .collect();
        key.sort_unstable();
        key.into_iter().map(|(_, at)| at).collect()
    }

    /// Fails unless a statement, looked at again, still gives the same columns: OID and modifier of their types.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`].
    pub fn check_unchanged(&self, now: impl Iterator<Item = (u32, i32)>) -> Result<()> {
        if now.eq(self.columns.iter().map(|column| column.server_type)) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::SchemaMismatch,
            "The statement's columns have changed since the run was planned",
        )
        .with_hint("Run again: a new plan reads the columns as they are now"))
    }
}

/// What the catalog says of a column.
struct Origin {
    declared: String,
    not_null: bool,
    key: Option<u32>,
    key_length: usize,
    deterministic: bool,
    type_name: String,
}

async fn origins(session: &Session, statement: &Statement) -> Result<Vec<Origin>> {
    let columns = statement.columns();
    let types: Vec<_> = columns.iter().map(|column| column.type_().oid()).collect();
    let modifiers: Vec<_> = columns.iter().map(|column| column.type_modifier()).collect();
    let tables: Vec<_> = columns.iter().map(|column| column.table_oid().unwrap_or_default()).collect();
    let attributes: Vec<_> = columns.iter().map(|column| column.column_id().unwrap_or_default()).collect();
    let failed = |error| error::from_driver("Could not look up the statement's columns", &error);
    let rows = session
        .work(session.client().query(read::COLUMN_ORIGINS, &[&types, &modifiers, &tables, &attributes]))
        .await
        .map_err(failed)?;
    let origin = |row: &tokio_postgres::Row| -> Result<Origin, tokio_postgres::Error> {
        let key: Option<i32> = row.try_get(2)?;
        let key_length: Option<i32> = row.try_get(3)?;
        Ok(Origin {
            declared: row.try_get(0)?,
            not_null: row.try_get(1)?,
            key: key.and_then(|key| u32::try_from(key).ok()),
            key_length: key_length.and_then(|length| usize::try_from(length).ok()).unwrap_or_default(),
            deterministic: row.try_get(4)?,
            type_name: row.try_get(5)?,
        })
    };
    rows.iter().map(|row| origin(row).map_err(failed)).collect()
}

/// A column, and how many columns its table's key has.
fn shape_column(
    described: &tokio_postgres::Column,
    origin: Origin,
    table: Option<u32>,
    options: &QueryOptions,
) -> (ShapeColumn, usize) {
    let as_text = options.as_text.iter().any(|name| name == described.name());
    let reading = if as_text {
        Reading::opaque(described.type_())
    } else {
        reading(described.type_(), described.type_modifier(), options.decimals == Decimals::Text)
    };
    let mut column = Column::new(described.name(), reading.logical.clone()).declared(ENGINE, origin.declared);
    column.infinity = reading.has_infinity();
    // An outer join makes null of what its table never has null: only rows of one table are as it declares them.
    if table.is_some() && described.table_oid() == table {
        column.nullable = !origin.not_null;
        column.key = origin.key;
    }
    let shape = ShapeColumn {
        column,
        reading,
        type_name: origin.type_name,
        deterministic: origin.deterministic,
        server_type: (described.type_().oid(), described.type_modifier()),
    };
    (shape, origin.key_length)
}

/// Half a key is none.
fn drop_incomplete_key(columns: &mut [(ShapeColumn, usize)]) {
    let found = columns.iter().filter(|(column, _)| column.column.key.is_some()).count();
    let whole =
        columns.iter().find(|(column, _)| column.column.key.is_some()).map_or(0, |(_, length)| *length);
    let mut places: Vec<_> = columns.iter().filter_map(|(column, _)| column.column.key).collect();
    places.sort_unstable();
    places.dedup();
    if found != whole || places.len() != whole {
        columns.iter_mut().for_each(|(column, _)| column.column.key = None);
    }
}

fn check_names(columns: &[(ShapeColumn, usize)], options: &QueryOptions) -> Result<()> {
    for (index, (column, _)) in columns.iter().enumerate() {
        let name = &column.column.name;
        if columns[..index].iter().any(|(earlier, _)| earlier.column.name == *name) {
            return Err(Error::new(
                ErrorKind::InvalidStatement,
                format!("The statement has two columns `{name}`"),
            )
            .with_field("statement")
            .with_hint("Give one of them another name with AS"));
        }
    }
    for (field, names) in [("cursor", &options.cursor), ("as_text", &options.as_text)] {
        for name in names {
            if !columns.iter().any(|(column, _)| column.column.name == *name) {
                let known: Vec<_> = columns.iter().map(|(column, _)| column.column.name.as_str()).collect();
                return Err(Error::config(field, format!("The statement has no column `{name}`"))
                    .with_hint(format!("It has: {}", known.join(", "))));
            }
        }
    }
    Ok(())
}

async fn explain(session: &Session, text: &StatementText) -> Result<Value> {
    let failed =
        |error| error::from_driver("The server refuses the statement", &error).with_field("statement");
    let messages =
        session.work(session.client().simple_query(&read::explain(text.as_str()))).await.map_err(failed)?;
    let json: String = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    let plans: Value = serde_json::from_str(&json)?;
    Ok(plans.pointer("/0/Plan").cloned().unwrap_or_default())
}

/// The table whose rows the statement gives, none twice and none changed, as the planner sees it.
fn single_table(plan: &Value, statement: &Statement) -> Option<u32> {
    let mut tables: Vec<_> =
        statement.columns().iter().filter_map(tokio_postgres::Column::table_oid).collect();
    tables.sort_unstable();
    tables.dedup();
    match tables.as_slice() {
        [table] if only_scans(plan) => Some(*table),
        _ => None,
    }
}

/// Whether a plan only scans, filters, sorts and limits. A union is not told apart here: its columns have no table.
fn only_scans(plan: &Value) -> bool {
    const SCANS: [&str; 20] = [
        "Seq Scan",
        "Index Scan",
        "Index Only Scan",
        "Bitmap Heap Scan",
        "Bitmap Index Scan",
        "BitmapAnd",
        "BitmapOr",
        "Tid Scan",
        "Tid Range Scan",
        "Sample Scan",
        "Gather",
        "Gather Merge",
        "Sort",
        "Incremental Sort",
        "Limit",
        "LockRows",
        "Append",
        "Merge Append",
        "Result",
        "Subquery Scan",
    ];
    let text = |name: &str| plan.get(name).and_then(Value::as_str).unwrap_or_default();
    // What is computed beside the rows neither adds nor drops one.
    if matches!(text("Parent Relationship"), "InitPlan" | "SubPlan") {
        return true;
    }
    SCANS.contains(&text("Node Type"))
        && plan.get("Plans").and_then(Value::as_array).is_none_or(|plans| plans.iter().all(only_scans))
}

async fn table_name(session: &Session, oid: u32) -> Result<Option<StreamId>> {
    let failed = |error| error::from_driver("Could not look up the statement's table", &error);
    let row = session.work(session.client().query_opt(read::TABLE_NAME, &[&oid])).await.map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let schema: String = row.try_get(0).map_err(failed)?;
    let name: String = row.try_get(1).map_err(failed)?;
    Ok(Some(StreamId::new([schema], name)))
}
