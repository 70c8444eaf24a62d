use std::{
    thread,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use connector_hub::{
    api::{Error, ErrorKind, Signal, json},
    store::{SignalRecord, SignalState},
};

use super::{
    exit::{Exit, Outcome},
    output::Output,
    setup::Setup,
    text::plain,
};

/// How often the store is asked what became of a signal.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Ask something of a pipeline while it runs
///
/// The wish is kept in the hub's store: `run` takes it within a second, in whichever process it goes on, and if the
/// pipeline does not run at the moment, its next run does. It is not lost when that run is killed.
#[derive(Args)]
#[command(after_help = "\
Examples:
  connector-hub signal orders reread public.orders     Read the rows of a table again
  connector-hub signal orders reread 'billing.*'       … of all captured tables of a schema
  connector-hub signal orders reread a b --wait 60     … and wait until the run has taken the wish

`reread` needs a source that can read a table in the middle of its stream. The stream goes on, and
rows that are at the destination already are updated. Give the same --home as the run's.")]
pub struct Arguments {
    /// The pipeline's name, as its file says
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// What is wished
    #[arg(value_name = "SIGNAL")]
    signal: Kind,
    /// The tables, as the pipeline's file names them
    #[arg(value_name = "TABLE", required = true)]
    tables: Vec<String>,
    /// Wait so many seconds for the run to take it; it goes on waiting in the store afterwards
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Read tables again while the stream goes on
    Reread,
}

pub fn run(arguments: &Arguments, setup: &Setup, output: &Output) -> Outcome {
    let hub = setup.hub()?;
    let Kind::Reread = arguments.signal;
    let id = hub.signal(&arguments.pipeline, &Signal::snapshot(&arguments.tables))?;
    let until = Instant::now() + Duration::from_secs(arguments.wait.unwrap_or_default().into());
    let record = loop {
        let all = hub.store().signals(&arguments.pipeline, None)?;
        let record = all.into_iter().find(|record| record.id == id);
        let is_waiting = record.as_ref().is_some_and(|record| record.state == SignalState::Waiting);
        if !is_waiting || Instant::now() >= until {
            break record;
        }
        thread::sleep(LOOK_EVERY);
    };
    // A new generation forgets what was wished of the old one, as it reads everything.
    let (state, reason) =
        record.map_or((SignalState::Taken, None), |SignalRecord { state, reason, .. }| (state, reason));
    if output.json {
        output.json_pretty(&json!({ "id": id, "state": state, "reason": reason }));
    }
    match state {
        SignalState::Refused => {
            let reason = reason.unwrap_or_default();
            return Err(
                Error::new(ErrorKind::Unsupported, format!("Signal {id} was refused: {reason}")).into()
            );
        }
        _ if output.json => {}
        SignalState::Taken => output.line(format!("Signal {id} was taken")),
        SignalState::Waiting => {
            let pipeline = plain(&arguments.pipeline);
            output.line(format!("Signal {id} waits for `{pipeline}` to run"));
        }
    }
    Ok(Exit::Done)
}
