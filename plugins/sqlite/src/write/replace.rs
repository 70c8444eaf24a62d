//! Mode `replace`: rows go to a table beside the one that is to be replaced, and change places with it in one step
//! after the last of them.

use hub_plugin_api::{Error, ErrorKind, Result, WriterRequest};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    describe::{self, Table},
    error::map,
    sql::{self, ColumnDefinition},
};

/// Which run a table beside belongs to: that of an older run is not gone on with.
#[derive(Clone, Debug)]
pub struct Staging {
    pipeline: String,
    generation: u64,
    run: u64,
}

impl Staging {
    /// Of a writer's run.
    pub fn new(request: &WriterRequest) -> Result<Self> {
        if request.lane > 0 {
            return Err(Error::config("mode", "Mode `replace` has one lane").with_hint("Set `lanes: 1`"));
        }
        Ok(Self { pipeline: request.pipeline.clone(), generation: request.generation, run: request.run })
    }

    /// The name of the table beside.
    pub fn name(table: &str) -> String {
        format!("__hub_new_{table}")
    }

    /// Makes the table beside, like the one that it will replace; without one the caller makes it. Goes on with that
    /// of the same run, drops that of another.
    pub fn prepare(&self, connection: &Connection, table: &str) -> Result<()> {
        let failed = |error| map("The table beside could not be made", error).with_context("table", table);
        let name = Self::name(table);
        connection.execute(sql::CREATE_STAGING_TABLE, []).map_err(failed)?;
        let own = params![table, self.pipeline, self.generation as i64, self.run as i64];
        let is_own =
            connection.query_row(sql::FIND_STAGING, own, |_| Ok(())).optional().map_err(failed)?.is_some();
        if is_own {
            return Ok(());
        }
        connection.execute(&sql::drop_table(&name), []).map_err(failed)?;
        connection.execute(sql::PUT_STAGING, own).map_err(failed)?;
        if let Some(like) = describe::table(connection, table)? {
            self.create_like(connection, &name, &like).map_err(failed)?;
            connection.execute(sql::CREATE_COLUMNS_TABLE, []).map_err(failed)?;
            connection.execute(sql::DROP_TRUE_TYPES, [&name]).map_err(failed)?;
            connection.execute(sql::COPY_TRUE_TYPES, [table, &name]).map_err(failed)?;
        }
        Ok(())
    }

    fn create_like(&self, connection: &Connection, name: &str, like: &Table) -> rusqlite::Result<()> {
        let written = like.columns.iter().filter(|column| !column.generated);
        let definitions: Vec<_> = written
            .map(|column| ColumnDefinition {
                name: column.column.name.clone(),
                declared: column.declared.clone(),
                not_null: !column.column.nullable,
            })
            .collect();
        connection.execute(&sql::create_table(name, &definitions, &like.key()), [])?;
        Ok(())
    }

    /// Swaps every table of this run. Says whether there was one.
    pub fn finish(&self, connection: &Connection) -> Result<bool> {
        let failed = |error| map("The replaced table could not be swapped", error);
        if !connection.table_exists(Some("main"), sql::STAGING_TABLE).map_err(failed)? {
            return Ok(false);
        }
        let mut statement = connection.prepare(sql::LIST_STAGING).map_err(failed)?;
        let own = params![self.pipeline, self.generation as i64, self.run as i64];
        let tables = statement
            .query_map(own, |row| row.get::<_, String>(0))
            .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
            .map_err(failed)?;
        drop(statement);
        for table in &tables {
            self.swap(connection, table)?;
        }
        Ok(!tables.is_empty())
    }

    fn swap(&self, connection: &Connection, table: &str) -> Result<()> {
        let failed =
            |error| map("The replaced table could not be swapped", error).with_context("table", table);
        let name = Self::name(table);
        match describe::table(connection, table)? {
            // What is there keeps its definition, indexes, triggers and the keys that point at it.
            Some(_) => {
                let staged = describe::table(connection, &name)?.ok_or_else(|| {
                    Error::new(ErrorKind::NotFound, format!("The table `{name}` with the new rows is gone"))
                })?;
                let columns: Vec<_> =
                    staged.columns.iter().map(|column| column.column.name.as_str()).collect();
                connection.execute(&sql::delete_all(table), []).map_err(failed)?;
                connection.execute(&sql::copy_rows(&name, table, &columns), []).map_err(failed)?;
                connection.execute(&sql::drop_table(&name), []).map_err(failed)?;
                connection.execute(sql::CREATE_COLUMNS_TABLE, []).map_err(failed)?;
                connection.execute(sql::DROP_TRUE_TYPES, [&name]).map_err(failed)?;
            }
            None => {
                connection.execute(&sql::rename_table(&name, table), []).map_err(failed)?;
                connection.execute(sql::CREATE_COLUMNS_TABLE, []).map_err(failed)?;
                connection.execute(sql::DROP_TRUE_TYPES, [table]).map_err(failed)?;
                connection.execute(sql::MOVE_TRUE_TYPES, [&name, table]).map_err(failed)?;
            }
        }
        connection.execute(sql::DROP_STAGING, [table]).map_err(failed)?;
        Ok(())
    }
}
