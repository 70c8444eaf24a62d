//! A stream's table: found, made or grown when the stream's shape comes, and how its rows get there.

use hub_plugin_api::{
    Context, Error, ErrorKind, Level, Result, StreamId, StreamSchema, WriteMode, changes,
    types::{Column, LogicalType, META_CHANGE},
};
use tokio_postgres::{Client, error::SqlState};

use super::{
    catalog::{TargetColumn, TargetTable},
    options::{SchemaGrowth, WriteOptions, check_name},
    statements::Statements,
};
use crate::{
    connection::Session,
    error,
    sql::{self, NewColumn, Staged},
    types,
    wire::{
        encode_plan::ColumnPlan,
        encode_target::{Target, Wire},
    },
};

/// What a stream's rows become.
#[derive(Default)]
pub(super) struct Shape {
    /// The number of the shape.
    pub schema_id: u32,
    /// Quoted name of the table that rows go to.
    pub destination: String,
    /// The columns that are written.
    pub plan: Vec<ColumnPlan>,
    /// The key, unquoted, in its order.
    pub key: Vec<String>,
    /// The columns as they are staged.
    pub staged: Vec<Staged>,
    /// The statements that are run instead.
    pub statements: Option<Statements>,
    /// Whether rows are changes that are to be applied.
    pub changes: bool,
    /// The columns as the stream has them.
    pub columns: Vec<Column>,
    /// A trigger or a rule of the table may leave rows out without an error.
    pub may_leave_out: bool,
}

impl Shape {
    /// Whether rows are staged because the server has to cast some of their values.
    pub(super) fn needs_cast(&self) -> bool {
        self.plan.iter().any(|plan| plan.via_text.is_some())
    }

    /// Whether an upsert sets something in a row that is there.
    pub(super) fn has_more_than_key(&self) -> bool {
        self.staged.iter().any(|column| !self.key.contains(&column.name))
    }

    /// The columns of the key, as they are staged.
    pub(super) fn staged_key(&self) -> Vec<Staged> {
        self.staged.iter().filter(|column| self.key.contains(&column.name)).cloned().collect()
    }

    /// Fails unless the table took every row: what leaves some out, does so without an error.
    ///
    /// # Errors
    /// [`ErrorKind::ConstraintViolated`] when there are fewer.
    pub(super) fn check_taken(&self, taken: u64, sent: u64) -> Result<()> {
        match taken == sent {
            true => Ok(()),
            false => Err(left_out(&self.destination, taken, sent)),
        }
    }

    /// The columns of a staging table.
    pub(super) fn stage_columns(&self) -> Vec<NewColumn> {
        let column = |plan: &ColumnPlan| NewColumn {
            name: plan.name.clone(),
            type_name: plan.wire_type().to_owned(),
            required: false,
        };
        self.plan.iter().map(column).collect()
    }
}

/// The error of a table that took fewer rows than it was sent.
pub(super) fn left_out(table: &str, taken: u64, sent: u64) -> Error {
    let message = format!("{table} took {taken} of {sent} rows without an error");
    Error::new(ErrorKind::ConstraintViolated, message).with_hint(
        "A trigger BEFORE each row or a rule of the table leaves rows out: disable it, filter at the source, or write \
         with `statements`",
    )
}

/// Where a stream's rows go, and under which rules.
pub(super) struct Builder<'a> {
    pub session: &'a Session,
    pub context: &'a Context,
    pub options: &'a WriteOptions,
    /// The schema and name of the table that rows go to: the staging table of `replace`, else the table itself.
    pub schema: &'a str,
    pub name: &'a str,
    /// What the last shape's columns were.
    pub earlier: Option<&'a [Column]>,
}

