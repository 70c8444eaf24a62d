use clap::Args;
use connector_hub::{
    Hub,
    api::{CheckReport, CheckStatus, CheckStep, ErrorKind, json},
};

use super::{
    endpoint::{Endpoint, EndpointArguments, Needs},
    exit::{Exit, Outcome},
    output::{Color, Output},
    setup::Setup,
    text::plain,
};

/// Test a connection, step by step
#[derive(Args)]
#[command(after_help = "\
Examples:
  connector-hub check orders.yaml                     Both sides of a pipeline
  connector-hub check orders.yaml#destination         One side
  connector-hub check sqlite --set file=orders.db
  connector-hub check postgres --set host=db --set password='${env:PGPASSWORD}'

A step passes (✓), works with a remark (!), fails (✗) or is skipped (-).
A line `fix:` is the statement to run. Exit code 3 says that a step failed.")]
pub struct Arguments {
    #[command(flatten)]
    endpoint: EndpointArguments,
}

pub fn run(arguments: &Arguments, setup: &Setup, output: &Output) -> Outcome {
    let endpoints = arguments.endpoint.resolve_all(setup, Needs::Connection)?;
    let hub = setup.hub()?;
    let mut passed = true;
    let mut results = Vec::new();
    for endpoint in &endpoints {
        let side = endpoint.side.map_or(String::new(), |side| format!("{side} "));
        if !output.json {
            let title = format!("{side}{} ({})", endpoint.spec.connector, endpoint.strategy);
            output.line(output.paint(Color::Bold, &title));
        }
        let report = check(&hub, endpoint, output)?;
        passed &= report.passed();
        results.push(json!({
            "side": endpoint.side, "connector": endpoint.spec.connector, "strategy": endpoint.strategy,
            "passed": report.passed(), "steps": report.steps,
        }));
    }
    if output.json {
        output.json_pretty(&json!({"passed": passed, "endpoints": results}));
    }
    Ok(if passed { Exit::Done } else { Exit::CheckFailed })
}

/// A connection that cannot be made is a failed step, not a failure to test.
fn check(hub: &Hub, endpoint: &Endpoint, output: &Output) -> Result<CheckReport, super::exit::Failure> {
    let shown = Output::new(output.json);
    let result = hub.check(&endpoint.spec, move |step| show(&shown, step));
    match result {
        Ok(report) => Ok(report),
        Err(error) if error.kind == ErrorKind::InvalidConfig => Err(error.into()),
        Err(error) => {
            let step = CheckStep::failed("connect", &error);
            show(output, &step);
            Ok(CheckReport { steps: vec![step] })
        }
    }
}

fn show(output: &Output, step: &CheckStep) {
    if output.json {
        return;
    }
    let mark = match step.status {
        CheckStatus::Passed => output.paint(Color::Green, "✓"),
        CheckStatus::Warning => output.paint(Color::Yellow, "!"),
        CheckStatus::Failed => output.paint(Color::Red, "✗"),
        CheckStatus::Skipped => output.paint(Color::Dim, "-"),
    };
    output.line(format!("  {mark} {:<15} {}", step.step, plain(&step.message)));
    let indented = |label: &str, text: &str| {
        for line in text.lines() {
            output.line(format!("    {} {}", output.paint(Color::Cyan, label), plain(line)));
        }
    };
    if let Some(field) = step.field.as_deref().filter(|_| step.status != CheckStatus::Passed) {
        indented("field:", field);
    }
    step.hint.iter().for_each(|hint| indented("hint:", hint));
    step.fix.iter().for_each(|fix| indented("fix:", fix));
}
