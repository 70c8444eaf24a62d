use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::array::{Array, ArrayRef, Int64Array};

use crate::{
    ErrorKind, Role,
    testing::{
        EdgeValues,
        cells::SEPARATOR,
        every_type,
        reading::{expected_lines, require_same_rows},
        report::{Kept, Stop, failed, require},
        session::{Run, table},
        subject::Table,
        writing::token,
    },
};

/// The column whose values are tried; an error about one must name it.
const COLUMN: &str = "edge_value";

/// Every row of the table of types is refused before the first row, or written and read back equal, or kept as text
/// in which different values stay different. A value at the edge may be refused, loudly.
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
    require_stored("Ordinary values", expected_lines(&typical)?, run.read_back(&typical)?)?;
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
        None => match run.read_back(table) {
            // Stored as it is, in a type that reaches further than what carries it: refused by the reader, by name.
            Err(Stop::Failed(message)) if message.contains(COLUMN) => Ok(false),
            found => require_stored("A value at the edge", expected, found?).map(|()| true),
        },
        Some(reason) => {
            require(reason.contains(COLUMN), || {
                format!("The refusal of {} does not name the column `{COLUMN}`: {reason}", shown())
            })?;
            Ok(false)
        }
    }
}

/// Fails unless the rows are equal, or hold texts in place of values: each row its own, nulls still null, and different
/// values still different. That is all that can be asked of a destination without the type.
fn require_stored(what: &str, expected: Vec<String>, found: Vec<String>) -> Result<(), Stop> {
    let by_id = |lines: &[String]| {
        let parts = lines.iter().filter_map(|line| line.split_once(SEPARATOR));
        parts.map(|(id, value)| (id.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>()
    };
    let (values, texts) = (by_id(&expected), by_id(&found));
    let is_text = |value: &str| value.starts_with("text ") || value.starts_with("json ");
    let is_kept = |(id, value): (&String, &String)| {
        texts
            .get(id)
            .is_some_and(|text| (value == "null" && text == "null") || (value != "null" && is_text(text)))
    };
    let different = |lines: &BTreeMap<String, String>| lines.values().collect::<BTreeSet<_>>().len();
    let as_text = values.len() == expected.len()
        && texts.len() == found.len()
        && values.len() == texts.len()
        && !values.values().any(|value| is_text(value))
        && values.iter().all(is_kept)
        && different(&values) == different(&texts);
    if as_text { Ok(()) } else { require_same_rows(what, expected, found) }
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