impl Builder<'_> {
    /// Finds, makes or grows the table, and decides for every column. A transaction must be open.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedType`], [`ErrorKind::SchemaMismatch`], or as the server answers.
    pub(super) async fn shape(&self, schema: &StreamSchema) -> Result<Shape> {
        let all = hub_plugin_api::types::columns_of(&schema.arrow)?;
        let changes = changes::is_change_schema(&schema.arrow);
        let appends = self.options.mode == WriteMode::Append;
        if changes && !appends && self.options.mode != WriteMode::ApplyChanges {
            return Err(Error::config(
                "mode",
                format!(
                    "Stream `{}` brings changes, which mode `append` or `apply-changes` takes",
                    schema.stream
                ),
            ));
        }
        // A log of changes keeps what makes them one; elsewhere they are applied, and leave no column.
        let written: Vec<(usize, Column)> = all
            .iter()
            .cloned()
            .enumerate()
            .filter(|(index, _)| appends || !schema.arrow.field(*index).metadata().contains_key(META_CHANGE))
            .map(|(index, mut column)| {
                column.nullable |= changes && appends;
                (index, column)
            })
            .collect();
        for (_, column) in &written {
            check_name("table", &column.name)?;
        }
        let key = self.key(schema, &written, changes)?;
        let table = self.table(&schema.stream, &written, &key).await?;
        let table = self.grow(table, &written).await?;
        let mut shape = self.decide(schema.id, &written, key, &table)?;
        if matches!(self.options.mode, WriteMode::Upsert | WriteMode::ApplyChanges) {
            table.check_unique(self.session.client(), &shape.destination, &shape.key).await?;
        }
        shape.changes = changes && !appends;
        shape.columns = all;
        Ok(shape)
    }

    fn key(&self, schema: &StreamSchema, written: &[(usize, Column)], changes: bool) -> Result<Vec<String>> {
        let key: Vec<String> = match self.options.key.as_slice() {
            [] => schema.keys().into_iter().map(String::from).collect(),
            named => named.to_vec(),
        };
        for name in &key {
            if !written.iter().any(|(_, column)| column.name == *name) {
                let message = format!("Stream `{}` has no column `{name}`", schema.stream);
                return Err(Error::config("key", message));
            }
        }
        let needed = matches!(self.options.mode, WriteMode::Upsert | WriteMode::ApplyChanges);
        if key.is_empty() && needed {
            let message = format!("Stream `{}` has no key, which this mode needs", schema.stream);
            return Err(
                Error::config("key", message).with_hint("Name its columns in `key`, or use mode `append`")
            );
        }
        // A log holds many rows of one key.
        let log = changes && self.options.mode == WriteMode::Append;
        Ok(if log { Vec::new() } else { key })
    }

    async fn table(
        &self,
        stream: &StreamId,
        written: &[(usize, Column)],
        key: &[String],
    ) -> Result<TargetTable> {
        let client = self.session.client();
        if let Some(table) = TargetTable::find(client, self.schema, self.name).await? {
            return Ok(table);
        }
        let quoted = sql::qualified(Some(self.schema), self.name);
        if !self.options.create_table {
            return Err(Error::new(ErrorKind::NotFound, format!("Table {quoted} does not exist"))
                .with_hint("Create it, or set `create_table`"));
        }
        // Another lane may be making it: two at once would break each other's statement.
        let failed = |error| error::from_driver("Could not wait for other lanes", &error);
        client.execute(sql::LOCK_NAME, &[&quoted]).await.map_err(failed)?;
        if let Some(table) = TargetTable::find(client, self.schema, self.name).await? {
            return Ok(table);
        }
        if self.options.source_schemas {
            self.make_schema().await?;
        }
        let mut columns = Vec::with_capacity(written.len());
        for (_, column) in written {
            columns.push(NewColumn {
                name: column.name.clone(),
                type_name: self.type_name(column).await?,
                required: !column.nullable || key.contains(&column.name),
            });
        }
        self.session
            .run(&sql::create_table(&quoted, &columns, key), &format!("Could not create table {quoted}"))
            .await?;
        self.context.log(Level::Info, "postgres", format!("Created table {quoted} for stream `{stream}`"));
        TargetTable::find(client, self.schema, self.name)
            .await?
            .ok_or_else(|| Error::internal(format!("Table {quoted} is not there after it was created")))
    }

    /// Makes the table's schema where there is none: a role without the right to make schemas may use one that is there.
    async fn make_schema(&self) -> Result<()> {
        let quoted = sql::identifier(self.schema);
        let doing = format!("Could not create schema {quoted}");
        let there = self.session.client().query_opt(sql::SCHEMA, &[&self.schema]).await;
        if there.map_err(|error| error::from_driver(&doing, &error))?.is_some() {
            return Ok(());
        }
        // Another lane may be making it for another of its tables.
        let failed = |error| error::from_driver("Could not wait for other lanes", &error);
        self.session.client().execute(sql::LOCK_NAME, &[&quoted]).await.map_err(failed)?;
        self.session.run(&sql::create_schema(self.schema), &doing).await
    }

    /// The type that a column is created with: its own where the server has it.
    async fn type_name(&self, column: &Column) -> Result<String> {
        let fallback = || match &column.logical {
            // An array of arrays has one type with any number of dimensions, which must be of equal length.
            LogicalType::List(item) if matches!(**item, LogicalType::List(_)) => "json".to_owned(),
            other => types::type_for(other),
        };
        if column.engine.as_deref() != Some(types::ENGINE) {
            return Ok(fallback());
        }
        let Some(declared) = &column.declared else { return Ok(fallback()) };
        let name = types::column_type(column)?;
        match find_type(self.session.client(), &name).await? {
            Some(kind) if kind != "p" => Ok(name),
            _ => {
                let instead = fallback();
                self.context.log(
                    Level::Warn,
                    "postgres",
                    format!(
                        "Type `{declared}` of column `{}` does not exist here: it becomes {instead}",
                        column.name
                    ),
                );
                Ok(instead)
            }
        }
    }

    /// Adds the columns that the table lacks, and widens those whose values became wider.
    async fn grow(&self, table: TargetTable, written: &[(usize, Column)]) -> Result<TargetTable> {
        let quoted = sql::qualified(Some(self.schema), self.name);
        let mut grown = false;
        for (_, column) in written {
            match (table.column(&column.name), self.options.schema_growth) {
                (None, SchemaGrowth::Evolve) => {
                    let type_name = self.type_name(column).await?;
                    // Rows that are there already have no value in it.
                    let new = NewColumn { name: column.name.clone(), type_name, required: false };
                    self.session
                        .run(&sql::add_column(&quoted, &new), &format!("Could not add a column to {quoted}"))
                        .await?;
                    // A default or another name of a column at the source changes rows that are not sent.
                    let message = format!(
                        "Column `{}` was added to {quoted}: rows that are there have no value in it until they come again",
                        column.name
                    );
                    self.context.log(Level::Warn, "postgres", message);
                    grown = true;
                }
                (None, SchemaGrowth::Fail) => {
                    return Err(Error::new(
                        ErrorKind::SchemaMismatch,
                        format!("Table {quoted} has no column `{}`", column.name),
                    )
                    .with_hint("Add it, or set `schema_growth` to `evolve` or `ignore`"));
                }
                (None, SchemaGrowth::Ignore) => {
                    let message = format!("Column `{}` is left out of {quoted}, which has none", column.name);
                    self.context.log(Level::Warn, "postgres", message);
                }
                (Some(existing), growth) => {
                    let changed = self.earlier.is_some_and(|earlier| {
                        earlier.iter().any(|old| old.name == column.name && old.logical != column.logical)
                    });
                    if changed
                        && growth == SchemaGrowth::Evolve
                        && is_wider(&existing.target, &column.logical)
                    {
                        let type_name = self.type_name(column).await?;
                        let statement = sql::widen_column(&quoted, &column.name, &type_name);
                        self.session
                            .run(&statement, &format!("Could not widen a column of {quoted}"))
                            .await?;
                        grown = true;
                    }
                }
            }
        }
        if !grown {
            return Ok(table);
        }
        TargetTable::find(self.session.client(), self.schema, self.name)
            .await?
            .ok_or_else(|| Error::internal(format!("Table {quoted} is not there after it grew")))
    }

    fn decide(
        &self,
        schema_id: u32,
        written: &[(usize, Column)],
        key: Vec<String>,
        table: &TargetTable,
    ) -> Result<Shape> {
        let destination = sql::qualified(Some(self.schema), self.name);
        let mut plan = Vec::with_capacity(written.len());
        for (index, column) in written {
            let Some(target) = table.column(&column.name) else { continue };
            if target.generated {
                let message = format!("Column `{}` is left out: the server computes it", column.name);
                self.context.log(Level::Warn, "postgres", message);
                continue;
            }
            let mut way = ColumnPlan::new(*index, column, &target.target)?;
            if key.contains(&column.name) {
                way = way.required();
            }
            plan.push(way);
        }
        if plan.is_empty() {
            return Err(Error::new(
                ErrorKind::SchemaMismatch,
                format!("Table {destination} has none of the stream's columns"),
            ));
        }
        for name in &key {
            if !plan.iter().any(|way| way.name == *name) {
                let message = format!("Table {destination} has no column `{name}`, which is part of the key");
                return Err(Error::new(ErrorKind::SchemaMismatch, message).with_field("key"));
            }
        }
        let missing = |target: &&TargetColumn| {
            target.required
                && !target.has_default
                && !target.generated
                && !plan.iter().any(|way| way.name == target.name)
        };
        if let Some(target) = table.columns.iter().find(missing) {
            return Err(Error::new(
                ErrorKind::SchemaMismatch,
                format!(
                    "Column `{}` of {destination} takes no null, and the stream does not bring it",
                    target.name
                ),
            )
            .with_hint("Give the column a default, or take NOT NULL away"));
        }
        let staged = plan.iter().map(Staged::of).collect();
        let may_leave_out = table.may_leave_out;
        Ok(Shape { schema_id, destination, plan, key, staged, may_leave_out, ..Shape::default() })
    }
}

