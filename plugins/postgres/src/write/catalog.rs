//! What the destination's catalogue says of a table.

use hub_plugin_api::{Error, ErrorKind, Result};
use tokio_postgres::{Client, Row};

use crate::{
    error, sql,
    wire::encode_target::{Target, Wire},
};

/// A column of an existing table.
#[derive(Clone, Debug)]
pub(super) struct TargetColumn {
    pub name: String,
    pub target: Target,
    pub required: bool,
    pub has_default: bool,
    /// The server computes it.
    pub generated: bool,
}

/// An existing table.
#[derive(Clone, Debug)]
pub(super) struct TargetTable {
    pub oid: u32,
    pub columns: Vec<TargetColumn>,
    /// A trigger or a rule may leave rows out without an error.
    pub may_leave_out: bool,
}

impl TargetTable {
    /// Looks a table up; absent when there is none of this name.
    ///
    /// # Errors
    /// When something of this name cannot be written to.
    pub(super) async fn find(client: &Client, schema: &str, name: &str) -> Result<Option<Self>> {
        let failed = |error| error::from_driver("Could not look the table up", &error);
        let Some(row) = client.query_opt(sql::FIND_TABLE, &[&schema, &name]).await.map_err(failed)? else {
            return Ok(None);
        };
        let (oid, kind): (u32, String) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        if !matches!(kind.as_str(), "r" | "p" | "f") {
            let message = format!("{} is not a table", sql::qualified(Some(schema), name));
            return Err(
                Error::config("table", message).with_hint("Views are written to with option `statements`")
            );
        }
        let rows = client.query(sql::COLUMNS, &[&oid]).await.map_err(failed)?;
        let columns = rows.iter().map(read_column).collect::<Result<_, _>>().map_err(failed)?;
        let may_leave_out: bool = row.try_get(2).map_err(failed)?;
        Ok(Some(Self { oid, columns, may_leave_out }))
    }

    /// A column by name.
    pub(super) fn column(&self, name: &str) -> Option<&TargetColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Fails unless a unique index is over exactly these columns.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`] with the statement that would make one.
    pub(super) async fn check_unique(&self, client: &Client, table: &str, key: &[String]) -> Result<()> {
        let failed = |error| error::from_driver("Could not look the table's indexes up", &error);
        let mut wanted: Vec<_> = key.to_vec();
        wanted.sort_unstable();
        for row in client.query(sql::UNIQUE_INDEXES, &[&self.oid]).await.map_err(failed)? {
            let mut columns: Vec<String> = row.try_get(0).map_err(failed)?;
            columns.sort_unstable();
            if columns == wanted {
                return Ok(());
            }
        }
        let columns: Vec<_> = key.iter().map(|name| sql::identifier(name)).collect();
        let columns = columns.join(", ");
        Err(Error::new(
            ErrorKind::SchemaMismatch,
            format!("Table {table} has no unique index over {columns}"),
        )
        .with_field("key")
        .with_hint(format!("Run: CREATE UNIQUE INDEX ON {table} ({columns})")))
    }
}

fn read_column(row: &Row) -> Result<TargetColumn, tokio_postgres::Error> {
    let declared: String = row.try_get(1)?;
    let kind = |index| -> Result<char, tokio_postgres::Error> {
        let text: String = row.try_get(index)?;
        Ok(text.chars().next().unwrap_or('b'))
    };
    let modifier: i32 = row.try_get(8)?;
    let base_name: String = row.try_get(6)?;
    let target = match row.try_get::<_, Option<u32>>(10)? {
        Some(item_oid) => {
            let item_name: String = row.try_get(11)?;
            let item =
                Target::new(item_oid, &item_name, kind(12)?, modifier, row.try_get(13)?, row.try_get(14)?);
            let wire = Wire::Array(Box::new(item));
            Target { wire, oid: row.try_get(5)?, declared, cast: row.try_get(9)? }
        }
        None => Target::new(row.try_get(5)?, &base_name, kind(7)?, modifier, declared, row.try_get(9)?),
    };
    let generated: String = row.try_get(4)?;
    Ok(TargetColumn {
        name: row.try_get(0)?,
        target,
        required: row.try_get(2)?,
        has_default: row.try_get(3)?,
        generated: !generated.is_empty(),
    })
}
