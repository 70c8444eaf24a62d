//! What a statement gives: its columns as the server describes them, and the table they come from where it is one.

use hub_plugin_api::{
    Error, ErrorKind, Result, StreamId,
    arrow::datatypes::SchemaRef,
    types::{Column, schema_of},
};

use super::{options::QueryOptions, parameters};
use crate::{
    catalog::{TableColumn, table_columns},
    raw::{
        RawSession,
        column::ZeroDates,
        result::{ColumnDefinition, flag},
    },
    sql::{
        read::{self, AskedAs},
        statement::StatementText,
    },
    types::ServerType,
};

const REFUSED: &str = "The server refuses the statement";

/// A statement that is ready to be read: its parameters filled in, its columns known.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The statement.
    pub text: StatementText,
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
    /// How its values are written.
    pub server_type: ServerType,
    /// Equal values are written alike.
    pub deterministic: bool,
    /// The type's number on the wire: what must still be so when the rows are read.
    type_code: u8,
}

impl Shape {
    /// Asks the server about the options' statement. `values` are its parameters as expressions; without them, those of
    /// the options.
    ///
    /// # Errors
    /// When the statement gives no rows, has a column name twice, or the server refuses it.
    pub async fn of(
        session: &mut RawSession,
        options: &QueryOptions,
        values: Option<Vec<String>>,
    ) -> Result<Self> {
        let values = values.unwrap_or_else(|| parameters::from_json(&options.parameters));
        let text = StatementText::parse(&options.statement)?.with_parameters(&values)?;
        let described = session.describe(text.as_str(), REFUSED).await.map_err(refused)?;
        let definitions = described.columns;
        if definitions.is_empty() {
            return Err(Error::new(ErrorKind::InvalidStatement, "The statement gives no columns")
                .with_field("statement")
                .with_hint("A source needs a statement that returns rows"));
        }
        check_names(&definitions, options)?;
        let (single, estimated_rows) = if text.is_query() {
            let plan = session.ask(&read::explain(text.as_str()), REFUSED).await.map_err(refused)?;
            let simple = plan.rows.len() == 1 && plan.get(0, "select_type") == Some("SIMPLE");
            let rows = plan.get(0, "rows").and_then(|rows| rows.parse().ok());
            (simple.then(|| only_table(&definitions)).flatten(), rows.filter(|_| plan.rows.len() == 1))
        } else {
            (None, None)
        };
        let catalog = table_columns(session, &tables(&definitions)).await?;
        let vendor = session.server().vendor;
        // An outer join, a sum over no rows and WITH ROLLUP make null of what a table never has null: only rows of one
        // table are as it declares.
        let own_rows = single.is_some()
            && !text.rolls_up()
            && definitions.iter().all(|definition| {
                let origin = catalog.iter().find(|column| column.is(definition));
                definition.flags & flag::NOT_NULL != 0 || origin.is_none_or(|origin| origin.nullable)
            });
        let columns = definitions.iter().map(|definition| {
            let origin = catalog.iter().find(|column| column.is(definition));
            let mut server_type = ServerType::of_definition(definition);
            // Labels are known to the table only, and MariaDB describes a vector as bytes.
            if let Some(of_table @ (ServerType::Enum(_) | ServerType::Vector)) =
                origin.and_then(TableColumn::server_type)
            {
                server_type = of_table;
            }
            // Only a view or an expression has no key behind it at all.
            if let (true, ServerType::Bit(bits)) = (text.is_query(), &server_type)
                && origin.is_none_or(|origin| origin.key_length == 0)
            {
                server_type = ServerType::BitNumber(*bits);
            }
            let mut column = Column::new(&definition.name, server_type.logical(vendor));
            if let Some(origin) = origin {
                let declared = if server_type == ServerType::Json { "json" } else { &origin.declared };
                column = column.declared(vendor.engine(), declared);
                if own_rows {
                    column.nullable = origin.nullable;
                    column.key = origin.key.filter(|_| origin.table_has_whole_key(&definitions, &catalog));
                }
            }
            let days = matches!(server_type, ServerType::Date | ServerType::DateTime | ServerType::Timestamp);
            if days && options.zero_dates == ZeroDates::Null {
                column.nullable = true;
            }
            let in_key_alone = origin.is_some_and(|origin| origin.key == Some(0) && origin.key_length == 1);
            let deterministic = match &server_type {
                ServerType::Text | ServerType::Set | ServerType::Enum(_) => {
                    in_key_alone && own_rows || origin.is_some_and(|origin| origin.collates_by_bytes())
                }
                _ => true,
            };
            ShapeColumn { column, server_type, deterministic, type_code: definition.type_code }
        });
        Ok(Self { columns: columns.collect(), text, table: single, estimated_rows })
    }