/// The kind of a type by its declared name; absent when there is none. Before version 16 a name that is none is an
/// error, which a savepoint takes back.
async fn find_type(client: &Client, name: &str) -> Result<Option<String>> {
    let failed = |error| error::from_driver("Could not look a type up", &error);
    client.batch_execute("SAVEPOINT hub_type").await.map_err(failed)?;
    let found = client.query_opt(sql::FIND_TYPE, &[&name]).await;
    let end = if found.is_ok() { "RELEASE SAVEPOINT hub_type" } else { "ROLLBACK TO SAVEPOINT hub_type" };
    client.batch_execute(end).await.map_err(failed)?;
    match found {
        Ok(Some(row)) => Ok(Some(row.try_get(0).map_err(failed)?)),
        Ok(None) => Ok(None),
        Err(error) if error.code() == Some(&SqlState::SYNTAX_ERROR) => {
            Err(Error::new(ErrorKind::UnsupportedType, format!("`{name}` is not the name of a type")))
        }
        Err(error) => match error.code() {
            Some(code) if matches!(code.code().get(..2), Some("42" | "3F")) => Ok(None),
            _ => Err(failed(error)),
        },
    }
}

/// Whether every value of the column's type also is one of the type for `logical`, which holds more.
fn is_wider(target: &Target, logical: &LogicalType) -> bool {
    use LogicalType as T;
    match (&target.wire, logical) {
        (Wire::Int2, T::Int32 | T::UInt16 | T::Int64 | T::UInt32) => true,
        (Wire::Int4, T::Int64 | T::UInt32) => true,
        (Wire::Int2 | Wire::Int4 | Wire::Int8, T::UInt64) => true,
        (Wire::Float4, T::Float64) => true,
        (Wire::Numeric { scale: Some(_) }, T::DecimalText { precision: None, .. }) => true,
        (Wire::Numeric { scale: Some(kept) }, T::Decimal { precision, scale }) => {
            let digits = declared_precision(&target.declared).unwrap_or(i32::MAX) - kept;
            i32::from(*scale) >= *kept && i32::from(*precision) - i32::from(*scale) >= digits
        }
        (Wire::Text { limit: Some(_) }, T::Text) => true,
        _ => false,
    }
}

/// The precision in `numeric(12,2)`.
fn declared_precision(declared: &str) -> Option<i32> {
    declared.split_once('(')?.1.split_once(',')?.0.parse().ok()
}
