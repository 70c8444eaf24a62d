use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use connector_hub::{
    api::{Position, StartAt, Value},
    pipeline::{
        Outcome as RunOutcome, PipelineFile, PipelineSpec, RunEvent, RunOptions, RunSummary, StopSignal,
        Trust,
    },
};

use super::{
    exit::{Exit, Failure, Outcome},
    output::{Color, Output},
    progress::Progress,
    setup::Setup,
    signals,
    text::{bytes, count, duration, number, per_second, plain},
};

/// So many refused rows are told one by one; the summary counts all.
const REJECTED_SHOWN: u64 = 5;

/// Run a pipeline
///
/// Rows move until the source ends or a signal stops the run. What was committed stays; the same command again goes on
/// where the last run stopped, also after a crash.
#[derive(Args)]
#[command(after_help = "\
Examples:
  connector-hub run orders.yaml
  connector-hub run orders.yaml --from-scratch        Forget all positions, read all again
  connector-hub run orders.yaml --json | jq .event    One JSON object an event

The first SIGINT (Ctrl-C) or SIGTERM commits what was read and stops with exit code 130 or 143.
The second one stops at once, and what was not committed is rolled back.")]
pub struct Arguments {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Forget every position and read everything again
    #[arg(long, conflicts_with = "from")]
    from_scratch: bool,
    /// Where a pipeline begins that has not run yet: `earliest`, `latest`, a time (RFC 3339), or a position (JSON)
    #[arg(long, value_name = "POSITION", value_parser = start_at)]
    from: Option<StartAt>,
    /// Which side to believe when the store and the destination disagree about what was committed
    #[arg(long, value_name = "SIDE")]
    trust: Option<TrustArgument>,
}

#[derive(Clone, Copy, ValueEnum)]
enum TrustArgument {
    /// The token beside the rows
    Destination,
    /// The positions in the hub's store
    Store,
}

fn start_at(text: &str) -> Result<StartAt, String> {
    match text {
        "earliest" => Ok(StartAt::Earliest),
        "latest" => Ok(StartAt::Latest),
        _ if text.starts_with('{') => serde_json::from_str::<Value>(text)
            .map(|value| StartAt::Position(Position::from(value)))
            .map_err(|error| format!("the position is not valid JSON: {error}")),
        _ if is_time(text) => Ok(StartAt::Time(text.to_owned())),
        _ => {
            Err("write `earliest`, `latest`, a time as `2030-01-31T12:00:00Z`, or a position as JSON".into())
        }
    }
}

/// Whether a text looks like RFC 3339: the source reads it, and refuses a day that is none.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else { return false };
    let zone = rest.strip_prefix('.').map_or(rest, |fraction| fraction.trim_start_matches('0'));
    matches!(zone, "Z" | "+00:00" | "-00:00")
}

pub fn run(arguments: &Arguments, setup: &Setup, output: &Output) -> Outcome {
    let spec = read(&arguments.file, setup)?;
    let hub = setup.hub()?;
    let stop = StopSignal::new();
    let first = signals::listen(&stop, told(Output::new(output.json)))?;
    let options = RunOptions {
        from_scratch: arguments.from_scratch,
        start_at: arguments.from.clone(),
        trust: arguments.trust.map(|trust| match trust {
            TrustArgument::Destination => Trust::Destination,
            TrustArgument::Store => Trust::Store,
        }),
    };
    let mut teller =
        Teller { output, progress: (!output.json).then(Progress::new), rejected: 0, was_failure_told: false };
    let result = hub.run(&spec, &options, &stop, |event| teller.event(&event));
    let was_failure_told = teller.was_failure_told;
    drop(teller);
    let summary =
        result.map_err(|error| if was_failure_told { Failure::Run(error) } else { Failure::Error(error) })?;
    if !output.json {
        show(output, &summary);
    }
    Ok(match summary.outcome {
        RunOutcome::Stopped => Exit::Stopped(first.number().unwrap_or(15)),
        RunOutcome::Completed if summary.dead_letters > 0 => Exit::DeadLetters,
        RunOutcome::Completed => Exit::Done,
    })
}

fn read(path: &std::path::Path, setup: &Setup) -> Result<PipelineSpec, Failure> {
    let file = PipelineFile::read(path)?;
    Ok(file.resolve_with(|reference| setup.connector(reference).map(|found| found.spec))?)
}

