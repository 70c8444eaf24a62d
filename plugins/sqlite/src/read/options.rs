use hub_plugin_api::{
    Config, Error, ErrorKind, Result, Value as Json, arrow::array::RecordBatch, types::columns_of,
};
use rusqlite::{Statement, types::Value};
use serde::{Deserialize, Serialize};

use super::Bound;
use crate::{encode::ColumnEncoder, error::map, sql};

/// What to do with rows whose cursor is not unique or is NULL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ties {
    /// Stop.
    #[default]
    Refuse,
    /// Read them again, for a destination that writes them over.
    Reread,
}

/// The options of By Query.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct QueryOptions {
    /// Any SELECT.
    pub statement: Option<String>,
    /// All rows of a table or view, in place of a statement.
    pub table: Option<String>,
    /// Values of the statement's parameters: a list for `?`, an object for `:name`.
    pub parameters: Option<Json>,
    /// Columns whose tuple is unique and NOT NULL, and grows.
    #[serde(default)]
    pub cursor: Vec<String>,
    /// What to do with ties and NULLs. Default `refuse`.
    #[serde(default)]
    pub cursor_ties: Ties,
    /// Ranges of the cursor's first column that are read at the same time. Default: as many as the run reads in parallel.
    pub splits: Option<u32>,
    /// Name of the stream that the rows are handed over as. Default: the table's.
    pub stream: Option<String>,
}

impl QueryOptions {
    /// Reads the options.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with the field.
    pub fn new(options: &Config) -> Result<Self> {
        let mut parsed: Self = options.parse()?;
        let present = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.trim().is_empty());
        if present(&parsed.statement) == present(&parsed.table) {
            return Err(Error::config("statement", "Either `statement` or `table` is required, not both"));
        }
        if let Some(table) = parsed.table.as_ref().filter(|table| !table.trim().is_empty()) {
            sql::check_name("Table", table)?;
            parsed.statement = Some(sql::select_table(table));
        }
        for (index, name) in parsed.cursor.iter().enumerate() {
            if parsed.cursor[..index].iter().any(|other| other.eq_ignore_ascii_case(name)) {
                return Err(Error::config("cursor", format!("Column `{name}` is in the cursor twice")));
            }
        }
        Ok(parsed)
    }

    /// The statement, also when a table was named.
    pub fn sql(&self) -> &str {
        self.statement.as_deref().unwrap_or_default()
    }
}

/// The values of a statement's parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parameters {
    /// There are none.
    #[default]
    None,
    /// For `?`.
    Listed(Vec<Bound>),
    /// For `:name`, `@name` and `$name`.
    Named(Vec<(String, Bound)>),
}

impl Parameters {
    /// From option `parameters`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a value that is not one of SQLite's.
    pub fn of_json(json: Option<&Json>) -> Result<Self> {
        Ok(match json {
            None | Some(Json::Null) => Self::None,
            Some(Json::Array(values)) => Self::Listed(values.iter().map(bound).collect::<Result<_>>()?),
            Some(Json::Object(values)) => Self::Named(
                values
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), bound(value)?)))
                    .collect::<Result<_>>()?,
            ),
            Some(_) => return Err(Error::config("parameters", "`parameters` must be a list or an object")),
        })
    }

    /// From a row of which each column is a parameter.
    ///
    /// # Errors
    /// When there is not one row, or a value has no class of SQLite's.
    pub fn of_row(row: &RecordBatch) -> Result<Self> {
        if row.num_rows() != 1 {
            return Err(Error::new(
                ErrorKind::InvalidStatement,
                format!("Parameters must be one row, not {}", row.num_rows()),
            ));
        }
        let mut scratch = String::new();
        let columns = columns_of(row.schema_ref())?;
        let bounds = columns.iter().zip(row.columns()).map(|(column, array)| {
            let encoder = ColumnEncoder::new(column, array)?;
            let value = encoder.value(0, &mut scratch).map_err(|reason| {
                Error::new(
                    ErrorKind::InvalidData,
                    format!("Parameter `{}` cannot be bound: {reason}", column.name),
                )
            })?;
            Bound::of(value)
        });
        Ok(Self::Listed(bounds.collect::<Result<_>>()?))
    }

    /// Fails unless the statement has exactly these parameters.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with the field.
    pub fn check(&self, statement: &Statement<'_>) -> Result<()> {
        let (wanted, given) = (statement.parameter_count(), self.len());
        if wanted == given {
            return Ok(());
        }
        Err(Error::config(
            "parameters",
            format!("The statement has {wanted} parameters, but {given} are given"),
        ))
    }

    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Listed(values) => values.len(),
            Self::Named(values) => values.len(),
        }
    }

    /// Binds them.
    ///
    /// # Errors
    /// When the statement has no such parameter.
    pub fn bind(&self, statement: &mut Statement<'_>) -> Result<()> {
        let failed = |error| map("A parameter could not be bound", error).with_field("parameters");
        match self {
            Self::None => {}
            Self::Listed(values) => {
                for (index, bound) in values.iter().enumerate() {
                    statement.raw_bind_parameter(index + 1, bound.value()?).map_err(failed)?;
                }
            }
            Self::Named(values) => {
                for (name, bound) in values {
                    bind_named(statement, name, bound.value()?)?;
                }
            }
        }
        Ok(())
    }
}

fn bind_named(statement: &mut Statement<'_>, name: &str, value: Value) -> Result<()> {
    let failed = |error| map("A parameter could not be bound", error).with_field("parameters");
    for prefix in ["", ":", "@", "$"] {
        if let Some(index) = statement.parameter_index(&format!("{prefix}{name}")).map_err(failed)? {
            return statement.raw_bind_parameter(index, value).map_err(failed);
        }
    }
    Err(Error::config("parameters", format!("The statement has no parameter `:{name}`")))
}

fn bound(json: &Json) -> Result<Bound> {
    let wrong = || {
        Error::config("parameters", format!("`{json}` is not a value of SQLite's"))
            .with_hint("Values are numbers up to 64 bits, texts, true, false, null and {\"blob\": \"hex\"}")
    };
    match json {
        Json::Bool(value) => Ok(Bound::Integer(i64::from(*value))),
        Json::Number(number) if number.is_f64() => Ok(Bound::Real { real: number.to_string() }),
        Json::Array(_) => Err(wrong()),
        other => serde_json::from_value(other.clone()).map_err(|_| wrong()),
    }
}
