use hub_plugin_api::{
    Error, ErrorKind, Result,
    types::{Column, LogicalType},
};
use rusqlite::{Connection, types::Type};

use super::Parameters;
use crate::{
    describe::{self, Table},
    error::map,
};

/// Rows that are looked at where no declaration says what a column holds.
const SAMPLE_ROWS: usize = 1000;

/// The columns of a statement's rows.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// In the statement's order.
    pub columns: Vec<Column>,
    /// The one table that all columns are of.
    pub table: Option<String>,
    /// Columns whose own collation is not byte by byte.
    pub collated: Vec<bool>,
}

/// Finds out what a statement's columns are: from the tables that they come from, else from the first rows.
///
/// # Errors
/// [`ErrorKind::InvalidStatement`] when it is not one statement that returns rows and changes nothing.
pub fn resolve(connection: &Connection, statement: &str, parameters: &Parameters) -> Result<Resolved> {
    let failed = |error| map("The statement was refused", error).with_field("statement");
    let prepared = connection.prepare(statement).map_err(failed)?;
    if prepared.column_count() == 0 || !prepared.readonly() {
        return Err(Error::new(
            ErrorKind::InvalidStatement,
            "The statement must be one SELECT that changes nothing",
        )
        .with_field("statement"));
    }
    parameters.check(&prepared)?;
    let origins: Vec<_> = prepared
        .columns_with_metadata()
        .map(|column| {
            let origin = column.table_name().zip(column.origin_name());
            (column.name().to_owned(), origin.map(|(table, name)| (table.to_owned(), name.to_owned())))
        })
        .collect();
    drop(prepared);
    refuse_duplicates(&origins)?;

    let first = origins.first().and_then(|(_, origin)| origin.as_ref()).map(|(table, _)| table.clone());
    let one_table = first.filter(|table| {
        origins.iter().all(|(_, origin)| origin.as_ref().is_some_and(|(other, _)| other == table))
    });
    // An outer join makes NULLs where the table has none, and any join may repeat a key.
    let is_joined = statement.to_ascii_lowercase().contains("join") || one_table.is_none();

    let mut tables: Vec<(String, Option<Table>)> = Vec::new();
    let (mut columns, mut undeclared, mut collated) = (Vec::new(), Vec::new(), Vec::new());
    for (name, origin) in origins {
        let mut found = None;
        let mut is_collated = false;
        if let Some((table, origin)) = origin {
            if !tables.iter().any(|(known, _)| *known == table) {
                let described = describe::table(connection, &table)?;
                tables.push((table.clone(), described));
            }
            let described = tables
                .iter()
                .find(|(known, _)| *known == table)
                .and_then(|(_, described)| described.as_ref());
            found = described.and_then(|described| described.column(&origin)).cloned();
            is_collated = connection
                .column_metadata(Some("main"), table.as_str(), origin.as_str())
                .is_ok_and(|(_, collation, ..)| collation.is_some_and(|one| one.to_bytes() != b"BINARY"));
        }
        if found.as_ref().is_none_or(|found| found.logical.is_none()) {
            undeclared.push(columns.len());
        }
        let mut column = found.map_or_else(|| Column::new("", LogicalType::Text), |found| found.column);
        column.name = name;
        if is_joined {
            (column.nullable, column.key) = (true, None);
        }
        columns.push(column);
        collated.push(is_collated);
    }
    let whole_key = tables
        .iter()
        .filter_map(|(_, table)| table.as_ref())
        .all(|table| table.key().len() == columns.iter().filter(|column| column.key.is_some()).count());
    if !whole_key {
        columns.iter_mut().for_each(|column| column.key = None);
    }
    if !undeclared.is_empty() {
        sample(connection, statement, parameters, &undeclared, &mut columns)?;
    }
    Ok(Resolved { columns, table: one_table, collated })
}

fn refuse_duplicates<T>(origins: &[(String, T)]) -> Result<()> {
    for (index, (name, _)) in origins.iter().enumerate() {
        if origins[..index].iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return Err(Error::new(
                ErrorKind::InvalidStatement,
                format!("The statement returns column `{name}` twice"),
            )
            .with_field("statement")
            .with_hint("Give one of them another name with `as`"));
        }
    }
    Ok(())
}

/// Decides on undeclared columns by the values of the first rows.
fn sample(
    connection: &Connection,
    statement: &str,
    parameters: &Parameters,
    undeclared: &[usize],
    columns: &mut [Column],
) -> Result<()> {
    let failed = |error| map("The statement failed", error).with_field("statement");
    let mut prepared = connection.prepare(statement).map_err(failed)?;
    parameters.bind(&mut prepared)?;
    let mut rows = prepared.raw_query();
    let mut found: Vec<Option<LogicalType>> = vec![None; undeclared.len()];
    for _ in 0..SAMPLE_ROWS {
        let Some(row) = rows.next().map_err(failed)? else { break };
        for (found, index) in found.iter_mut().zip(undeclared) {
            let class = match row.get_ref(*index).map_err(failed)?.data_type() {
                Type::Null => continue,
                Type::Integer => LogicalType::Int64,
                Type::Real => LogicalType::Float64,
                Type::Text => LogicalType::Text,
                Type::Blob => LogicalType::Binary,
            };
            let merged = match (found.take(), class) {
                (None, class) => class,
                (Some(before), class) if before == class => class,
                (
                    Some(LogicalType::Int64 | LogicalType::Float64),
                    LogicalType::Int64 | LogicalType::Float64,
                ) => LogicalType::Float64,
                _ => {
                    let name = &columns[*index].name;
                    return Err(Error::new(
                        ErrorKind::InvalidData,
                        format!(
                            "Column `{name}` has no declared type, and its values are of several classes"
                        ),
                    )
                    .with_field("statement")
                    .with_hint(format!("Name the class in the statement: `cast(\"{name}\" as text)`")));
                }
            };
            *found = Some(merged);
        }
    }
    for (found, index) in found.into_iter().zip(undeclared) {
        columns[*index].logical = found.unwrap_or(LogicalType::Text);
    }
    Ok(())
}
