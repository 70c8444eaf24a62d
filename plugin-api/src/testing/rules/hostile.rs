use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};

use crate::{
    Budgets, Role,
    testing::{
        reading::{expected_lines, require_same_rows},
        report::{Kept, Stop, require},
        session::{Run, table},
        subject::Table,
        writing::token,
    },
    types::{Column, LogicalType},
};

/// Names that break whoever puts text together. All are legal in every SQL database when quoted.
const NAMES: [&str; 9] = [
    "select",
    "Mixed Case",
    "quote\"s and 'ticks'",
    "back`tick and back\\slash",
    "semi;colon -- comment",
    "dot.ted",
    "ünï ✓ 名前",
    "br[ack]et %s {{name}} $1",
    "'; drop table hub_victim; --",
];

/// Values that break whoever parses or puts together text.
const VALUES: [&str; 16] = [
    "'; drop table hub_victim; --",
    "\" or \"\"=\"",
    "back\\slash \\N \\n \\t \\0 \\x41",
    "\\N",
    "NULL",
    "",
    " ",
    "tab\tnew\nline\r\nreturn\r",
    "a,b;c|d",
    "{\"json\": [1, 2]}",
    "{{id}} ${id} %s $1 :id ?",
    "\u{feff}byte order mark",
    "e\u{301} is not é",
    "مرحبا \u{202e}rtl",
    "👩‍👩‍👧 \u{10ffff}",
    "\u{1}\u{1f}\u{7f}\u{85}\u{2028}",
];

/// Names and values are never code.
pub(in crate::testing) fn hostile_identifiers_and_values(run: &Run) -> Kept {
    let (mut read, mut written) = (0, 0);
    for name in NAMES {
        let table = hostile_table(name);
        if run.needs(Role::Source).is_ok() {
            let source = run.source(&table)?;
            let reads = run
                .read_table(&source, Budgets::default(), table.rows.num_rows())
                .map_err(|stop| stop.during(format!("Reading the table `{name}`")))?;
            let mut found = Vec::new();
            for read in &reads {
                found.extend(read.lines(&table.names(), 0..read.batches.len())?);
            }
            require_same_rows(&format!("Reading the table `{name}`"), expected_lines(&table)?, found)?;
            read += 1;
        }
        if run.needs(Role::Destination).is_ok() {
            write(run, &table).map_err(|stop| stop.during(format!("Writing the table `{name}`")))?;
            written += 1;
        }
    }
    Ok(format!("{read} tables read, {written} written"))
}

/// A column of each name, a row of each value, so that every value stands in every column.
fn hostile_table(name: &str) -> Table {
    let columns = NAMES.map(|name| Column::new(name, LogicalType::Text)).to_vec();
    let values = (0..NAMES.len()).map(|shift| {
        let rotated = (0..VALUES.len()).map(|row| VALUES[(row + shift) % VALUES.len()]);
        Arc::new(StringArray::from_iter_values(rotated)) as ArrayRef
    });
    let ids = Arc::new(Int64Array::from_iter_values((0_i64..).take(VALUES.len())));
    table(name, columns, ids, values.collect())
}

fn write(run: &Run, table: &Table) -> Result<(), Stop> {
    let destination = run.destination(table)?;
    let pipeline = format!("{} ' \" ; --", run.pipeline());
    let mut writing = run.writer(&destination, &pipeline)?;
    writing.write_all(table)?;
    writing.commit(&token(&pipeline, 1))?;
    drop(writing);
    require_same_rows("What was written", expected_lines(table)?, run.read_back(table)?)?;
    let last = run.writer(&destination, &pipeline)?.start.last;
    require(last.as_ref().is_some_and(|last| last.pipeline == pipeline && last.n == 1), || {
        format!("The token came back as {last:?}")
    })
}
