use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arrow::array::{Array, RecordBatch};
use hub_plugin_api::{Error, Event, Result as Answer, Signal};

/// The most events that wait in one channel, however small they are.
const MAX_EVENTS: usize = 64;

/// Wakes the one thread that reads several channels.
#[derive(Clone, Default)]
pub(crate) struct Doorbell(Arc<(Mutex<bool>, Condvar)>);

impl Doorbell {
    pub(crate) fn ring(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits for a ring since the last wait.
    pub(crate) fn wait(&self, timeout: Duration) {
        let rung = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut rung, _) =
            self.0.1.wait_timeout_while(rung, timeout, |rung| !*rung).unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}

/// What a reader's thread hands over.
pub(crate) enum Item {
    Event(Event),
    /// The reader was given the signal of this number: boundaries behind it hold what it asks for.
    Signalled(i64, Answer<()>),
    Failed(Error),
}

/// What a reader's thread is to do besides reading.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Acknowledge(u64),
    Close,
}

/// From one reader's thread to its lane, bounded by bytes. One batch always fits.
pub(crate) struct Channel {
    state: Mutex<State>,
    changed: Condvar,
    doorbell: Doorbell,
    budget_bytes: u64,
}

#[derive(Default)]
struct State {
    items: VecDeque<(Item, u64)>,
    bytes: u64,
    acknowledge: Option<u64>,
    signals: VecDeque<(i64, Signal)>,
    closed: bool,
}

impl State {
    fn command(&mut self) -> Option<Command> {
        // What is durable is acknowledged even when nobody wants more rows.
        let acknowledge = self.acknowledge.take().map(Command::Acknowledge);
        acknowledge.or_else(|| self.closed.then_some(Command::Close))
    }
}

impl Channel {
    pub(crate) fn new(budget_bytes: u64, doorbell: Doorbell) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), doorbell, budget_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reader's side: hands over, or comes back with a command and the item when there is no room yet.
    pub(crate) fn push(&self, item: Item) -> Result<(), (Command, Item)> {
        let bytes = match &item {
            Item::Event(Event::Rows(rows)) => batch_bytes(&rows.batch),
            _ => 0,
        };
        let mut state = self.lock();
        loop {
            if let Some(command) = state.command() {
                return Err((command, item));
            }
            let full = state.bytes + bytes > self.budget_bytes || state.items.len() >= MAX_EVENTS;
            if !full || state.items.is_empty() {
                state.bytes += bytes;
                state.items.push_back((item, bytes));
                drop(state);
                self.doorbell.ring();
                return Ok(());
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The reader's side: a command, if there is one.
    pub(crate) fn command(&self) -> Option<Command> {
        self.lock().command()
    }

    /// The reader's side: a signal that it is to be given, when it stands at a boundary.
    pub(crate) fn take_signal(&self) -> Option<(i64, Signal)> {
        self.lock().signals.pop_front()
    }

    /// The lane's side: the reader is to be given a signal.
    pub(crate) fn signal(&self, id: i64, signal: Signal) {
        self.lock().signals.push_back((id, signal));
    }

    /// The reader's side: waits for a command.
    pub(crate) fn wait_command(&self) -> Command {
        let mut state = self.lock();
        loop {
            if let Some(command) = state.command() {
                return command;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The lane's side: the next item, if there is one, and its bytes.
    pub(crate) fn pop(&self) -> Option<(Item, u64)> {
        let mut state = self.lock();
        let (item, bytes) = state.items.pop_front()?;
        state.bytes -= bytes;
        drop(state);
        self.changed.notify_all();
        Some((item, bytes))
    }

    /// The lane's side: the next item, waited for until `deadline`.
    pub(crate) fn pop_until(&self, deadline: Instant) -> Option<(Item, u64)> {
        loop {
            if let Some(found) = self.pop() {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.doorbell.wait(left);
        }
    }

    /// The lane's side: everything up to a boundary is durable.
    pub(crate) fn acknowledge(&self, number: u64) {
        self.lock().acknowledge = Some(number);
        self.changed.notify_all();
    }

    /// The lane's side: the reader is to be dropped, and what waits with it.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.items);
        state.bytes = 0;
        drop(state);
        drop(waiting);
        self.changed.notify_all();
    }
}

/// Bytes of a batch's rows, also where its arrays are parts of larger ones.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> u64 {
    let column = |array: &dyn Array| {
        array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
    };
    batch.columns().iter().map(|array| column(array.as_ref()) as u64).sum()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use arrow::array::Int64Array;
    use hub_plugin_api::{Rows, StreamId};

    use super::*;

    fn rows(count: i64) -> Item {
        let values: Arc<dyn Array> = Arc::new(Int64Array::from_iter_values(0..count));
        let batch = RecordBatch::try_from_iter([("a", values)]).unwrap();
        Item::Event(Event::Rows(Rows { stream: StreamId::named("t"), schema_id: 0, batch }))
    }

    #[test]
    fn channel_holds_no_more_bytes_than_its_budget_but_always_one_batch() {
        let channel = Arc::new(Channel::new(1000, Doorbell::default()));
        assert!(channel.push(rows(1000)).is_ok());
        let writer = Arc::clone(&channel);
        let blocked = thread::spawn(move || writer.push(rows(10)).is_ok());
        thread::sleep(Duration::from_millis(30));
        assert!(!blocked.is_finished());
        assert_eq!(channel.pop().unwrap().1, 8000);
        assert!(blocked.join().unwrap());
        assert_eq!(channel.pop_until(Instant::now() + Duration::from_secs(5)).unwrap().1, 80);
    }

    #[test]
    fn full_channel_still_takes_commands() {
        let channel = Arc::new(Channel::new(1, Doorbell::default()));
        assert!(channel.push(rows(1)).is_ok());
        channel.acknowledge(3);
        assert_eq!(channel.push(rows(1)).err().unwrap().0, Command::Acknowledge(3));
        channel.close();
        assert_eq!(channel.push(rows(1)).err().unwrap().0, Command::Close);
        assert!(channel.pop().is_none());
    }
}
