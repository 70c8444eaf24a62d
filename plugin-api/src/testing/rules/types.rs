use std::{collections::BTreeSet, sync::Arc};

use arrow::array::{Array, ArrayRef, Int64Array};

use crate::{
    ErrorKind, Role,
    testing::{
        EdgeValues, every_type,
        reading::{expected_lines, require_same_rows},
        report::{Kept, Stop, failed, require},
        session::{Run, table},
        subject::Table,
        writing::token,
    },
};

/// The column whose values are tried; an error about one must name it.
const COLUMN: &str = "edge_value";

/// Every row of the table of types is refused before the first row, or written and read back equal. A value at the
/// edge may be refused, loudly.
pub(in crate::testing) fn every_type_row(run: &Run) -> Kept {
    run.needs(Role::Destination)?;
    let (mut mapped, mut refused, mut loud) = (0, BTreeSet::new(), 0);
    let mut problems = Vec::new();
    for (number, values) in every_type().into_iter().enumerate() {
        match try_type(run, number, &values) {
            Ok(Tried::Mapped { refused_values }) => {
                mapped += 1;
                loud += refused_values;
            }
            Ok(Tried::Refused) => drop(refused.insert(format!("{:?}", values.column.logical))),
            Err(Stop::Failed(message)) => {
                problems.push(format!("{:?}: {message}", values.column.logical));
            }
            Err(stop) => return Err(stop),
        }
    }
    if !problems.is_empty() {
        return failed(problems.join("\n"));
    }
    require(mapped > 0, || "Every type was refused".into())?;
    let refused = match refused.len() {
        0 => "none".into(),
        _ => refused.into_iter().collect::<Vec<_>>().join(", "),
    };
    Ok(format!("{mapped} types mapped, {loud} values at the edge refused; types refused: {refused}"))
}

enum Tried {
    Mapped { refused_values: usize },
    Refused,
}

fn try_type(run: &Run, number: usize, values: &EdgeValues) -> Result<Tried, Stop> {
    let typical = type_table(format!("hub_type_{number}"), values, values.typical.clone());
    let destination = run.destination(&typical)?;
    let pipeline = run.pipeline();
    let mut writing = run.writer(&destination, &pipeline)?;
    if let Err(error) = writing.schema(&typical) {
        let refused = matches!(error.kind, ErrorKind::UnsupportedType | ErrorKind::SchemaMismatch);
        require(refused, || format!("The schema was refused as `{}`: {error}", error.kind))?;
        require(names_column(&error), || {
            format!("The refusal of the schema does not name `{COLUMN}`: {error}")
        })?;
        return Ok(Tried::Refused);
    }
    writing.rows(&typical)?;
    if let Some(row) = writing.flush()?.first() {
        return failed(format!("Ordinary row {} was refused: {}", row.row, row.reason));
    }
    writing.commit(&token(&pipeline, 1))?;
    require_same_rows("Ordinary values", expected_lines(&typical)?, run.read_back(&typical)?)?;
    drop(writing);

    let mut refused_values = 0;
    for row in 0..values.extreme.len() {
        let value = values.extreme.slice(row, 1);
        let extreme = type_table(format!("hub_type_{number}_{row}"), values, value);
        refused_values += usize::from(!try_value(run, &extreme)?);
    }
    Ok(Tried::Mapped { refused_values })
}

/// Whether a value was taken; a refusal must be loud.
fn try_value(run: &Run, table: &Table) -> Result<bool, Stop> {
    let expected = expected_lines(table)?;
    let shown = || expected.join(", ").chars().take(120).collect::<String>();
    let destination = run.destination(table)?;
    let pipeline = run.pipeline();
    let mut writing = run.writer(&destination, &pipeline)?;
    writing.schema(table)?;
    let flushed = writing.rows(table).and_then(|()| writing.flush());
    let loud = match flushed {
        Ok(rejected) => match rejected.first() {
            Some(row) => Some(row.reason.clone()),
            None => writing.commit(&token(&pipeline, 1)).err().map(|error| error.to_string()),
        },
        Err(error) => Some(error.to_string()),
    };
    match loud {
        None => require_same_rows("A value at the edge", expected, run.read_back(table)?).map(|()| true),
        Some(reason) => {
            require(reason.contains(COLUMN), || {
                format!("The refusal of {} does not name the column `{COLUMN}`: {reason}", shown())
            })?;
            Ok(false)
        }
    }
}

fn names_column(error: &crate::Error) -> bool {
    error.field.as_deref() == Some(COLUMN) || error.to_string().contains(COLUMN)
}

fn type_table(name: String, values: &EdgeValues, array: ArrayRef) -> Table {
    let mut column = values.column.clone();
    column.name = COLUMN.into();
    let ids = Arc::new(Int64Array::from_iter_values((0_i64..).take(array.len())));
    table(&name, vec![column], ids, vec![array])
}
