//! The simplest form of a function: a program that gets its arguments on standard input and prints a JSON object a line.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hub_plugin_api::{
    Boundary, Canceller, Error, ErrorKind, Event, Reader, Result, StreamId, arrow::datatypes::SchemaRef,
    async_trait,
};
use wasmtime::Store;
use wasmtime_wasi::p2::{bindings::CommandPre, pipe::MemoryInputPipe};

use super::{
    explain::{explain, with_denied},
    function::{Function, Start, guest},
    guest::Guest,
    interrupt::Interrupt,
    lines::Lines,
    pipe::Pipe,
    reader::{NO_PREFIX, announce},
    sandbox::Sandbox,
    shell::HasShell,
};

/// Bytes that may wait between the program and the hub.
const PIPE_BYTES: usize = 4 << 20;

/// Bytes that make a batch.
const BATCH_BYTES: usize = 1 << 20;

/// A program that runs: it owns its store, and gives it back when it is over.
type Running = Pin<Box<dyn Future<Output = (Store<Guest>, wasmtime::Result<Result<(), ()>>)> + Send>>;

pub(super) fn start(function: &Function, ready: &CommandPre<Guest>, start: Start) -> Result<Box<dyn Reader>> {
    if start.position.is_some() {
        let message = "A program that prints rows has no positions, and one is stored";
        return Err(
            Error::new(ErrorKind::PositionLost, message).with_hint("Start again with `--from-scratch`")
        );
    }
    let lines = Lines::new(start.columns, start.limits.batch_bytes);
    let output = Pipe::new(PIPE_BYTES);
    let mut input = start.arguments.to_string();
    input.push('\n');
    let stdout = output.clone();
    let (guest, interrupt) = guest((start.connection, start.context), start.limits, |wasi| {
        wasi.stdin(MemoryInputPipe::new(input.into_bytes())).stdout(stdout).arg("function");
    });
    let restart = guest.shell.clock.restarter();
    let mut store = function.machine()?.store(guest);
    let ready = ready.clone();
    let program = Box::pin(async move {
        let result = async {
            let instance = ready.instantiate_async(&mut store).await?;
            instance.wasi_cli_run().call_run(&mut store).await
        };
        let result = result.await;
        (store, result)
    });
    Ok(Box::new(CommandReader {
        sandbox: function.sandbox.clone(),
        program: Some(program),
        interrupt,
        restart,
        output,
        lines,
        stream: start.stream,
        schema: None,
        pending: None,
        state: State::Reading,
    }))
}

#[derive(PartialEq)]
enum State {
    Reading,
    Bounded,
    Ended,
}

struct CommandReader {
    sandbox: Sandbox,
    /// There until it is over.
    program: Option<Running>,
    interrupt: Interrupt,
    restart: Arc<AtomicBool>,
    output: Pipe,
    lines: Lines,
    stream: StreamId,
    schema: Option<SchemaRef>,
    pending: Option<Event>,
    state: State,
}

impl CommandReader {
    /// Runs the program until enough is printed for a batch, or it is over.
    fn advance(&mut self) -> Result<()> {
        let Some(mut program) = self.program.take() else { return Ok(()) };
        self.restart.store(true, Ordering::Relaxed);
        let output = self.output.clone();
        let finished = self.sandbox.machine()?.run(&self.interrupt, async {
            tokio::select! {
                biased;
                finished = &mut program => Ok(Some(finished)),
                () = output.filled(BATCH_BYTES) => Ok(None),
            }
        });
        match finished {
            Ok(None) => self.program = Some(program),
            Ok(Some((store, result))) => return over(&store, result),
            Err(_) => return Err(Error::new(ErrorKind::Cancelled, "The module was cancelled")),
        }
        Ok(())
    }
}

/// What is wrong with how a program ended.
fn over(store: &Store<Guest>, result: wasmtime::Result<Result<(), ()>>) -> Result<()> {
    let shell = store.data().shell();
    let failed = || {
        let error = Error::new(ErrorKind::InvalidData, "The program ended with a failure");
        let error = match shell.complaints.quoted() {
            Some(lines) => error.with_context("stderr", lines),
            None => error,
        };
        with_denied(error, shell)
    };
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(())) => Err(failed()),
        Err(error) if error.downcast_ref::<wasmtime_wasi::I32Exit>().is_some_and(|exit| exit.0 == 0) => {
            Ok(())
        }
        Err(error) => Err(explain(&error, shell, NO_PREFIX)),
    }
}

#[async_trait]
impl Reader for CommandReader {
    async fn next(&mut self, _max_wait: Duration) -> Result<Event> {
        if let Some(event) = self.pending.take() {
            return Ok(event);
        }
        while self.state == State::Reading {
            self.advance()?;
            let is_over = self.program.is_none();
            let batch = self.lines.take(&self.output.take(), is_over)?;
            if is_over {
                self.state = State::Bounded;
            }
            if let Some(batch) = batch {
                let (event, rows) = announce(&mut self.schema, &self.stream, batch)?;
                self.pending = rows;
                return Ok(event);
            }
        }
        if self.state == State::Bounded {
            self.state = State::Ended;
            return Ok(Event::Boundary(Boundary::without_position(1)));
        }
        Ok(Event::End)
    }

    fn canceller(&self) -> Canceller {
        self.interrupt.canceller()
    }
}
