//! Tables that are read again in the middle of the stream, on a wish of the user's.
//!
//! A slot that lives only for this names a place in the WAL and exports the state of the database there: the stream is
//! handed over up to that place, then the rows, then the rest of the stream. So each row of the snapshot stands exactly
//! between the changes that it holds and those that it does not, and nothing has to be compared. Until a table is
//! through, it is named in the position: whatever ends the run, the next one reads it from its beginning.
//!
//! The server exports a state only when every transaction that was open at that moment is over. Until then the stream
//! stands still, because the place is not known before, and must not be passed.

use std::time::{Duration, Instant};

use hub_plugin_api::{Budgets, Context, Error, ErrorKind, Event, Level, Reader, Result, Value};
use tokio::{task::JoinHandle, time};

use super::{
    decoder::Decoder,
    facts::Facts,
    options::{AsText, WalOptions},
    pattern::TablePattern,
    slot::{self, NewSlot},
    snapshot::{SnapshotReader, SnapshotSetup, open_table},
    stream::StreamSetup,
};
use crate::{config::Settings, connection::Session, query::ReaderSessions};

/// How long a server without room for one more slot is left alone.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(10);

/// The tables that are read again.
pub struct Again {
    settings: Settings,
    context: Context,
    facts: Facts,
    options: WalOptions,
    publication: String,
    budgets: Budgets,
    state: State,
}

enum State {
    /// Nothing is read, or what is wished has no state yet; not before the given moment.
    None(Option<Instant>),
    /// The server is exporting one. The stream waits, so that it does not pass its place.
    Making(MakingTask),
    /// The stream has not come to the state's place.
    Waiting(NewSlot),
    /// The stream stands at that place.
    Reading { state: NewSlot, reader: Option<Box<SnapshotReader>> },
}

/// Ends with its owner.
struct MakingTask(JoinHandle<Result<NewSlot>>);

impl Drop for MakingTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Again {
    /// Nothing is wished yet.
    pub fn new(settings: &Settings, context: &Context, setup: &StreamSetup, facts: Facts) -> Self {
        Self {
            settings: settings.clone(),
            context: context.clone(),
            facts,
            options: setup.options.clone(),
            publication: setup.publication.clone(),
            budgets: setup.budgets,
            state: State::None(None),
        }
    }

    /// What is carried as text.
    ///
    /// # Errors
    /// As [`WalOptions::as_text`].
    pub fn as_text(&self) -> Result<AsText> {
        self.options.as_text()
    }

    /// Takes a wish: `{"tables": ["schema.table", …]}`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] or [`ErrorKind::NotFound`] for tables that are not captured.
    pub fn wish(&self, decoder: &mut Decoder, arguments: &Value) -> Result<()> {
        let names = arguments.get("tables").and_then(Value::as_array).filter(|names| !names.is_empty());
        let names = names.ok_or_else(|| Error::config("tables", "A snapshot needs a list of `tables`"))?;
        let mut found = Vec::new();
        for name in names {
            let name = name.as_str().unwrap_or_default();
            let pattern = TablePattern::parse("tables", name)?;
            let before = found.len();
            found.extend(decoder.captured().filter(|(schema, name)| pattern.matches(schema, name)));
            if found.len() == before {
                return Err(Error::new(ErrorKind::NotFound, format!("Table `{name}` is not captured"))
                    .with_field("tables")
                    .with_hint("Name it in option `tables` and run again: it is read without a gap"));
            }
        }
        decoder.add_snapshots(found)
    }

    /// Holds the state that the wished tables are read in; the stream goes on up to its place. `false` while the server
    /// has none yet, which was waited for up to `max_wait`.
    ///
    /// # Errors
    /// When the server refuses. One without room for a slot is asked again later.
    pub async fn prepare(
        &mut self,
        decoder: &mut Decoder,
        session: &Session,
        max_wait: Duration,
    ) -> Result<bool> {
        if let State::None(not_before) = &self.state {
            let is_early = not_before.is_some_and(|moment| Instant::now() < moment);
            if is_early || decoder.first_snapshot().is_none() || !decoder.is_between() {
                return Ok(true);
            }
            decoder.hand_over(session).await?;
            let (settings, context, facts) =
                (self.settings.clone(), self.context.clone(), self.facts.clone());
            let task = tokio::spawn(async move {
                slot::create(&settings, &context, &facts, &slot::temporary_name(), true, true).await
            });
            self.state = State::Making(MakingTask(task));
            return Ok(false);
        }
        let State::Making(MakingTask(task)) = &mut self.state else { return Ok(true) };
        let Ok(made) = time::timeout(max_wait, task).await else { return Ok(false) };
        match made
            .map_err(|error| Error::internal("The state could not be waited for").with_source(&error))?
        {
            Ok(state) => {
                decoder.set_barrier(Some(state.from));
                self.state = State::Waiting(state);
            }
            Err(error) if error.kind == ErrorKind::ResourceExhausted => {
                let message = format!("Tables are read again when there is room: {error}");
                self.context.log(Level::Warn, "postgres", message);
                self.state = State::None(Some(Instant::now() + NO_ROOM_PAUSE));
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// The stream stands at the state's place.
    pub fn begin(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::None(None)) {
            State::Waiting(state) => State::Reading { state, reader: None },
            other => other,
        };
    }

    /// Whether rows are to be read before the next change.
    pub fn is_reading(&self) -> bool {
        matches!(self.state, State::Reading { .. })
    }

    /// Reads on; `false` when nothing came in time.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn read(
        &mut self,
        decoder: &mut Decoder,
        session: &Session,
        max_wait: Duration,
    ) -> Result<bool> {
        let State::Reading { state, reader } = &mut self.state else { return Ok(true) };
        let Some(table) = decoder.first_snapshot().cloned() else {
            self.state = State::None(None);
            decoder.push_boundary()?;
            return Ok(true);
        };
        let reader = match reader {
            Some(reader) => reader,
            none => {
                let setup = SnapshotSetup {
                    table: &table,
                    publication: Some(&self.publication),
                    sessions: ReaderSessions {
                        snapshot: state.snapshot.clone(),
                        lock_timeout_ms: self.options.lock_timeout_ms,
                        version: self.facts.version,
                    },
                    options: &self.options,
                    budgets: self.budgets,
                };
                let opened = match decoder.captured().any(|captured| captured == table) {
                    true => open_table(&self.settings, &self.context, setup).await,
                    false => Err(Error::new(ErrorKind::NotFound, "It is not captured any more")),
                };
                let opened = match opened {
                    Err(error) if error.kind == ErrorKind::NotFound => {
                        let message = format!("`{}.{}` is not read again: {error}", table.0, table.1);
                        self.context.log(Level::Warn, "postgres", message);
                        decoder.end_snapshot();
                        return Ok(true);
                    }
                    opened => opened?,
                };
                if !decoder.knows(&opened.shape.relation) {
                    decoder.describe(session, opened.shape.clone()).await?;
                }
                none.insert(Box::new(opened))
            }
        };
        reader.seq = decoder.seq();
        match reader.next(max_wait).await? {
            Event::Rows(rows) => decoder.push_snapshot(reader.shape.relation.oid, rows.batch)?,
            Event::End => {
                decoder.end_snapshot();
                if let State::Reading { reader, .. } = &mut self.state {
                    *reader = None;
                }
            }
            Event::Idle => return Ok(false),
            _ => {}
        }
        Ok(true)
    }
}
