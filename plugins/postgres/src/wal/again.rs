//! Tables that are read again in the middle of the stream, on a wish of the user's.
//!
//! A slot that lives only for this names a place in the WAL and exports the state of the database there: the stream is
//! handed over up to that place, then the rows, then the rest of the stream. So each row of the snapshot stands exactly
//! between the changes that it holds and those that it does not, and nothing has to be compared. Until a table is
//! through, it is named in the position: whatever ends the run, the next one reads it from its beginning.

use std::time::Duration;

use hub_plugin_api::{Budgets, Context, Error, ErrorKind, Event, Reader, Result, Value};

use super::{
    decoder::Decoder,
    facts::Facts,
    options::WalOptions,
    pattern::TablePattern,
    slot::{self, NewSlot},
    snapshot::{SnapshotReader, SnapshotSetup, open_table},
    stream::StreamSetup,
};
use crate::{
    config::Settings,
    connection::Session,
    query::{Decimals, ReaderSessions},
};

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
    /// Nothing is read, or what is wished has no state yet.
    None,
    /// The stream has not come to the state's place.
    Waiting(NewSlot),
    /// The stream stands at that place.
    Reading { state: NewSlot, reader: Option<Box<SnapshotReader>> },
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
            state: State::None,
        }
    }

    /// Whether every numeric is carried as text.
    pub fn decimals_as_text(&self) -> bool {
        self.options.decimals == Decimals::Text
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
        found.retain(|table| !decoder.snapshots.contains(table));
        decoder.snapshots.extend(found);
        Ok(())
    }

    /// Holds the state that the wished tables are read in; the stream goes on up to its place.
    ///
    /// # Errors
    /// When there is no room for one more slot.
    pub async fn prepare(&mut self, decoder: &mut Decoder) -> Result<()> {
        if decoder.snapshots.is_empty() || !matches!(self.state, State::None) || !decoder.is_between() {
            return Ok(());
        }
        let name = slot::temporary_name();
        let state = slot::create(&self.settings, &self.context, &self.facts, &name, true, true).await?;
        decoder.set_barrier(Some(state.from));
        self.state = State::Waiting(state);
        Ok(())
    }

    /// The stream stands at the state's place.
    pub fn begin(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::None) {
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
        let Some(table) = decoder.snapshots.first().cloned() else {
            self.state = State::None;
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
                let opened = open_table(&self.settings, &self.context, setup).await?;
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
                decoder.snapshots.remove(0);
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
