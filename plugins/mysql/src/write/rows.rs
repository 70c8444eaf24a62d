//! Rows as files and statements.

use hub_plugin_api::{Result, arrow::array::RecordBatch};

use super::cell::ColumnPlan;

/// Bytes of one statement with many rows. Below the least `max_allowed_packet` that a server comes with.
pub(super) const STATEMENT_BYTES: usize = 1 << 20;

/// A row of a batch whose value cannot be stored.
#[derive(Debug)]
pub(super) struct BadRow {
    pub reason: String,
}

/// Appends rows as LOAD DATA reads them.
pub(super) fn put_lines(
    plan: &[ColumnPlan],
    batch: &RecordBatch,
    rows: impl IntoIterator<Item = usize>,
    out: &mut Vec<u8>,
) -> Result<(), BadRow> {
    for row in rows {
        for (index, way) in plan.iter().enumerate() {
            if index > 0 {
                out.push(b'\t');
            }
            way.put(batch.column(way.index).as_ref(), row, out).map_err(|reason| BadRow { reason })?;
        }
        out.push(b'\n');
    }
    Ok(())
}

/// A row as a list of expressions in parentheses.
pub(super) fn tuple(plan: &[ColumnPlan], batch: &RecordBatch, row: usize) -> Result<String, BadRow> {
    let mut text = String::from("(");
    for (index, way) in plan.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        let value = way.literal(batch.column(way.index).as_ref(), row);
        text.push_str(&value.map_err(|reason| BadRow { reason })?);
    }
    text.push(')');
    Ok(text)
}

/// A row's values as expressions.
pub(super) fn values(plan: &[ColumnPlan], batch: &RecordBatch, row: usize) -> Result<Vec<String>, BadRow> {
    let value = |way: &ColumnPlan| way.literal(batch.column(way.index).as_ref(), row);
    plan.iter().map(value).collect::<Result<_, _>>().map_err(|reason| BadRow { reason })
}
