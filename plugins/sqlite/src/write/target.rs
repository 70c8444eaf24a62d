use hub_plugin_api::{
    Error, ErrorKind, Result, WriteMode,
    types::{Column, LogicalType},
};
use rusqlite::{Connection, params};

use super::options::{SchemaGrowth, WriteOptions};
use crate::{
    describe::{self, ENGINE, Table},
    encode::{Store, store_for},
    error::map,
    sql::{self, ColumnDefinition},
    types,
};

/// Where one stream's rows go.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// The table that is written: the stream's own, or one beside it until `finish`.
    pub table: String,
    /// The columns that are written, by their place in the stream's rows.
    pub columns: Vec<TargetColumn>,
    /// The key's columns, as the table spells them.
    pub key: Vec<String>,
}

/// A column that is written.
#[derive(Clone, Debug)]
pub struct TargetColumn {
    /// Its place in the stream's rows.
    pub place: usize,
    /// Its name in the table.
    pub name: String,
    /// How its values are stored.
    pub store: Store,
    /// NULL is refused before SQLite sees it, which would make a number of it in a rowid.
    pub never_null: bool,
}

impl Target {
    /// The names of the columns.
    pub fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }

    /// The key's columns.
    pub fn key_names(&self) -> Vec<&str> {
        self.key.iter().map(String::as_str).collect()
    }
}

/// For statements of the user's: every column as it is.
pub fn unchecked(columns: &[Column]) -> Target {
    let columns = columns.iter().enumerate().map(|(place, column)| TargetColumn {
        place,
        name: column.name.clone(),
        store: Store::Same,
        never_null: false,
    });
    Target { columns: columns.collect(), ..Target::default() }
}

/// Makes or grows a table, so that it takes the columns, and says how each is stored.
///
/// # Errors
/// [`ErrorKind::NotFound`], [`ErrorKind::SchemaMismatch`] or [`ErrorKind::UnsupportedType`].
pub fn prepare(
    connection: &Connection,
    options: &WriteOptions,
    table: &str,
    columns: &[Column],
) -> Result<Target> {
    sql::check_name("Table", table)?;
    for (index, column) in columns.iter().enumerate() {
        sql::check_name("Column", &column.name)?;
        if columns[..index].iter().any(|other| other.name.eq_ignore_ascii_case(&column.name)) {
            return Err(Error::new(
                ErrorKind::SchemaMismatch,
                format!("Column `{}` comes twice", column.name),
            )
            .with_context("table", table)
            .with_hint(
                "SQLite does not tell upper from lower case in names: rename one in the source's statement",
            ));
        }
    }
    let key = key_of(options, columns)?;
    let described = match describe::table(connection, table)? {
        Some(described) => grow(connection, options, table, described, columns)?,
        None => create(connection, options, table, columns, &key)?,
    };
    let mut written = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        let Some(found) = described.column(&column.name) else { continue };
        let mismatch = |what: String| {
            Error::new(ErrorKind::SchemaMismatch, what)
                .with_context("table", table)
                .with_context("column", &column.name)
        };
        if found.generated {
            return Err(mismatch(format!("Column `{}` is computed by the table", column.name))
                .with_hint("Leave it out of the source's statement"));
        }
        let store = store_for(&column.logical, &found.declared, found.logical.as_ref()).ok_or_else(|| {
            mismatch(format!(
                "Column `{}` is declared `{}`, where not every value of type {:?} has an exact place",
                column.name, found.declared, column.logical
            ))
            .with_hint(format!(
                "Declare it `{}`, or cast it in the source's statement",
                types::declared_of(&column.logical)
            ))
        })?;
        let never_null =
            !found.column.nullable || key.iter().any(|name| name.eq_ignore_ascii_case(&column.name));
        written.push(TargetColumn { place, name: found.column.name.clone(), store, never_null });
    }
    let key: Vec<String> = key
        .iter()
        .filter_map(|name| written.iter().find(|column| column.name.eq_ignore_ascii_case(name)))
        .map(|column| column.name.clone())
        .collect();
    Ok(Target { table: table.to_owned(), columns: written, key })
}

