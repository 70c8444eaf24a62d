use crate::{Batch, Column, ColumnBatch, ColumnValues, Failure, Field, Flat, Result};

/// Rows to yield, one list a column: the fast way.
pub struct Columns(ColumnBatch);

impl Columns {
    /// Rows without columns; every column that is added has this many values.
    ///
    /// # Errors
    /// When there are more rows than a batch can have.
    pub fn new(length: usize) -> Result<Self> {
        let length = u32::try_from(length)
            .map_err(|_| Failure::new("invalid-data", format!("A batch cannot have {length} rows")))?;
        Ok(Self(ColumnBatch { fields: Vec::new(), length, columns: Vec::new() }))
    }

    /// Adds a column without nulls.
    #[must_use]
    pub fn with(self, field: Field, values: impl Into<ColumnValues>) -> Self {
        self.with_validity(field, values, None)
    }

    /// Adds a column. One byte a value: 1 is there, 0 is null.
    #[must_use]
    pub fn with_validity(
        mut self,
        field: Field,
        values: impl Into<ColumnValues>,
        validity: Option<Vec<u8>>,
    ) -> Self {
        self.0.fields.push(field);
        self.0.columns.push(Column { values: values.into(), validity });
        self
    }

    /// Adds a column of texts of which some may be null.
    #[must_use]
    pub fn with_texts<T: AsRef<str>>(self, field: Field, texts: impl IntoIterator<Item = Option<T>>) -> Self {
        let (mut flat, mut validity) = (Flat::new(), Vec::new());
        for text in texts {
            validity.push(u8::from(text.is_some()));
            flat.push(text.as_ref().map_or(&[], |text| text.as_ref().as_bytes()));
        }
        let validity = if validity.contains(&0) { Some(validity) } else { None };
        self.with_validity(field, ColumnValues::Text(flat), validity)
    }
}

impl From<Columns> for Batch {
    fn from(columns: Columns) -> Self {
        Self::Columns(columns.0)
    }
}

impl From<Vec<i64>> for ColumnValues {
    fn from(values: Vec<i64>) -> Self {
        Self::Signed(values)
    }
}

impl From<Vec<u64>> for ColumnValues {
    fn from(values: Vec<u64>) -> Self {
        Self::Unsigned(values)
    }
}

impl From<Vec<f64>> for ColumnValues {
    fn from(values: Vec<f64>) -> Self {
        Self::Float(values)
    }
}

impl Flat {
    /// No values.
    pub fn new() -> Self {
        Self { offsets: vec![0], data: Vec::new() }
    }

    /// Appends a value. All of them together stay below 2 GiB.
    ///
    /// # Panics
    /// Above it: a batch of that size is refused in any case.
    pub fn push(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        match i32::try_from(self.data.len()) {
            Ok(end) => self.offsets.push(end),
            Err(_) => panic!("The values of one column are 2 GiB or more"),
        }
    }
}

impl Default for Flat {
    fn default() -> Self {
        Self::new()
    }
}
