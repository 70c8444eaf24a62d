use clap::{Args, Subcommand};
use connector_hub::{
    api::{ConnectorKind, ConnectorSpec, Group, Mode, Parameter, ParameterKind, Role, Strategy, json},
    pipeline::connector_schema,
    plugins::LoadedConnector,
};

use super::{
    exit::{Exit, Outcome},
    output::{Color, Output},
    setup::Setup,
    text::{Table, wrap},
};

/// What is done with connectors.
#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  connector-hub connectors list
  connector-hub connectors show postgres
  connector-hub connectors show postgres@^1 --json-schema")]
pub enum Command {
    /// List what can be read from and written to
    List,
    /// Show a connector's parameters and strategies
    Show(Show),
}

#[derive(Args)]
pub struct Show {
    /// A connector's id, perhaps with a version: `postgres`, `postgres@1`, `postgres@^1.2`
    #[arg(value_name = "CONNECTOR")]
    connector: String,
    /// Print the JSON Schema of its parameters and options
    #[arg(long)]
    json_schema: bool,
}

pub fn run(command: &Command, setup: &Setup, output: &Output) -> Outcome {
    match command {
        Command::List => list(setup, output),
        Command::Show(arguments) => show(arguments, setup, output),
    }
}

/// The newest version of each connector, by id.
pub fn newest(mut connectors: Vec<LoadedConnector>) -> Vec<LoadedConnector> {
    connectors.dedup_by(|later, first| later.spec.id == first.spec.id);
    connectors
}

fn list(setup: &Setup, output: &Output) -> Outcome {
    let connectors = setup.registry()?.connectors();
    if output.json {
        let all: Vec<_> = connectors.iter().map(as_json).collect();
        output.json_pretty(&all);
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["connector", "version", "name", "reads", "writes"]);
    for connector in &connectors {
        let spec = &connector.spec;
        let ids = |role| {
            let ids: Vec<_> = strategies(spec, role).map(|strategy| strategy.id.as_str()).collect();
            if ids.is_empty() { "-".to_owned() } else { ids.join(", ") }
        };
        let (reads, writes) = (ids(Role::Source), ids(Role::Destination));
        table.row([spec.id.clone(), connector.plugin_version.to_string(), spec.label.clone(), reads, writes]);
    }
    if table.is_empty() {
        output.note("No connector was found");
        output.hint("`connector-hub plugins doctor` says where plugins are looked for");
    } else {
        table.lines().into_iter().for_each(|line| output.line(line));
    }
    Ok(Exit::Done)
}

fn as_json(connector: &LoadedConnector) -> connector_hub::api::Value {
    json!({
        "plugin": connector.plugin, "version": connector.plugin_version.to_string(), "file": connector.path,
        "sha256": connector.sha256, "spec": connector.spec,
    })
}

fn show(arguments: &Show, setup: &Setup, output: &Output) -> Outcome {
    let connector = setup.connector(&arguments.connector)?;
    if arguments.json_schema {
        output.json_pretty(&connector_schema(&connector.spec));
        return Ok(Exit::Done);
    }
    if output.json {
        output.json_pretty(&as_json(&connector));
        return Ok(Exit::Done);
    }
    let spec = &connector.spec;
    let kind = match spec.kind {
        ConnectorKind::Relational => "relational database",
        ConnectorKind::NonRelational => "non-relational database",
        ConnectorKind::File => "files",
        ConnectorKind::Other => "other",
    };
    output.line(format!("{}  {} ({kind})", output.paint(Color::Bold, &spec.id), spec.label));
    output.line(format!(
        "plugin {} {}, {}",
        connector.plugin,
        connector.plugin_version,
        connector.path.display()
    ));
    output.line("");
    output.line(
        output.paint(Color::Bold, "Parameters (`config:` in a pipeline file, `--set` on the command line)"),
    );
    parameters(output, &spec.parameters);
    for strategy in &spec.strategies {
        output.line("");
        let does = match (strategy.role, strategy.mode) {
            (Role::Destination, _) => "writes",
            (Role::Source, Mode::Batch) => "reads and ends",
            (Role::Source, Mode::Stream) => "reads until it is stopped",
        };
        let title = format!("Strategy {}: {}", strategy.id, strategy.label);
        output.line(format!("{}  ({does}, {})", output.paint(Color::Bold, &title), strategy.guarantee));
        wrap(&strategy.description, 100).into_iter().for_each(|line| output.line(line));
        parameters(output, &strategy.options);
    }
    Ok(Exit::Done)
}

fn strategies(spec: &ConnectorSpec, role: Role) -> impl Iterator<Item = &Strategy> {
    spec.strategies.iter().filter(move |strategy| strategy.role == role)
}

fn parameters(output: &Output, parameters: &[Parameter]) {
    for (group, title) in [(Group::Standard, ""), (Group::Advanced, "  advanced:")] {
        let of_group: Vec<_> = parameters.iter().filter(|parameter| parameter.group == group).collect();
        if of_group.is_empty() {
            continue;
        }
        if !title.is_empty() {
            output.line(output.paint(Color::Dim, title));
        }
        let width = of_group.iter().map(|parameter| parameter.id.len()).max().unwrap_or(0);
        for parameter in of_group {
            output.line(format!("  {:<width$}  {}", parameter.id, facts(parameter)));
            let indent = " ".repeat(width + 4);
            wrap(&parameter.description, 90)
                .into_iter()
                .for_each(|line| output.line(format!("{indent}{line}")));
        }
    }
}

/// `number from 1 to 65535, default 5432`.
fn facts(parameter: &Parameter) -> String {
    let mut kind = match &parameter.kind {
        ParameterKind::Text => "text".to_owned(),
        ParameterKind::Multiline => "text, may have several lines".to_owned(),
        ParameterKind::Number => "number".to_owned(),
        ParameterKind::Password => "password".to_owned(),
        ParameterKind::Boolean => "true or false".to_owned(),
        ParameterKind::Dropdown(options) => {
            options.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(" | ")
        }
        ParameterKind::List => "list".to_owned(),
        ParameterKind::File => "path of a file".to_owned(),
        ParameterKind::Structured => "structured".to_owned(),
        _ => "value".to_owned(),
    };
    match (parameter.min, parameter.max) {
        (Some(min), Some(max)) => kind.push_str(&format!(" from {min} to {max}")),
        (Some(min), None) => kind.push_str(&format!(" of at least {min}")),
        (None, Some(max)) => kind.push_str(&format!(" of at most {max}")),
        (None, None) => {}
    }
    let mut facts = vec![parameter.label.clone(), kind];
    match &parameter.default {
        Some(connector_hub::api::Value::String(text)) => facts.push(format!("default `{text}`")),
        Some(default) => facts.push(format!("default `{default}`")),
        None if parameter.required => facts.push("required".to_owned()),
        None => {}
    }
    if !parameter.applies_to.is_empty() {
        facts.push(format!("for {}", parameter.applies_to.join(", ")));
    }
    facts.join(", ")
}
