//! Columns made of named fields, as hashes and entries of streams have them: declared, or as they come.

use std::collections::HashMap;

use hub_plugin_api::Parameter;
use serde::Deserialize;

use crate::types::{Cell, ColumnBuilder, FieldType};

/// A field that becomes a column.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldOption {
    /// Its name, which is the column's.
    pub name: String,
    /// What its bytes are read as. Default `text`.
    #[serde(default, rename = "type")]
    pub field: FieldType,
}

impl FieldOption {
    /// The option `fields`, for what has columns only when `purpose` is so.
    pub fn option(purpose: &str) -> Parameter {
        Parameter::structured("fields", "Fields").describe(format!(
            "{purpose}: a list of {{name, type: text | binary | boolean | int64 | float64 | json}}; when empty, a \
             column of text for each field that comes"
        ))
    }
}

/// The columns of fields.
pub struct FieldColumns {
    declared: bool,
    fields: Vec<FieldOption>,
    places: HashMap<Vec<u8>, usize>,
    builders: Vec<ColumnBuilder>,
    /// What a field that was not declared is read as.
    otherwise: FieldType,
    rows: usize,
}

impl FieldColumns {
    /// Declared ones, or as they come where none is.
    pub fn new(fields: &[FieldOption], otherwise: FieldType) -> Self {
        let mut columns = Self {
            declared: !fields.is_empty(),
            fields: Vec::new(),
            places: HashMap::new(),
            builders: Vec::new(),
            otherwise,
            rows: 0,
        };
        fields.iter().for_each(|field| columns.add(field.clone()));
        columns
    }

    fn add(&mut self, field: FieldOption) {
        let mut builder = ColumnBuilder::new(field.field);
        (0..self.rows).for_each(|_| builder.push(&Cell::Null));
        self.places.insert(field.name.clone().into_bytes(), self.fields.len());
        self.builders.push(builder);
        self.fields.push(field);
    }

    /// The columns, in their order.
    pub fn fields(&self) -> &[FieldOption] {
        &self.fields
    }

    /// The first of these fields that has no column yet and must get one.
    pub fn missing<'a>(&self, pairs: &'a [(Vec<u8>, Vec<u8>)]) -> Option<&'a [u8]> {
        let missing = || pairs.iter().find(|(name, _)| !self.places.contains_key(name));
        if self.declared { None } else { missing().map(|(name, _)| name.as_slice()) }
    }

    /// Gives each of these fields a column.
    ///
    /// # Errors
    /// When the name of one is no text, or is the name of a column that is not a field's.
    pub fn grow(&mut self, pairs: &[(Vec<u8>, Vec<u8>)], own: &[&str]) -> Result<(), String> {
        for (name, _) in pairs {
            if self.places.contains_key(name) {
                continue;
            }
            let Ok(name) = String::from_utf8(name.clone()) else {
                return Err("A field's name is not UTF-8 text, so it cannot name a column".into());
            };
            if own.contains(&name.as_str()) {
                return Err(format!("Field `{name}` has the name of another column"));
            }
            self.add(FieldOption { name, field: self.otherwise });
        }
        Ok(())
    }

    /// The row's cells; a field that is not there is null.
    ///
    /// # Errors
    /// Why a value is not of its column's type, or that a field is there twice.
    pub fn cells<'a>(&self, pairs: &'a [(Vec<u8>, Vec<u8>)]) -> Result<Vec<Cell<'a>>, String> {
        let mut cells = vec![Cell::Null; self.fields.len()];
        for (name, value) in pairs {
            let Some(place) = self.places.get(name) else { continue };
            let field = &self.fields[*place];
            if cells[*place] != Cell::Null {
                return Err(format!("Field `{}` is there twice", field.name));
            }
            cells[*place] =
                field.field.read(value).map_err(|reason| format!("Field `{}` {reason}", field.name))?;
        }
        Ok(cells)
    }

    /// Adds a row of cells that [`FieldColumns::cells`] made.
    pub fn push(&mut self, cells: &[Cell<'_>]) {
        for (builder, cell) in self.builders.iter_mut().zip(cells) {
            builder.push(cell);
        }
        self.rows += 1;
    }

    /// The columns filled so far.
    pub fn finish(&mut self) -> Vec<hub_plugin_api::arrow::array::ArrayRef> {
        self.rows = 0;
        self.builders.iter_mut().map(ColumnBuilder::finish).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
        pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn columns_grow_with_the_fields_that_come_and_earlier_rows_have_nulls() {
        let mut columns = FieldColumns::new(&[], FieldType::Text);
        for row in [pairs(&[("a", "1")]), pairs(&[("b", "2"), ("a", "3")])] {
            columns.grow(&row, &["key"]).unwrap();
            let cells = columns.cells(&row).unwrap();
            columns.push(&cells);
        }
        assert!(columns.grow(&pairs(&[("key", "x")]), &["key"]).unwrap_err().contains("`key`"));
        let arrays = columns.finish();
        assert_eq!((arrays[0].null_count(), arrays[1].null_count()), (0, 1));
    }

    #[test]
    fn declared_columns_leave_other_fields_out_and_refuse_what_does_not_fit() {
        let fields = [FieldOption { name: "n".into(), field: FieldType::Int64 }];
        let columns = FieldColumns::new(&fields, FieldType::Text);
        assert!(columns.missing(&pairs(&[("other", "x")])).is_none());
        assert_eq!(columns.cells(&pairs(&[("n", "7"), ("other", "x")])).unwrap(), [Cell::Integer(7)]);
        assert!(
            columns.cells(&pairs(&[("n", "x")])).unwrap_err().starts_with("Field `n` is no whole number")
        );
    }
}
