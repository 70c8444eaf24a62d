use arrow::{
    array::{Array, ArrayData, RecordBatch},
    datatypes::DataType,
};

use crate::{
    Boundary, Budgets, Event, Role,
    testing::{
        block_on,
        reading::{Planned, Read, expected_lines, read_split, require_same_rows},
        report::{Kept, Stop, failed, require},
        session::{Run, plain_table},
        subject::{Source, Table},
    },
};

/// Every row comes once, in events whose order the host can rely on.
pub(in crate::testing) fn reads_all_rows(run: &Run) -> Kept {
    run.needs(Role::Source)?;
    let mut all = 0;
    for (name, rows) in [("hub_read_all", 1000), ("hub_read_none", 0)] {
        let table = plain_table(name, 0..rows, 20);
        let source = run.source(&table)?;
        let reads = run.read_table(&source, Budgets::default(), table.rows.num_rows())?;
        let mut found = Vec::new();
        for read in &reads {
            found.extend(read.lines(&table.names(), 0..read.batches.len())?);
        }
        require_same_rows(&format!("Table of {rows} rows"), expected_lines(&table)?, found)?;
        all += rows;
    }
    Ok(format!("{all} rows, and none of an empty table"))
}

const SMALL: Budgets =
    Budgets { max_batch_bytes: 1 << 20, max_batch_rows: 100, max_delay_ms: 50, max_value_bytes: 1 << 20 };

/// Opened at a boundary's position, by a new process, a split brings exactly the rows that lie behind it.
pub(in crate::testing) fn resumes_from_each_boundary(run: &Run) -> Kept {
    run.needs(Role::Source)?;
    let table = plain_table("hub_resume", 0..1000, 20);
    let source = run.source(&table)?;
    let pipeline = run.pipeline();
    let planned = run.plan(&source, &pipeline, None)?;
    let mut tried = 0;
    for split in planned.in_order()? {
        let read = planned.read(&split, None, SMALL, table.rows.num_rows(), false)?;
        let with_position = |one: &'_ (usize, Boundary)| {
            one.1.position.clone().map(|position| (one.0, one.1.number, position))
        };
        let boundaries: Vec<_> = read.boundaries.iter().filter_map(with_position).collect();
        for (before, number, position) in sample(&boundaries) {
            // The server may have lost what only the connection held; the stored plan is all that a new process has.
            let again = run.plan(&source, &pipeline, Some(planned.description.clone()))?;
            let Some(same) = again.description.splits.iter().find(|one| one.id == split.id).cloned() else {
                return failed(format!("The plan of a restart has no split `{}`", split.id));
            };
            resume(&again, &same, position, &table, &read, *before)
                .map_err(|stop| stop.during(format!("Boundary {number} at {}", position.as_value())))?;
            tried += 1;
        }
        repeat(&planned, &split, &table, &read)?;
    }
    planned.release(&pipeline)?;
    match &source.without_positions {
        Some(reason) => {
            require(tried == 0, || {
                "Boundaries have positions, though the subject says that they have none".into()
            })?;
            Ok(format!("no positions, a restart repeats the split: {reason}"))
        }
        None => {
            require(tried > 0, || {
                "No boundary has a position; say why by `Source::without_positions`".into()
            })?;
            Ok(format!("resumed at {tried} boundaries"))
        }
    }
}

/// Ten of many: the first, the last, and some between.
fn sample<T>(all: &[T]) -> Vec<&T> {
    let step = all.len().div_ceil(9).max(1);
    let mut some: Vec<_> = all.iter().step_by(step).collect();
    if all.len() > 1 && !(all.len() - 1).is_multiple_of(step) {
        some.extend(all.last());
    }
    some
}

fn resume(
    again: &Planned,
    split: &crate::Split,
    position: &crate::Position,
    table: &Table,
    whole: &Read,
    before: usize,
) -> Result<(), Stop> {
    let expected = whole.lines(&table.names(), before..whole.batches.len())?;
    let mut reader = again.open(split, Some(position.clone()), SMALL)?;
    if !split.bounded && expected.is_empty() {
        // Nothing more comes: a row that does, comes twice.
        return match block_on(reader.next(std::time::Duration::from_millis(500)))? {
            Event::Rows(rows) => failed(format!("{} rows came twice", rows.batch.num_rows())),
            _ => Ok(()),
        };
    }
    let rest = read_split(&mut *reader, split, expected.len())?;
    require_same_rows("The rows behind it", expected, rest.lines(&table.names(), 0..rest.batches.len())?)
}

/// Without a position, and with nothing durable, a split begins again.
fn repeat(planned: &Planned, split: &crate::Split, table: &Table, whole: &Read) -> Result<(), Stop> {
    if !split.bounded {
        return Ok(());
    }
    let again = planned.read(split, None, SMALL, table.rows.num_rows(), false)?;
    let (first, second) = (
        whole.lines(&table.names(), 0..whole.batches.len())?,
        again.lines(&table.names(), 0..again.batches.len())?,
    );
    require_same_rows("The split opened again without a position", first, second)
}

/// No batch is larger than its budgets, and a value beyond its own is a loud error.
pub(in crate::testing) fn bounded_memory(run: &Run) -> Kept {
    run.needs(Role::Source)?;
    let table = plain_table("hub_bounded", 0..2000, 300);
    let source = run.source(&table)?;
    let bytes = 32 << 10;
    let (mut most_rows, mut most_bytes) = (0, 0);
    for (max_batch_rows, max_batch_bytes) in [(64, 1 << 20), (10_000, bytes)] {
        let budgets = Budgets { max_batch_rows, max_batch_bytes, ..SMALL };
        for read in run.read_table(&source, budgets, table.rows.num_rows())? {
            for batch in &read.batches {
                let (rows, bytes) = (batch.num_rows(), batch_bytes(batch)?);
                require(rows as u64 <= max_batch_rows, || {
                    format!("A batch has {rows} rows; `max_batch_rows` is {max_batch_rows}")
                })?;
                // A reader may count bytes as its source sends them, which is not Arrow's way.
                require(bytes as u64 <= 2 * max_batch_bytes || rows == 1, || {
                    format!(
                        "A batch has {bytes} bytes, over twice `max_batch_bytes`, which is {max_batch_bytes}"
                    )
                })?;
                (most_rows, most_bytes) = (most_rows.max(rows), most_bytes.max(bytes));
            }
        }
    }
    too_large_a_value(run)?;
    Ok(format!("at most {most_rows} rows and {most_bytes} bytes in a batch"))
}

fn too_large_a_value(run: &Run) -> Result<(), Stop> {
    let table = plain_table("hub_large", 0..2, 5000);
    let source: Source = run.source(&table)?;
    let budgets = Budgets { max_value_bytes: 1000, ..SMALL };
    match run.read_table(&source, budgets, table.rows.num_rows()) {
        Ok(_) => failed("A value of 5,000 bytes came, though `max_value_bytes` is 1,000"),
        Err(Stop::Failed(message)) => require(message.contains("note"), || {
            format!("The error about a value beyond `max_value_bytes` must name its column `note`: {message}")
        }),
        Err(stop) => Err(stop),
    }
}

/// The bytes that the rows take, not those that their buffers have room for.
fn batch_bytes(batch: &RecordBatch) -> Result<usize, Stop> {
    let bytes = |data: ArrayData| match data.data_type() {
        DataType::Null => Ok(0),
        _ => data.get_slice_memory_size(),
    };
    let sizes = batch.columns().iter().map(|column| bytes(column.to_data()));
    Ok(sizes.sum::<Result<usize, _>>().map_err(crate::Error::from)?)
}
