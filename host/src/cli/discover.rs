use clap::Args;
use connector_hub::{
    ConfigValue, ConnectionConfig, ConnectionHandle,
    api::{DiscoverRequest, StreamDescription, StreamId, json, types::LogicalType},
    env, file,
    pipeline::{EndpointSpec, SecretReference},
    secret,
};

use super::{
    endpoint::{EndpointArguments, Needs},
    exit::{Exit, Failure, Outcome},
    output::{Color, Output},
    setup::Setup,
    text::{Table, bytes, count, number, plain},
};

/// How many streams are described at a time.
const DESCRIBE_AT_ONCE: usize = 50;

/// List tables, collections and the like, with their columns
#[derive(Args)]
#[command(after_help = "\
Examples:
  connector-hub discover orders.yaml                  The source of a pipeline
  connector-hub discover orders.yaml#destination --filter order
  connector-hub discover sqlite --set file=orders.db --columns")]
pub struct Arguments {
    #[command(flatten)]
    endpoint: EndpointArguments,
    /// Only streams whose name or namespace contains this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Show columns, keys and estimates too
    #[arg(long)]
    columns: bool,
    /// The most streams
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub fn run(arguments: &Arguments, setup: &Setup, output: &Output) -> Outcome {
    let endpoint = arguments.endpoint.resolve_one(setup, Needs::Connection)?;
    let connection = setup.hub()?.connect(&endpoint.spec.connector, parameters(&endpoint.spec))?;
    let (streams, more) = list(&connection, arguments)?;
    if arguments.columns {
        let mut described = Vec::new();
        for some in streams.chunks(DESCRIBE_AT_ONCE) {
            described.extend(connection.describe(some)?);
        }
        if output.json {
            output.json_pretty(&json!({"streams": described, "more": more}));
        } else {
            described.iter().for_each(|stream| show(output, stream));
        }
    } else if output.json {
        output.json_pretty(&json!({"streams": streams, "more": more}));
    } else {
        streams.iter().for_each(|stream| output.line(plain(&stream.to_string())));
    }
    if more {
        output.hint(format!(
            "There are more than {}; narrow them with `--filter`, or raise `--limit`",
            streams.len()
        ));
    }
    Ok(Exit::Done)
}

fn list(connection: &ConnectionHandle, arguments: &Arguments) -> Result<(Vec<StreamId>, bool), Failure> {
    let limit = arguments.limit as usize;
    let (mut streams, mut after) = (Vec::new(), None);
    loop {
        let request = DiscoverRequest { filter: arguments.filter.clone(), after, limit: arguments.limit };
        let page = connection.discover(&request)?;
        streams.extend(page.streams);
        after = page.next;
        if streams.len() >= limit || after.is_none() {
            let more = streams.len() > limit || after.is_some();
            streams.truncate(limit);
            return Ok((streams, more));
        }
    }
}

fn show(output: &Output, stream: &StreamDescription) {
    let mut facts = vec![stream.kind.clone()];
    facts.extend(stream.estimated_rows.map(|rows| format!("about {}", count(rows, "row"))));
    facts.extend(stream.estimated_bytes.map(|size| format!("about {}", bytes(size))));
    facts.retain(|fact| !fact.is_empty());
    let name = output.paint(Color::Bold, &plain(&stream.stream.to_string()));
    output.line(format!("{name}  {}", facts.join(", ")).trim_end());
    let mut table = Table::new(&["  column", "type", "carried as", "null", "key"]);
    for column in &stream.columns {
        let carried = carried_as(&column.logical);
        table.row([
            format!("  {}", column.name),
            column.declared.clone().unwrap_or_else(|| carried.clone()),
            carried,
            if column.nullable { "yes" } else { "no" }.to_owned(),
            column.key.map_or_else(String::new, |ordinal| number(u64::from(ordinal) + 1)),
        ]);
    }
    table.lines().into_iter().for_each(|line| output.line(line));
    output.line("");
}

/// `int64`, `decimal(12, 2)`, in the words of the type table.
fn carried_as(logical: &LogicalType) -> String {
    match serde_json::to_value(logical) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(serde_json::Value::Object(fields)) => match fields.into_iter().next() {
            Some((name, details)) => format!("{name}{}", in_brackets(&details)),
            None => String::new(),
        },
        _ => format!("{logical:?}"),
    }
}

fn in_brackets(details: &serde_json::Value) -> String {
    let short = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    let parts: Vec<_> = match details {
        serde_json::Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| format!("{name} {}", short(value)))
            .collect(),
        serde_json::Value::Array(items) => items.iter().map(short).collect(),
        other => vec![short(other)],
    };
    if parts.is_empty() { String::new() } else { format!("({})", parts.join(", ")) }
}

/// The parameters of an endpoint, without its strategy.
fn parameters(endpoint: &EndpointSpec) -> ConnectionConfig {
    let values = endpoint.config.iter().map(|(id, value)| (id, ConfigValue::from(value.clone())));
    let secrets = endpoint.secrets.iter().map(|(id, reference)| {
        let value = match reference {
            SecretReference::Env(name) => env(name),
            SecretReference::File(path) => file(path),
            SecretReference::Literal(value) => secret(value.expose()),
        };
        (id, value)
    });
    values.chain(secrets).fold(ConnectionConfig::new(), |config, (id, value)| config.with(id, value))
}
