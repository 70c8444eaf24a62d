use crate::{Column, ColumnBatch, ColumnValues, Failure, Flat, Result, rows::missing};

/// Columns that came from the connection.
pub struct ColumnPage(pub(crate) ColumnBatch);

impl ColumnPage {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.length as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.length == 0
    }

    /// A column of whole numbers without nulls.
    ///
    /// # Errors
    /// When there is no such column, it is of another type, or has nulls.
    pub fn signed(&self, name: &str) -> Result<&[i64]> {
        match self.column(name)? {
            Column { validity: Some(validity), .. } if validity.contains(&0) => {
                Err(Failure::new("invalid-data", format!("Column `{name}` has nulls")))
            }
            Column { values: ColumnValues::Signed(values), .. } => Ok(values),
            _ => Err(other_type(name, "whole numbers")),
        }
    }

    /// A column of floats without nulls.
    ///
    /// # Errors
    /// As [`ColumnPage::signed`].
    pub fn float(&self, name: &str) -> Result<&[f64]> {
        match self.column(name)? {
            Column { validity: Some(validity), .. } if validity.contains(&0) => {
                Err(Failure::new("invalid-data", format!("Column `{name}` has nulls")))
            }
            Column { values: ColumnValues::Float(values), .. } => Ok(values),
            _ => Err(other_type(name, "floats")),
        }
    }

    /// A column of texts, decimals or JSON.
    ///
    /// # Errors
    /// When there is no such column, or it is of another type.
    pub fn texts(&self, name: &str) -> Result<Texts<'_>> {
        let column = self.column(name)?;
        match &column.values {
            ColumnValues::Text(flat) | ColumnValues::Decimal(flat) | ColumnValues::Json(flat) => {
                Ok(Texts(Bytes { flat, validity: column.validity.as_deref() }))
            }
            _ => Err(other_type(name, "texts")),
        }
    }

    /// A column of bytes.
    ///
    /// # Errors
    /// When there is no such column, or it is of another type.
    pub fn bytes(&self, name: &str) -> Result<Bytes<'_>> {
        let column = self.column(name)?;
        match &column.values {
            ColumnValues::Bytes(flat) => Ok(Bytes { flat, validity: column.validity.as_deref() }),
            _ => Err(other_type(name, "bytes")),
        }
    }

    /// A column as it came.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn column(&self, name: &str) -> Result<&Column> {
        let index = self.0.fields.iter().position(|field| field.name == name);
        index.and_then(|index| self.0.columns.get(index)).ok_or_else(|| missing(name))
    }
}

fn other_type(name: &str, wanted: &str) -> Failure {
    Failure::new("schema-mismatch", format!("Column `{name}` does not hold {wanted}"))
}

/// Bytes that came from the connection.
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    flat: &'a Flat,
    validity: Option<&'a [u8]>,
}

impl<'a> Bytes<'a> {
    /// The value of a row; none where it is null.
    pub fn get(&self, row: usize) -> Option<&'a [u8]> {
        if self.validity.is_some_and(|validity| validity[row] == 0) {
            return None;
        }
        let at = |index: usize| self.flat.offsets[index] as usize;
        Some(&self.flat.data[at(row)..at(row + 1)])
    }
}

/// Texts that came from the connection.
#[derive(Clone, Copy)]
pub struct Texts<'a>(Bytes<'a>);

impl<'a> Texts<'a> {
    /// The text of a row; none where it is null.
    ///
    /// # Panics
    /// When it is not UTF-8, which the hub never sends.
    pub fn get(&self, row: usize) -> Option<&'a str> {
        let bytes = self.0.get(row)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(error) => panic!("The hub sent a text that is not UTF-8: {error}"),
        }
    }
}
