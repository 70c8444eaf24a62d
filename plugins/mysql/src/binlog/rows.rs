//! Changed rows of one table: row images decoded in place into the columns of a change batch.
//!
//! Source: MySQL's documentation of `Rows_event`; `binlog_row_image` in the manuals of both servers.

use std::sync::Arc;

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{
        array::{
            ArrayRef, BinaryBuilder, NullBufferBuilder, RecordBatch, RecordBatchOptions, StringArray,
            StructArray, TimestampMicrosecondArray, UInt64Array,
        },
        datatypes::{DataType, Fields},
    },
    changes::{BEFORE, Op},
};

use super::{
    column::ColumnBuilder,
    cursor::{Cursor, malformed},
    event::{code, unpack},
    json_diff,
    shape::Shape,
    storage::{Family, Storage},
    table_map::bit,
};
use crate::raw::column::ZeroDates;

/// What a value of a row image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell<'a> {
    /// Not in the image.
    Absent,
    Null,
    Value(&'a [u8]),
    /// Differences of a JSON document.
    Differences(&'a [u8]),
}

/// What the values are that are not in a row's image.
#[derive(Clone, Copy, Debug)]
enum Rest<'a> {
    /// The defaults of their columns.
    Defaults,
    /// As in the image before it, where they did not change.
    AsBefore(&'a [Cell<'a>]),
    /// Nobody says.
    Unsaid,
}

/// What holds for all rows of an event.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Commit time, µs since 1970 UTC.
    pub committed_micros: i64,
    /// The most bytes of one value.
    pub max_value_bytes: usize,
    /// Hand over the whole row as it was, not only an old key.
    pub whole_before: bool,
}

/// Collects the changed rows of one table.
pub struct ChangedRows {
    shape: Arc<Shape>,
    storages: Vec<Storage>,
    row: Vec<ColumnBuilder>,
    before: Before,
    ops: Vec<Op>,
    committed: Vec<i64>,
    numbers: Vec<u64>,
    unchanged: BinaryBuilder,
    bytes: usize,
}

/// The rows as they were, of which most changes have none.
struct Before {
    columns: Vec<ColumnBuilder>,
    nulls: NullBufferBuilder,
    rows: usize,
}

impl Before {
    /// Adds nulls until it is as long as the rows.
    fn fill(&mut self, rows: usize) {
        for _ in self.rows..rows {
            self.nulls.append_null();
            self.columns.iter_mut().for_each(ColumnBuilder::append_null);
        }
        self.rows = rows;
    }
}

