//! A stream's table: found, made or grown when the stream's shape comes, and how its rows get there.

use hub_plugin_api::{
    Context, Error, ErrorKind, Level, Result, StreamSchema, WriteMode, changes,
    types::{Column, META_CHANGE, columns_of},
};

use super::{
    cell::ColumnPlan,
    fits::Target,
    options::{SchemaGrowth, WriteOptions, check_name},
    template::Statements,
};
use crate::{
    catalog::{TableColumn, columns_of_table},
    config::Settings,
    connection::Session,
    flavor::Vendor,
    sql::{
        catalog,
        write::{self as sql, NewColumn, WrittenColumn},
    },
    types::{column_type, narrowed},
};

const TARGET: &str = "connector_mysql::write";
/// Seconds that a change of a table waits for other sessions: it may be this writer's own transaction.
const DDL_LOCK_SECONDS: u32 = 5;

/// What a stream's rows become.
#[derive(Default)]
pub(super) struct Shape {
    /// The number of the shape.
    pub schema_id: u32,
    /// Quoted name of the table that rows go to.
    pub destination: String,
    /// The columns that are written.
    pub plan: Vec<ColumnPlan>,
    /// The same, as statements name them.
    pub written: Vec<WrittenColumn>,
    /// The key, unquoted, in its order.
    pub key: Vec<String>,
    /// The table has columns that need a value and get none: LOAD DATA would make one up.
    pub lacks_columns: bool,
    /// The table has another unique index than the key, by name.
    pub other_unique: Option<String>,
    /// The statements that are run instead.
    pub statements: Option<Statements>,
    /// Whether rows are changes that are to be applied.
    pub changes: bool,
}

/// Where a stream's rows go, and under which rules.
pub(super) struct Builder<'a> {
    /// Not the one with the open transaction, which every statement that makes or changes a table would commit.
    pub session: &'a mut Session,
    pub settings: &'a Settings,
    pub context: &'a Context,
    pub options: &'a WriteOptions,
    /// The table that rows go to: the staging table of `replace`, else the table itself.
    pub name: &'a str,
}

