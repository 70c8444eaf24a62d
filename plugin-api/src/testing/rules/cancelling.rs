use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use crate::{
    Budgets, Canceller, ErrorKind, Event, OpenRequest, PlanRequest, Result, Role,
    testing::{
        block_on,
        report::{Kept, Stop, failed},
        session::{Run, Session, plain_table},
        writing::require_kind,
    },
};

/// How long a source that answers nothing is left alone before it is cancelled.
const BLOCKED: Duration = Duration::from_millis(700);

/// A call that hangs returns within a second of its cancel.
pub(in crate::testing) fn cancel_within_one_second(run: &Run) -> Kept {
    run.needs(Role::Source)?;
    let source = match run.subject.blocked_source() {
        Ok(source) => source,
        Err(reason) if reason.kind == ErrorKind::Unsupported => {
            return cancel_between_calls(run, &reason.message);
        }
        Err(error) => return Err(Stop::from(error).during("`Subject::blocked_source`")),
    };
    let session = run.connect()?;
    let pipeline = run.pipeline();
    let request = run.plan_request(&source, &pipeline, None)?;
    let running = Arc::new(Mutex::new(("plan", session.connection.canceller())));
    let now_running = Arc::clone(&running);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let result = read_first(&session, &request, |what, canceller| {
            *now_running.lock().unwrap_or_else(PoisonError::into_inner) = (what, canceller);
        });
        // The suite has gone on when the call took too long.
        let _ = sender.send(result);
    });
    if let Ok(result) = receiver.recv_timeout(BLOCKED) {
        let what = result.map_or_else(|error| error.to_string(), |event| format!("{event:?}"));
        return failed(format!("The source of `Subject::blocked_source` is not blocked, it answers: {what}"));
    }
    let (what, canceller) = running.lock().unwrap_or_else(PoisonError::into_inner).clone();
    canceller.cancel();
    match receiver.recv_timeout(Duration::from_secs(1)) {
        Ok(result) => {
            require_kind(&format!("The cancelled `{what}`"), result, ErrorKind::Cancelled)?;
            block_on(run.connect()?.connection.release(&pipeline))?;
            Ok(format!("a blocked `{what}` returned"))
        }
        Err(_) => failed(format!("A blocked `{what}` did not return within a second of its cancel")),
    }
}

/// Reads up to the first event that is more than a shape; says before each call how to cancel it.
fn read_first(
    session: &Session,
    request: &PlanRequest,
    running: impl Fn(&'static str, Canceller),
) -> Result<Event> {
    let plan = block_on(session.connection.plan(request))?;
    running("open", plan.canceller());
    let Some(split) = plan.description().splits.into_iter().next() else { return Ok(Event::End) };
    let request = OpenRequest { split, position: None, budgets: Budgets::default(), peek: false };
    let mut reader = block_on(plan.open(&request))?;
    running("next", reader.canceller());
    loop {
        match block_on(reader.next(Duration::from_secs(1)))? {
            Event::Schema(_) | Event::Idle => {}
            event => return Ok(event),
        }
    }
}

/// Where nothing can be made to hang: a reader that was cancelled does not go on.
fn cancel_between_calls(run: &Run, reason: &str) -> Kept {
    let table = plain_table("hub_cancel", 0..10, 5);
    let source = run.source(&table)?;
    let pipeline = run.pipeline();
    let planned = run.plan(&source, &pipeline, None)?;
    let splits = planned.in_order()?;
    let Some(split) = splits.first() else { return failed("The plan has no split") };
    let mut reader = planned.open(split, None, Budgets::default())?;
    reader.canceller().cancel();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // The suite has gone on when the call took too long.
        let _ = sender.send(block_on(reader.next(Duration::from_secs(1))));
    });
    match receiver.recv_timeout(Duration::from_secs(1)) {
        Ok(result) => require_kind("`next` behind a cancel", result, ErrorKind::Cancelled)?,
        Err(_) => return failed("`next` behind a cancel did not return within a second"),
    }
    planned.release(&pipeline)?;
    Ok(format!("cancelled between calls only: {reason}"))
}