impl ChangedRows {
    /// Rows of a table of this shape.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the shape does not fit itself.
    pub fn new(shape: Arc<Shape>, zero_dates: ZeroDates) -> Result<Self> {
        let builders = || {
            let columns = shape.columns.iter().zip(&shape.decodings).zip(&shape.storages);
            columns
                .map(|((column, decoding), storage)| {
                    let field = column.to_field();
                    let data_type = field.data_type();
                    ColumnBuilder::new(&column.name, *storage, decoding.clone(), data_type, zero_dates)
                })
                .collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            row: builders()?,
            before: Before { columns: builders()?, nulls: NullBufferBuilder::new(0), rows: 0 },
            storages: shape.storages.clone(),
            shape,
            ops: Vec::new(),
            committed: Vec::new(),
            numbers: Vec::new(),
            unchanged: BinaryBuilder::new(),
            bytes: 0,
        })
    }

    /// What the rows look like.
    pub fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    /// Rows collected since the last batch.
    pub fn rows(&self) -> usize {
        self.ops.len()
    }

    /// Bytes of their values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the rows of an event, behind its table's number and flags; `numbers` counts them. Answers how many.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] for an event that is not as documented, [`ErrorKind::InvalidData`] for a value that
    /// cannot be carried.
    pub fn append(&mut self, of: u8, body: &[u8], numbers: &mut u64, moment: Moment) -> Result<u64> {
        let (op, has_extra, packed) = kind(of)?;
        let mut cursor = Cursor(body);
        if has_extra {
            let extra = usize::from(cursor.u16()?);
            cursor.take(extra.saturating_sub(2))?;
        }
        let count = cursor.length()?;
        if count != self.storages.len() {
            return Err(malformed(format!(
                "Rows of table `{}` have {count} columns, its table map {}",
                self.shape.stream,
                self.storages.len()
            )));
        }
        let first = cursor.take(count.div_ceil(8))?;
        let second = if op == Op::Update { cursor.take(count.div_ceil(8))? } else { first };
        let unpacked;
        if packed {
            unpacked = unpack(cursor.0)?;
            cursor = Cursor(&unpacked);
        }
        let mut before = vec![Cell::Absent; count];
        let mut after = vec![Cell::Absent; count];
        let mut rows = 0;
        while !cursor.is_empty() {
            match op {
                Op::Update => {
                    self.image(first, &mut cursor, &mut before, moment.max_value_bytes)?;
                    let partial = match of {
                        code::PARTIAL_UPDATE_ROWS => partial_documents(&mut cursor, &self.storages)?,
                        _ => Vec::new(),
                    };
                    self.image(second, &mut cursor, &mut after, moment.max_value_bytes)?;
                    for place in partial {
                        if let Cell::Value(differences) = after[place] {
                            after[place] = Cell::Differences(differences);
                        }
                    }
                    self.update(&before, &after, moment.whole_before)?;
                }
                Op::Delete => {
                    self.image(first, &mut cursor, &mut after, moment.max_value_bytes)?;
                    self.put(&after, Rest::Unsaid)?;
                }
                _ => {
                    self.image(first, &mut cursor, &mut after, moment.max_value_bytes)?;
                    self.put(&after, Rest::Defaults)?;
                }
            }
            *numbers += 1;
            rows += 1;
            self.ops.push(op);
            self.numbers.push(*numbers);
            self.committed.push(moment.committed_micros);
        }
        Ok(rows)
    }

    /// Takes one row image apart.
    fn image<'a>(
        &self,
        present: &[u8],
        cursor: &mut Cursor<'a>,
        cells: &mut [Cell<'a>],
        max_value_bytes: usize,
    ) -> Result<()> {
        let count = (0..cells.len()).filter(|place| bit(present, *place)).count();
        let nulls = cursor.take(count.div_ceil(8))?;
        let mut seen = 0;
        for (place, (cell, storage)) in cells.iter_mut().zip(&self.storages).enumerate() {
            if !bit(present, place) {
                *cell = Cell::Absent;
                continue;
            }
            let is_null = bit(nulls, seen);
            seen += 1;
            if is_null {
                *cell = Cell::Null;
                continue;
            }
            let value = storage.take(cursor)?;
            if value.len() > max_value_bytes {
                return Err(self.too_large(place, value.len(), max_value_bytes));
            }
            *cell = Cell::Value(value);
        }
        Ok(())
    }

    #[cold]
    fn too_large(&self, place: usize, bytes: usize, most: usize) -> Error {
        let name = self.row[place].name();
        let message = format!(
            "A value of column `{name}` has `{bytes}` bytes, more than the `{most}` that one value may have"
        );
        Error::new(ErrorKind::InvalidData, message)
            .with_context("table", &self.shape.stream)
            .with_hint("Raise `max_value_bytes`, or leave the table out of `tables`")
    }

    fn update(&mut self, before: &[Cell<'_>], after: &[Cell<'_>], whole_before: bool) -> Result<()> {
        let key_moved = self
            .shape
            .key
            .iter()
            .any(|place| !matches!(after[*place], Cell::Absent) && after[*place] != before[*place]);
        self.put(after, Rest::AsBefore(before))?;
        if key_moved || whole_before {
            // The row of this update is in `row` already, but not yet in `ops`.
            self.before.fill(self.ops.len());
            self.before.nulls.append_non_null();
            self.before.rows += 1;
            for (column, cell) in self.before.columns.iter_mut().zip(before) {
                match cell {
                    Cell::Value(value) => column.append(value)?,
                    Cell::Absent | Cell::Null | Cell::Differences(_) => column.append_null(),
                }
            }
        }
        Ok(())
    }

    /// Adds a row.
    fn put(&mut self, cells: &[Cell<'_>], rest: Rest<'_>) -> Result<()> {
        let before = match rest {
            Rest::AsBefore(before) => Some(before),
            Rest::Defaults | Rest::Unsaid => None,
        };
        let mut missing: Option<Vec<u8>> = None;
        for (place, (column, cell)) in self.row.iter_mut().zip(cells).enumerate() {
            let cell = match (cell, before) {
                (Cell::Absent, Some(before)) => &before[place],
                (cell, _) => cell,
            };
            match cell {
                Cell::Value(value) => {
                    self.bytes += value.len();
                    column.append(value).map_err(|error| error.with_context("table", &self.shape.stream))?;
                }
                Cell::Differences(differences) => {
                    let Some(Cell::Value(document)) = before.map(|before| before[place]) else {
                        return Err(malformed("Differences of a JSON document come without the document"));
                    };
                    let text = json_diff::patched(document, differences)?;
                    self.bytes += text.len();
                    column.append_text(&text)?;
                }
                Cell::Null => column.append_null(),
                Cell::Absent if matches!(rest, Rest::Defaults) => {
                    let field = &self.shape.schema.fields()[place];
                    self.bytes += column
                        .append_default(&self.shape.declarations[place], field)
                        .map_err(|error| error.with_context("table", &self.shape.stream))?;
                }
                Cell::Absent => {
                    column.append_null();
                    if before.is_some() {
                        let bits = missing.get_or_insert_with(|| vec![0; cells.len().div_ceil(8)]);
                        bits[place / 8] |= 1 << (place % 8);
                    }
                }
            }
        }
        self.unchanged.append_option(missing);
        // What a row costs beyond its values: offsets, validity, change columns.
        self.bytes += 4 * cells.len() + 48;
        Ok(())
    }

    /// The rows so far as a batch of changes; empty afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] with the column's name when text is not of its character set.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let count = self.ops.len();
        self.before.fill(count);
        let mut arrays = Vec::with_capacity(self.row.len() + 5);
        let at_table = |error: Error| error.with_context("table", &self.shape.stream);
        for column in &mut self.row {
            arrays.push(column.finish().map_err(at_table)?);
        }
        let before = self.before.columns.iter_mut().map(ColumnBuilder::finish);
        let before: Vec<ArrayRef> = before.collect::<Result<_>>().map_err(at_table)?;
        let ops = std::mem::take(&mut self.ops);
        arrays.push(Arc::new(StringArray::from_iter_values(ops.iter().map(|op| op.as_str()))));
        let committed = TimestampMicrosecondArray::from(std::mem::take(&mut self.committed));
        arrays.push(Arc::new(committed.with_timezone("UTC")));
        arrays.push(Arc::new(UInt64Array::from(std::mem::take(&mut self.numbers))));
        arrays.push(Arc::new(StructArray::try_new_with_length(
            before_fields(&self.shape)?,
            before,
            self.before.nulls.finish(),
            count,
        )?));
        arrays.push(Arc::new(self.unchanged.finish()));
        (self.before.rows, self.bytes) = (0, 0);
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.shape.schema), arrays, &options)?)
    }
}

