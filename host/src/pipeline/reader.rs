use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hub_plugin_api::{Canceller, Error, ErrorKind, Event, Reader, Result, Signal};
use pollster::block_on;

use super::{
    StopSignal,
    channel::{Channel, Command, Item},
    stop::Registration,
};
use crate::plugins::{Supervisor, Task};

/// How long a reader may wait for rows before it is asked again. Also how late it hears of a command.
const MAX_WAIT: Duration = Duration::from_millis(250);

/// How long a reader may take to be dropped before it is cancelled.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A canceller that is known only later than the call that it belongs to.
#[derive(Clone, Default)]
pub(crate) struct LateCanceller(Arc<Mutex<Option<Canceller>>>);

impl LateCanceller {
    pub(crate) fn set(&self, canceller: Canceller) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(canceller);
    }

    pub(crate) fn canceller(&self) -> Canceller {
        let late = self.clone();
        Canceller::new(move || {
            let canceller = late.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(canceller) = canceller {
                canceller.cancel();
            }
        })
    }
}

/// A reader on a thread of its own.
pub(crate) struct ReaderThread {
    pub(crate) channel: Arc<Channel>,
    task: Task<()>,
    _registration: Registration,
}

impl ReaderThread {
    /// Opens a reader on a thread of its own. `canceller` is the one of the object that opens it.
    pub(crate) fn start(
        supervisor: &Supervisor,
        stop: &StopSignal,
        what: String,
        channel: Channel,
        canceller: Canceller,
        open: impl FnOnce() -> Result<Box<dyn Reader>> + Send + 'static,
    ) -> Self {
        let (channel, late) = (Arc::new(channel), LateCanceller::default());
        late.set(canceller);
        let (for_thread, in_thread) = (Arc::clone(&channel), late.clone());
        let task = supervisor.spawn(what, late.canceller(), move || {
            let result = open().and_then(|mut reader| {
                in_thread.set(reader.canceller());
                let result = pull(&mut *reader, &for_thread);
                in_thread.set(Canceller::none());
                result
            });
            let Err(error) = result else { return Ok(()) };
            let mut item = Item::Failed(error);
            loop {
                match for_thread.push(item) {
                    Ok(()) => return Ok(()),
                    Err((Command::Acknowledge(_), same)) => item = same,
                    Err((Command::Close, Item::Failed(error))) => return Err(error),
                    Err((Command::Close, _)) => return Ok(()),
                }
            }
        });
        let registration = stop.register(task.canceller());
        Self { channel, task, _registration: registration }
    }

    /// Whether the thread is over.
    pub(crate) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Makes the reader return from whatever it does.
    pub(crate) fn cancel(&self) {
        self.task.cancel();
    }

    /// Drops the reader, and waits until that is done.
    pub(crate) fn close(self) -> Result<()> {
        self.channel.close();
        match self.task.wait(Some(CLOSE_TIMEOUT)) {
            // Only its drop was late.
            Err(error) if error.kind == ErrorKind::TimedOut => Ok(()),
            result => result,
        }
    }
}

/// Hands over events until the end, and does what it is told in between.
fn pull(reader: &mut dyn Reader, channel: &Channel) -> Result<()> {
    let mut last_boundary = None;
    let mut is_at_boundary = true;
    loop {
        match channel.command() {
            Some(Command::Close) => return Ok(()),
            Some(Command::Acknowledge(number)) => block_on(reader.acknowledge(number))?,
            None => {}
        }
        while is_at_boundary && let Some((id, signal)) = channel.take_signal() {
            let answer = block_on(reader.signal(&signal));
            if let Err(error) = &answer
                && !Signal::is_refused_by(error)
            {
                return answer;
            }
            if !hand_over(reader, channel, Item::Signalled(id, answer))? {
                return Ok(());
            }
        }
        let event = block_on(reader.next(MAX_WAIT))?;
        match &event {
            Event::Idle => continue,
            Event::Rows(_) | Event::Truncate(_) | Event::Rejected(_) => is_at_boundary = false,
            Event::Boundary(boundary) => {
                if last_boundary.is_some_and(|last| boundary.number <= last) {
                    return Err(Error::new(
                        ErrorKind::Protocol,
                        format!("Boundary {} does not follow boundary {last_boundary:?}", boundary.number),
                    ));
                }
                last_boundary = Some(boundary.number);
                is_at_boundary = true;
            }
            _ => {}
        }
        let ended = matches!(event, Event::End);
        if !hand_over(reader, channel, Item::Event(event))? {
            return Ok(());
        }
        if ended {
            break;
        }
    }
    // The last acknowledgement comes after the end.
    while let Command::Acknowledge(number) = channel.wait_command() {
        block_on(reader.acknowledge(number))?;
    }
    Ok(())
}

/// Waits for room; `false` when nothing is wanted any more.
fn hand_over(reader: &mut dyn Reader, channel: &Channel, mut item: Item) -> Result<bool> {
    while let Err((command, same)) = channel.push(item) {
        match command {
            Command::Close => return Ok(false),
            Command::Acknowledge(number) => block_on(reader.acknowledge(number))?,
        }
        item = same;
    }
    Ok(true)
}