impl Builder<'_> {
    /// Finds, makes or grows the table, and decides for every column.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`], [`ErrorKind::UnsupportedType`], or as the server answers.
    pub(super) async fn shape(&mut self, schema: &StreamSchema) -> Result<Shape> {
        let all = columns_of(&schema.arrow)?;
        let changes = changes::is_change_schema(&schema.arrow);
        let appends = self.options.mode == WriteMode::Append;
        if changes && !appends && self.options.mode != WriteMode::ApplyChanges {
            let message = format!(
                "Stream `{}` brings changes, which mode `append` or `apply-changes` takes",
                schema.stream
            );
            return Err(Error::config("mode", message));
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
        let doing = format!("Could not prepare the table `{}`", self.name);
        self.session.run(&format!("SET lock_wait_timeout = {DDL_LOCK_SECONDS}"), &doing).await?;
        let mut columns = self.columns().await?;
        if columns.is_empty() {
            columns = self.create(schema, &written, &key).await?;
        }
        self.check_engine().await?;
        let columns = self.grow(columns, &written).await?;
        let mut shape = self.decide(schema.id, &written, key, &columns)?;
        if matches!(self.options.mode, WriteMode::Upsert | WriteMode::ApplyChanges) {
            self.check_unique(&mut shape).await?;
            self.warn_of_equal_keys(&shape, &columns);
        }
        shape.changes = changes && !appends;
        Ok(shape)
    }

    async fn columns(&mut self) -> Result<Vec<TableColumn>> {
        columns_of_table(self.session, &self.settings.database, self.name).await
    }

    fn quoted(&self) -> String {
        sql::table_name(&self.settings.database, self.name)
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
        if key.is_empty() && matches!(self.options.mode, WriteMode::Upsert | WriteMode::ApplyChanges) {
            let message = format!("Stream `{}` has no key, which this mode needs", schema.stream);
            return Err(
                Error::config("key", message).with_hint("Name its columns in `key`, or use mode `append`")
            );
        }
        // A log holds many rows of one key.
        let log = changes && self.options.mode == WriteMode::Append;
        Ok(if log { Vec::new() } else { key })
    }

    fn new_column(&self, column: &Column, key: &[String], required: bool) -> Result<NewColumn> {
        let mut typed = column.clone();
        typed.key = key.contains(&column.name).then_some(0);
        Ok(NewColumn {
            name: column.name.clone(),
            type_name: column_type(&typed, self.session.server())?,
            required: required && (!column.nullable || key.contains(&column.name)),
        })
    }

    async fn create(
        &mut self,
        schema: &StreamSchema,
        written: &[(usize, Column)],
        key: &[String],
    ) -> Result<Vec<TableColumn>> {
        let quoted = self.quoted();
        if !self.options.create_table {
            return Err(Error::new(ErrorKind::NotFound, format!("Table {quoted} does not exist"))
                .with_hint("Create it, or set `create_table`"));
        }
        let columns: Vec<_> =
            written.iter().map(|(_, column)| self.new_column(column, key, true)).collect::<Result<_>>()?;
        let columns = narrowed(columns, key);
        let statement = sql::create_table(&quoted, &columns, key);
        self.session.run(&statement, &format!("Could not create table {quoted}")).await?;
        let message = format!("Created table {quoted} for stream `{}`", schema.stream);
        self.context.log(Level::Info, TARGET, message);
        self.columns().await
    }

    /// Without transactions rows and token could not be stored together.
    async fn check_engine(&mut self) -> Result<()> {
        let query = catalog::table(&self.settings.database, self.name);
        let answer = self.session.ask(&query, "Could not look the table up").await?;
        match answer.get(0, "engine") {
            Some(engine)
                if matches!(engine, "MyISAM" | "MEMORY" | "Aria" | "CSV" | "ARCHIVE" | "BLACKHOLE") =>
            {
                let quoted = self.quoted();
                Err(Error::new(
                    ErrorKind::SchemaMismatch,
                    format!("Table {quoted} is of engine `{engine}`, which has no transactions"),
                )
                .with_hint(format!("ALTER TABLE {quoted} ENGINE = InnoDB")))
            }
            _ => Ok(()),
        }
    }

    /// Adds the columns that the table lacks.
    async fn grow(
        &mut self,
        columns: Vec<TableColumn>,
        written: &[(usize, Column)],
    ) -> Result<Vec<TableColumn>> {
        let quoted = self.quoted();
        let mut grown = false;
        for (_, column) in written {
            if columns.iter().any(|there| there.name.eq_ignore_ascii_case(&column.name)) {
                continue;
            }
            match self.options.schema_growth {
                SchemaGrowth::Evolve => {
                    let statement = sql::add_column(&quoted, &self.new_column(column, &[], false)?);
                    let doing = format!("Could not add column `{}` to {quoted}", column.name);
                    self.session.run(&statement, &doing).await.map_err(|error| match error.kind {
                        ErrorKind::Busy => error.with_hint(
                            "Another session, perhaps this run's own open transaction, uses the table: add the column \
                             by hand, or let the run commit before the shape changes",
                        ),
                        _ => error,
                    })?;
                    grown = true;
                }
                SchemaGrowth::Fail => {
                    return Err(Error::new(
                        ErrorKind::SchemaMismatch,
                        format!("Table {quoted} has no column `{}`", column.name),
                    )
                    .with_hint("Add it, or set `schema_growth` to `evolve` or `ignore`"));
                }
                SchemaGrowth::Ignore => {
                    let message = format!("Column `{}` is left out of {quoted}, which has none", column.name);
                    self.context.log(Level::Warn, TARGET, message);
                }
            }
        }
        if grown { self.columns().await } else { Ok(columns) }
    }

    fn decide(
        &self,
        schema_id: u32,
        written: &[(usize, Column)],
        key: Vec<String>,
        columns: &[TableColumn],
    ) -> Result<Shape> {
        let destination = self.quoted();
        let mut plan = Vec::with_capacity(written.len());
        for (index, column) in written {
            let Some(found) = columns.iter().find(|there| there.name.eq_ignore_ascii_case(&column.name))
            else {
                continue;
            };
            if found.generated {
                let message = format!("Column `{}` is left out: the server computes it", column.name);
                self.context.log(Level::Warn, TARGET, message);
                continue;
            }
            let server_type = found.server_type().ok_or_else(|| {
                let message = format!(
                    "Column `{}` of {destination} is of type `{}`, which is not known",
                    found.name, found.declared
                );
                Error::new(ErrorKind::UnsupportedType, message)
            })?;
            let target = Target {
                server_type: Some(server_type),
                declared: found.declared.clone(),
                offset_seconds: self.settings.offset_seconds(),
                loses_negative_zero: self.session.server().vendor == Vendor::MariaDb
                    && self.session.server().version < (11, 0, 0),
            };
            let way = ColumnPlan::new(*index, column, target)?;
            plan.push(if key.contains(&column.name) { way.required() } else { way });
        }
        if plan.is_empty() {
            let message = format!("Table {destination} has none of the stream's columns");
            return Err(Error::new(ErrorKind::SchemaMismatch, message));
        }
        for name in &key {
            if !plan.iter().any(|way| way.name == *name) {
                let message = format!("Table {destination} has no column `{name}`, which is part of the key");
                return Err(Error::new(ErrorKind::SchemaMismatch, message).with_field("key"));
            }
        }
        let written =
            plan.iter().map(|way| WrittenColumn { name: way.name.clone(), from_text: way.text_reader() });
        let written = written.collect();
        let lacks_columns = columns.iter().any(|column| {
            column.needs_value() && !plan.iter().any(|way| way.name.eq_ignore_ascii_case(&column.name))
        });
        Ok(Shape { schema_id, destination, written, plan, key, lacks_columns, ..Shape::default() })
    }

    /// Rows whose keys are equal to the table and not to their source take each other's place.
    fn warn_of_equal_keys(&self, shape: &Shape, columns: &[TableColumn]) {
        for column in columns.iter().filter(|column| shape.key.contains(&column.name)) {
            if let Some(collation) = column.collation.as_deref().filter(|name| !name.ends_with("_bin")) {
                let message = format!(
                    "To {} keys of column `{}` that differ only in case or accents may be the same row (`{collation}`)",
                    shape.destination, column.name
                );
                self.context.log(Level::Warn, TARGET, message);
            }
        }
    }

    /// An upsert needs a unique index over exactly the key. Any other unique index is a trap: the servers would put the
    /// row in place of one with another key.
    async fn check_unique(&mut self, shape: &mut Shape) -> Result<()> {
        let query = catalog::unique_indexes(&self.settings.database, self.name);
        let answer = self.session.ask(&query, "Could not look up the table's indexes").await?;
        let mut indexes: Vec<(String, Vec<String>)> = Vec::new();
        for row in 0..answer.rows.len() {
            let text = |column| answer.get(row, column).unwrap_or_default().to_owned();
            // Values that only begin alike are one to an index over their beginnings: it is none over the column.
            let column = if answer.get(row, "part").is_some() { String::new() } else { text("column") };
            match indexes.last_mut() {
                Some((name, columns)) if *name == text("index") => columns.push(column),
                _ => indexes.push((text("index"), vec![column])),
            }
        }
        let same = |columns: &[String]| {
            columns.len() == shape.key.len()
                && shape.key.iter().all(|name| columns.iter().any(|one| one.eq_ignore_ascii_case(name)))
        };
        if !indexes.iter().any(|(_, columns)| same(columns)) {
            let key = shape.key.join("`, `");
            return Err(Error::new(
                ErrorKind::SchemaMismatch,
                format!("{} has no unique index over `{key}`, which this mode needs", shape.destination),
            )
            .with_field("key")
            .with_hint(format!("ALTER TABLE {} ADD UNIQUE (`{key}`)", shape.destination)));
        }
        shape.other_unique = indexes.into_iter().find(|(_, columns)| !same(columns)).map(|(name, _)| name);
        if let Some(name) = &shape.other_unique {
            let message = format!(
                "{} has another unique index `{name}`: rows are written one by one, so that none takes the place of a \
                 row with another key",
                shape.destination
            );
            self.context.log(Level::Warn, TARGET, message);
        }
        Ok(())
    }
}
