use clap::Args;
use connector_hub::pipeline::pipeline_schema;

use super::{
    connectors::newest,
    exit::{Exit, Outcome},
    output::Output,
    setup::Setup,
};

/// Print the JSON Schema of pipeline files, for editors
///
/// It holds the parameters of every connector whose plugin is found, so an editor completes and checks them too.
#[derive(Args)]
#[command(after_help = "\
Example:
  connector-hub schema > pipeline.schema.json
  and as the first line of a pipeline file:
  # yaml-language-server: $schema=pipeline.schema.json")]
pub struct Arguments {}

pub fn run(_: &Arguments, setup: &Setup, output: &Output) -> Outcome {
    let connectors = newest(setup.registry()?.connectors());
    let specs: Vec<_> = connectors.into_iter().map(|connector| connector.spec).collect();
    if specs.is_empty() {
        output.warning("No plugin was found, so the schema holds no connector's parameters");
        output.hint("`connector-hub plugins doctor` says where plugins are looked for");
    }
    output.json_pretty(&pipeline_schema(&specs));
    Ok(Exit::Done)
}
