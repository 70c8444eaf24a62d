use clap::Args;
use connector_hub::api::{Error, ErrorKind, json};

use super::{
    exit::{Exit, Outcome},
    output::Output,
    setup::Setup,
    text::Table,
};

/// The longest piece of a row that a table shows.
const MAX_ROW_CHARS: usize = 80;

/// Show the rows that a side of a pipeline refused
///
/// With `on_rejected: dead_letter` a run keeps such rows in the hub's store and goes on. Each is shown with who refused
/// it and why; `--json` has the whole row, and the token that it would have been part of.
#[derive(Args)]
#[command(after_help = "\
Examples:
  connector-hub dead-letters orders
  connector-hub dead-letters orders --json > refused.ndjson
  connector-hub dead-letters orders --after 100       Those behind number 100

The rows stay in the store. Give the same --home as the run's.")]
pub struct Arguments {
    /// The pipeline's name, as its file says
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// Only rows behind this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: i64,
    /// The most rows
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

pub fn run(arguments: &Arguments, setup: &Setup, output: &Output) -> Outcome {
    let (hub, name) = (setup.hub()?, arguments.pipeline.as_str());
    if hub.store().pipeline(name)?.is_none() {
        let error = Error::new(ErrorKind::NotFound, format!("Pipeline `{name}` never ran"));
        return Err(error.with_hint("Give the `name` in the pipeline's file, and the same `--home`").into());
    }
    // One more than asked for tells whether there are more.
    let mut letters = hub.store().dead_letters(name, arguments.after, arguments.limit.saturating_add(1))?;
    let more = letters.len() > arguments.limit as usize;
    letters.truncate(arguments.limit as usize);
    let mut table = Table::new(&["number", "stream", "refused by", "reason", "row"]);
    for (number, letter) in &letters {
        if output.json {
            output.json_line(&json!({ "number": number, "letter": letter }));
            continue;
        }
        table.row([
            number.to_string(),
            letter.stream.clone(),
            letter.side.clone(),
            letter.reason.clone(),
            short(&letter.payload),
        ]);
    }
    if letters.is_empty() {
        output.note(if arguments.after > 0 { "There are no more" } else { "No row was refused" });
    } else if !output.json {
        table.lines().into_iter().for_each(|line| output.line(line));
    }
    if let (true, Some((last, _))) = (more, letters.last()) {
        output.note(format!("There are more: `--after {last}`"));
    }
    Ok(Exit::Done)
}

fn short(row: &str) -> String {
    match row.char_indices().nth(MAX_ROW_CHARS) {
        Some((end, _)) => format!("{}…", &row[..end]),
        None => row.to_owned(),
    }
}