fn before_fields(shape: &Shape) -> Result<Fields> {
    match shape.schema.field_with_name(BEFORE).map(|field| field.data_type()) {
        Ok(DataType::Struct(fields)) => Ok(fields.clone()),
        _ => Err(Error::internal("A change schema has no column for the row before")),
    }
}

/// What happened to an event's rows, whether it has extra data, and whether MariaDB packed it.
fn kind(of: u8) -> Result<(Op, bool, bool)> {
    Ok(match of {
        code::WRITE_ROWS_V1 => (Op::Insert, false, false),
        code::UPDATE_ROWS_V1 => (Op::Update, false, false),
        code::DELETE_ROWS_V1 => (Op::Delete, false, false),
        code::WRITE_ROWS => (Op::Insert, true, false),
        code::UPDATE_ROWS | code::PARTIAL_UPDATE_ROWS => (Op::Update, true, false),
        code::DELETE_ROWS => (Op::Delete, true, false),
        code::MARIADB_WRITE_ROWS_COMPRESSED_V1 => (Op::Insert, false, true),
        code::MARIADB_UPDATE_ROWS_COMPRESSED_V1 => (Op::Update, false, true),
        code::MARIADB_DELETE_ROWS_COMPRESSED_V1 => (Op::Delete, false, true),
        code::MARIADB_WRITE_ROWS_COMPRESSED => (Op::Insert, true, true),
        code::MARIADB_UPDATE_ROWS_COMPRESSED => (Op::Update, true, true),
        code::MARIADB_DELETE_ROWS_COMPRESSED => (Op::Delete, true, true),
        other => return Err(malformed(format!("Event {other} holds no rows"))),
    })
}

/// Whether an event holds rows.
pub fn is_rows(of: u8) -> bool {
    kind(of).is_ok()
}

/// Places of the columns whose documents are logged as differences in the image that follows: the bitmap before it has
/// a bit for every JSON column of the table.
fn partial_documents(cursor: &mut Cursor<'_>, storages: &[Storage]) -> Result<Vec<usize>> {
    if cursor.packed()? & 1 == 0 {
        return Ok(Vec::new());
    }
    let is_json = |storage: &Storage| matches!(storage, Storage::Bytes { family: Family::Json, .. });
    let documents: Vec<_> = (0..storages.len()).filter(|place| is_json(&storages[*place])).collect();
    let bits = cursor.take(documents.len().div_ceil(8))?;
    let marked = documents.into_iter().enumerate().filter(|(number, _)| bit(bits, *number));
    Ok(marked.map(|(_, place)| place).collect())
}