    /// The columns as they cross the boundary.
    pub fn schema(&self) -> SchemaRef {
        schema_of(&self.columns.iter().map(|column| column.column.clone()).collect::<Vec<_>>())
    }

    /// How each column's values are written.
    pub fn types(&self) -> Vec<ServerType> {
        self.columns.iter().map(|column| column.server_type.clone()).collect()
    }

    /// What each column is asked for as.
    pub fn forms(&self) -> Vec<AskedAs> {
        self.columns.iter().map(|column| column.server_type.asked_as()).collect()
    }

    /// The place of a column.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.column.name == name)
    }

    /// The places of the primary key's columns, in the key's order.
    pub fn key(&self) -> Vec<usize> {
        let places = self.columns.iter().enumerate();
        let mut key: Vec<_> = places.filter_map(|(at, column)| Some((column.column.key?, at))).collect();
        key.sort_unstable();
        key.into_iter().map(|(_, at)| at).collect()
    }

    /// Fails unless a running statement gives the same columns.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`].
    pub fn check_unchanged(&self, definitions: &[ColumnDefinition]) -> Result<()> {
        let same = |(column, definition): (&ShapeColumn, &ColumnDefinition)| {
            // A text of a statement may be of any length.
            let is_text = |code: u8| matches!(code, 15 | 247 | 249..=254);
            // MySQL describes a window's whole numbers narrower than it sends them; one that is too great is refused.
            let is_whole = |code: u8| matches!(code, 1..=3 | 8 | 9);
            let asked_as = match column.server_type.asked_as() {
                AskedAs::Itself => false,
                AskedAs::Double => definition.type_code == 5,
                AskedAs::Unsigned => is_whole(definition.type_code),
            };
            asked_as
                || column.type_code == definition.type_code
                || is_text(column.type_code) && is_text(definition.type_code)
                || is_whole(column.type_code) && is_whole(definition.type_code)
                || column.type_code == 6
        };
        if self.columns.len() == definitions.len() && self.columns.iter().zip(definitions).all(same) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::SchemaMismatch,
            "The statement's columns have changed since the run was planned",
        )
        .with_hint("Run again: a new plan reads the columns as they are now"))
    }
}

fn refused(error: Error) -> Error {
    match error.kind {
        ErrorKind::Network | ErrorKind::Unavailable => error,
        _ => error.with_field("statement"),
    }
}

fn check_names(columns: &[ColumnDefinition], options: &QueryOptions) -> Result<()> {
    for (index, column) in columns.iter().enumerate() {
        if columns[..index].iter().any(|earlier| earlier.name == column.name) {
            let message = format!("The statement has two columns `{}`", column.name);
            return Err(Error::new(ErrorKind::InvalidStatement, message)
                .with_field("statement")
                .with_hint("Give one of them another name with AS"));
        }
    }
    for name in &options.cursor {
        if !columns.iter().any(|column| column.name == *name) {
            let known: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            return Err(Error::config("cursor", format!("The statement has no column `{name}`"))
                .with_hint(format!("It has: {}", known.join(", "))));
        }
    }
    Ok(())
}

/// The tables that columns come from.
fn tables(definitions: &[ColumnDefinition]) -> Vec<(String, String)> {
    let named = definitions.iter().filter(|column| !column.schema.is_empty() && !column.table.is_empty());
    let mut tables: Vec<_> = named.map(|column| (column.schema.clone(), column.table.clone())).collect();
    tables.sort();
    tables.dedup();
    tables
}

fn only_table(definitions: &[ColumnDefinition]) -> Option<StreamId> {
    match tables(definitions).as_slice() {
        [(schema, table)] => Some(StreamId::new([schema], table)),
        _ => None,
    }
}
