use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use hub_plugin_api::{
    Boundary, Budgets, Event, Position, Reader, Rejected, Result, Rows, StreamId, StreamSchema, async_trait,
};
use tokio::{
    sync::mpsc::{Receiver, channel},
    task::JoinHandle,
    time,
};

use super::{
    fetch::Entry,
    json,
    scan::{Page, Scan, ScanPosition},
    shape::{Pushed, Shaper},
};

/// Version of the position.
pub const POSITION: u32 = 1;
/// Pages that wait for whoever takes them.
const PAGES_AHEAD: usize = 4;

/// Starts reading.
pub fn start(scan: Scan, shaper: Shaper, stream: StreamId, budgets: Budgets) -> Box<dyn Reader> {
    let (sender, pages) = channel(PAGES_AHEAD);
    let last = scan.start.clone();
    Box::new(KeysReader {
        task: tokio::spawn(scan.run(sender)),
        pages,
        shaper,
        stream,
        budgets,
        schema_id: 0,
        page: Vec::new().into_iter(),
        behind_page: None,
        part: None,
        last,
        moved: false,
        first_row: None,
        last_boundary: Instant::now(),
        boundaries: 0,
        queue: VecDeque::new(),
        state: State::Opened,
    })
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Opened,
    Reading,
    Ended,
}

struct KeysReader {
    task: JoinHandle<()>,
    pages: Receiver<Result<Page>>,
    shaper: Shaper,
    stream: StreamId,
    budgets: Budgets,
    schema_id: u32,
    /// What is left of the page at hand.
    page: std::vec::IntoIter<Entry>,
    behind_page: Option<ScanPosition>,
    /// An entry, some of whose elements are in rows that were handed over.
    part: Option<(Entry, usize)>,
    /// Where reading goes on behind everything that was made rows of.
    last: Option<ScanPosition>,
    /// There is something that no boundary stands behind.
    moved: bool,
    first_row: Option<Instant>,
    last_boundary: Instant,
    boundaries: u64,
    queue: VecDeque<Event>,
    state: State,
}

impl KeysReader {
    fn schema_event(&self, change: Option<String>) -> Event {
        let schema = StreamSchema::new(self.stream.clone(), self.schema_id, self.shaper.schema());
        Event::Schema(StreamSchema { change, ..schema })
    }

    fn take_rows(&mut self) -> Result<()> {
        self.first_row = None;
        if self.shaper.rows() > 0 {
            let batch = self.shaper.take()?;
            self.queue.push_back(Event::Rows(Rows {
                stream: self.stream.clone(),
                schema_id: self.schema_id,
                batch,
            }));
        }
        Ok(())
    }

    fn boundary(&mut self) -> Result<()> {
        self.boundaries += 1;
        let position = self.last.as_ref().map(|last| Position::new(POSITION, last)).transpose()?;
        self.queue.push_back(Event::Boundary(match position {
            Some(position) => Boundary::at(self.boundaries, position),
            None => Boundary::without_position(self.boundaries),
        }));
        self.moved = false;
        self.last_boundary = Instant::now();
        Ok(())
    }

    fn limits(&self) -> (usize, usize) {
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        (size(self.budgets.max_batch_rows).max(1), size(self.budgets.max_batch_bytes).max(1))
    }

    fn is_full(&self) -> bool {
        let (rows, bytes) = self.limits();
        self.shaper.rows() >= rows || self.shaper.bytes() >= bytes
    }

    fn is_late(&self) -> bool {
        let limit = Duration::from_millis(self.budgets.max_delay_ms);
        let since = self.first_row.or_else(|| self.moved.then_some(self.last_boundary));
        since.is_some_and(|since| since.elapsed() >= limit)
    }

    /// Makes rows of what is at hand, until events wait; whether there is more at hand.
    fn shape(&mut self) -> Result<bool> {
        let (rows, bytes) = self.limits();
        loop {
            if self.is_full() {
                self.take_rows()?;
                return Ok(true);
            }
            let Some((entry, from)) = self.part.take().or_else(|| self.page.next().map(|entry| (entry, 0)))
            else {
                break;
            };
            self.moved = true;
            match self.shaper.push(&entry, from, rows, bytes)? {
                Pushed::Done => {
                    if self.shaper.rows() > 0 && self.first_row.is_none() {
                        self.first_row = Some(Instant::now());
                    }
                }
                Pushed::Part(element) => {
                    self.part = Some((entry, element));
                    self.take_rows()?;
                    return Ok(true);
                }
                Pushed::Rejected(reason) => self.reject(&entry, reason),
                Pushed::Grows => {
                    self.take_rows()?;
                    match self.shaper.grow(&entry) {
                        Ok(()) => {
                            self.schema_id += 1;
                            let event = self.schema_event(Some("Fields came that had no column".into()));
                            self.queue.push_back(event);
                            self.part = Some((entry, 0));
                        }
                        Err(reason) => self.reject(&entry, reason),
                    }
                }
            }
        }
        if let Some(position) = self.behind_page.take() {
            self.moved |= self.last.as_ref() != Some(&position);
            self.last = Some(position);
            let (rows, bytes) = self.limits();
            // The next page would not fit as a whole.
            if self.is_late() || self.shaper.rows() * 2 > rows || self.shaper.bytes() * 2 > bytes {
                self.take_rows()?;
                self.boundary()?;
            }
        }
        Ok(false)
    }

    fn reject(&mut self, entry: &Entry, reason: String) {
        let rejected = Rejected { stream: self.stream.clone(), payload: json::payload(entry), reason };
        self.queue.push_back(Event::Rejected(rejected));
    }
}

#[async_trait]
impl Reader for KeysReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Event> {
        match self.state {
            State::Opened => {
                self.state = State::Reading;
                return Ok(self.schema_event(None));
            }
            State::Ended => return Ok(self.queue.pop_front().unwrap_or(Event::End)),
            State::Reading => {}
        }
        let deadline = Instant::now() + max_wait;
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(event);
            }
            if self.shape()? || !self.queue.is_empty() {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let patience = self.first_row.map_or(left, |since| {
                Duration::from_millis(self.budgets.max_delay_ms).saturating_sub(since.elapsed()).min(left)
            });
            match time::timeout(patience, self.pages.recv()).await {
                Ok(Some(page)) => {
                    let Page { entries, position } = page?;
                    (self.page, self.behind_page) = (entries.into_iter(), position);
                }
                Ok(None) => {
                    self.state = State::Ended;
                    self.take_rows()?;
                    self.boundary()?;
                    return Ok(self.queue.pop_front().unwrap_or(Event::End));
                }
                // Rows that wait in the middle of what one cursor brought have no boundary yet.
                Err(_) if self.is_late() && self.shaper.rows() > 0 => self.take_rows()?,
                Err(_) if Instant::now() >= deadline => return Ok(Event::Idle),
                Err(_) => {}
            }
        }
    }
}

impl Drop for KeysReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}