fn told(output: Output) -> impl Fn(u32) + Send + 'static {
    move |count| match count {
        1 => output.note("Stopping after a commit; once more stops at once"),
        2 => output.note("Stopping at once; what is not committed is rolled back"),
        _ => {}
    }
}

/// Tells what happens, for people or for programs.
struct Teller<'a> {
    output: &'a Output,
    progress: Option<Progress>,
    rejected: u64,
    was_failure_told: bool,
}

impl Teller<'_> {
    fn event(&mut self, event: &RunEvent) {
        let Some(progress) = &mut self.progress else {
            self.was_failure_told |= matches!(event, RunEvent::Failed { .. });
            self.output.json_line(event);
            return;
        };
        progress.event(event);
        let output = self.output;
        match event {
            RunEvent::Started { pipeline, run_id, resumed: true, .. } => {
                output.note(format!("Run {run_id} of `{pipeline}` goes on where an earlier one stopped"));
            }
            RunEvent::Guarantee { guarantee, reasons } => {
                output.note(format!("Each row arrives {guarantee}"));
                reasons.iter().for_each(|reason| output.note(format!("  {}", plain(reason))));
            }
            RunEvent::Schema { stream, change: Some(change), .. } => {
                let stream = plain(&stream.to_string());
                output.note(format!("The shape of `{stream}` changed: {}", plain(change)));
            }
            RunEvent::Warning { message } => output.warning(message),
            RunEvent::Signal { id, signal, refused } => match refused {
                None => output.note(format!("Signal {id} (`{}`) was taken", plain(&signal.kind))),
                Some(error) => output.warning(format!("Signal {id} was refused: {error}")),
            },
            RunEvent::Rejected { stream, side, reason, .. } => {
                self.rejected += 1;
                if self.rejected <= REJECTED_SHOWN {
                    let side = side.as_str();
                    output.warning(format!("A row of `{stream}` was refused by the {side}: {reason}"));
                }
            }
            RunEvent::Retrying { attempt, attempts, delay_ms, error } => {
                let wait = duration(Duration::from_millis(*delay_ms));
                output.warning(format!("{error}; trying again in {wait} ({attempt} of {attempts})"));
                // The same failure has the same hint.
                error.hint.iter().filter(|_| *attempt == 1).for_each(|hint| output.hint(hint));
            }
            _ => {}
        }
    }
}

fn show(output: &Output, summary: &RunSummary) {
    let time = Duration::from_millis(summary.elapsed_ms);
    let did = match summary.outcome {
        RunOutcome::Completed => output.paint(Color::Green, "completed"),
        RunOutcome::Stopped => output.paint(Color::Yellow, "stopped"),
    };
    output.line(format!("`{}` {did} in {}", summary.pipeline, duration(time)));
    let rate = number(per_second(summary.rows, time));
    output.line(format!("  rows       {} ({rate} rows/s)", number(summary.rows)));
    output.line(format!(
        "  bytes      {} ({}/s)",
        bytes(summary.bytes),
        bytes(per_second(summary.bytes, time))
    ));
    output.line(format!("  commits    {}", number(summary.commits)));
    if let Some(guarantee) = summary.guarantee {
        output.line(format!("  guarantee  {guarantee}"));
    }
    if summary.streams.len() > 1 {
        for (stream, rows) in &summary.streams {
            output.line(format!("  {}  {}", plain(stream), count(*rows, "row")));
        }
    }
    if summary.dead_letters > 0 {
        output.line(format!("  refused    {}, kept in the store", count(summary.dead_letters, "row")));
        output.hint(format!("`connector-hub dead-letters {}` shows them", summary.pipeline));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_is_a_word_a_time_or_a_position() {
        assert_eq!(start_at("earliest"), Ok(StartAt::Earliest));
        assert_eq!(
            start_at("2030-01-31T12:00:00.5+01:00"),
            Ok(StartAt::Time("2030-01-31T12:00:00.5+01:00".into()))
        );
        assert!(matches!(start_at("{\"v\":1,\"id\":7}"), Ok(StartAt::Position(_))));
        for wrong in ["first", "2030-01-31", "2030-01-31T12:00:00", "{", "12:00"] {
            assert!(start_at(wrong).is_err(), "{wrong}");
        }
    }
}