/// The key: the option's, else the stream's own.
fn key_of(options: &WriteOptions, columns: &[Column]) -> Result<Vec<String>> {
    let key = if options.key.is_empty() {
        let mut own: Vec<_> =
            columns.iter().filter_map(|column| Some((column.key?, column.name.clone()))).collect();
        own.sort_unstable();
        own.into_iter().map(|(_, name)| name).collect()
    } else {
        options.key.clone()
    };
    if let Some(missing) = key.iter().find(|name| !columns.iter().any(|column| column.name == **name)) {
        return Err(Error::config("key", format!("The stream has no column `{missing}`")));
    }
    if key.is_empty() && matches!(options.mode, WriteMode::Upsert | WriteMode::ApplyChanges) {
        return Err(Error::config("key", "The stream has no key, so it cannot be said which row is meant")
            .with_hint("Name the columns in `key`, or take mode append"));
    }
    Ok(key)
}

fn create(
    connection: &Connection,
    options: &WriteOptions,
    table: &str,
    columns: &[Column],
    key: &[String],
) -> Result<Table> {
    if !options.create_table {
        return Err(Error::new(ErrorKind::NotFound, format!("There is no table `{table}`"))
            .with_field("table")
            .with_hint("Make it, or set `create_table`"));
    }
    let failed = |error| map("The table could not be made", error).with_context("table", table);
    let definitions: Vec<_> = columns
        .iter()
        .map(|column| {
            let in_key = key.contains(&column.name);
            ColumnDefinition {
                name: column.name.clone(),
                declared: declared_for(column, in_key && key.len() == 1),
                not_null: in_key || !column.nullable,
            }
        })
        .collect();
    let key: Vec<_> = key.iter().map(String::as_str).collect();
    connection.execute(&sql::create_table(table, &definitions, &key), []).map_err(failed)?;
    connection.execute(sql::CREATE_COLUMNS_TABLE, []).map_err(failed)?;
    connection.execute(sql::DROP_TRUE_TYPES, [table]).map_err(failed)?;
    for (column, definition) in columns.iter().zip(&definitions) {
        note(connection, table, column, &definition.declared)?;
    }
    describe::table(connection, table)?.ok_or_else(|| Error::internal("The table that was made is not there"))
}

/// The declared type of a column that the hub makes: the source's own words where it is a SQLite too.
fn declared_for(column: &Column, is_only_key: bool) -> String {
    let whole = matches!(
        column.logical,
        LogicalType::Int8
            | LogicalType::Int16
            | LogicalType::Int32
            | LogicalType::Int64
            | LogicalType::UInt8
            | LogicalType::UInt16
            | LogicalType::UInt32
    );
    match (&column.declared, column.engine.as_deref()) {
        (Some(declared), Some(ENGINE))
            if types::is_plain(declared) && types::logical_of(declared).as_ref() == Some(&column.logical) =>
        {
            declared.clone()
        }
        // A whole number that alone is the key becomes the rowid itself, which saves an index.
        _ if whole && is_only_key => "INTEGER".into(),
        _ => types::declared_of(&column.logical),
    }
}

fn note(connection: &Connection, table: &str, column: &Column, declared: &str) -> Result<()> {
    let field = serde_json::to_string(column)?;
    connection.execute(sql::PUT_TRUE_TYPE, params![table, column.name, declared, field]).map_err(
        |error| map("The true type of a column could not be noted", error).with_context("table", table),
    )?;
    Ok(())
}

/// Adds what the table lacks, as the policy says.
fn grow(
    connection: &Connection,
    options: &WriteOptions,
    table: &str,
    described: Table,
    columns: &[Column],
) -> Result<Table> {
    let missing: Vec<_> = columns.iter().filter(|column| described.column(&column.name).is_none()).collect();
    if missing.is_empty() || options.schema_growth == SchemaGrowth::Ignore {
        return Ok(described);
    }
    if options.schema_growth == SchemaGrowth::Fail {
        return Err(Error::new(
            ErrorKind::SchemaMismatch,
            format!("Table `{table}` has no column `{}`", missing[0].name),
        )
        .with_field("schema_growth")
        .with_hint("Add it, or set `schema_growth` to evolve or ignore"));
    }
    let failed = |error| map("A column could not be added", error).with_context("table", table);
    connection.execute(sql::CREATE_COLUMNS_TABLE, []).map_err(failed)?;
    for column in missing {
        let definition = ColumnDefinition {
            name: column.name.clone(),
            declared: declared_for(column, false),
            not_null: false,
        };
        connection.execute(&sql::add_column(table, &definition), []).map_err(failed)?;
        note(connection, table, column, &definition.declared)?;
    }
    describe::table(connection, table)?
        .ok_or_else(|| Error::internal("The table that was grown is not there"))
}
