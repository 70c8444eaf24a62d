use arrow::array::RecordBatch;
use clap::Args;
use connector_hub::{
    api::{Role, json},
    pipeline::PreviewStream,
};

use super::{
    endpoint::{EndpointArguments, Needs},
    exit::{Exit, Failure, Outcome},
    output::{Color, Output},
    rows,
    setup::Setup,
    text::{Table, count, plain},
};

/// Show the first rows of a source, without side effects
///
/// Nothing is made on the server and nothing is consumed: no slot, no position, no acknowledgement.
#[derive(Args)]
#[command(after_help = "\
Examples:
  connector-hub preview orders.yaml
  connector-hub preview sqlite --set file=orders.db --option statement='select * from orders' --rows 3
  connector-hub preview orders.yaml --json            One JSON object a row")]
pub struct Arguments {
    #[command(flatten)]
    endpoint: EndpointArguments,
    /// The most rows
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rows: u64,
}

pub fn run(arguments: &Arguments, setup: &Setup, output: &Output) -> Outcome {
    let endpoint = arguments.endpoint.resolve_one(setup, Needs::Rows)?;
    if endpoint.role != Role::Source {
        let message = format!("Strategy `{}` writes, so there is nothing to preview", endpoint.strategy);
        return Err(Failure::usage(
            message,
            "Name a source: `FILE#source`, or a connector with a strategy that reads",
        ));
    }
    let preview = setup.hub()?.preview(&endpoint.spec, arguments.rows)?;
    for part in &preview.streams {
        if output.json {
            for row in
                part.batches.iter().map(rows::as_json).collect::<Result<Vec<_>, _>>()?.into_iter().flatten()
            {
                output.line(json!({"stream": part.stream, "row": row}));
            }
        } else {
            show(output, part)?;
        }
    }
    if !output.json {
        let shown: usize =
            preview.streams.iter().flat_map(|part| &part.batches).map(RecordBatch::num_rows).sum();
        let more = if preview.more { ", there are more" } else { "" };
        output.note(format!("{}{more}", count(shown as u64, "row")));
    }
    Ok(Exit::Done)
}

fn show(output: &Output, part: &PreviewStream) -> Result<(), Failure> {
    output.line(output.paint(Color::Bold, &plain(&part.stream.to_string())));
    let names = part.columns.iter().map(|column| plain(&column.name)).collect();
    let right = part.batches.first().map(rows::number_columns).unwrap_or_default();
    let mut table = Table::with_names(names).right(right);
    for batch in &part.batches {
        rows::as_text(batch)?.into_iter().for_each(|row| table.row(row));
    }
    table.lines().into_iter().for_each(|line| output.line(line));
    output.line("");
    Ok(())
}
