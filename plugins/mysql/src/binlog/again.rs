//! Tables that are read again in the middle of the stream, on a wish of the user's.
//!
//! A snapshot names the place in the log that it is the state of: the stream is handed over up to that place, then the
//! rows, then the rest of the stream. So each row stands exactly between the changes that it holds and those that it
//! does not, and nothing has to be compared or locked while it is read. Until a table is through, it is named in the
//! position: whatever ends the run, the next one reads it from its beginning.
//!
//! Where the account may not lock, the place lies a little before the snapshot: what was committed in between comes
//! once more, behind the rows.

use std::time::Duration;

use hub_plugin_api::{Context, Error, ErrorKind, Event, Level, Reader, Result, Value};
use tokio::{task::JoinHandle, time};

use super::{
    TARGET,
    definition::{TableNames, tables},
    filter::TableFilter,
    follow::Follower,
    server::LogServer,
    snapshot::{SnapshotReader, Start, begin},
};
use crate::{config::Settings, flavor::Vendor};

/// The tables that are read again.
pub struct Again {
    settings: Settings,
    context: Context,
    state: State,
}

enum State {
    /// Nothing is read, or what is wished has no state yet.
    None,
    /// The server is asked for one. The stream waits, so that it does not pass its place.
    Making(Making),
    /// The stream has not come to the state's place.
    Waiting(Box<Held>),
    /// The stream stands at that place.
    Reading { held: Box<Held>, table: Option<Box<Table>> },
}

/// A state of the database.
struct Held {
    start: Start,
    vendor: Vendor,
}

/// A state on its way; given up with its owner.
struct Making(JoinHandle<Result<(TableNames, Option<Held>)>>);

impl Drop for Making {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The table that is being read.
struct Table {
    reader: SnapshotReader,
    /// The number of its shape.
    schema_id: u32,
}

impl Again {
    /// Nothing is wished yet.
    pub fn new(settings: &Settings, context: &Context) -> Self {
        Self { settings: settings.clone(), context: context.clone(), state: State::None }
    }

    /// Takes a wish: `{"tables": ["table", "database.table", …]}`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] or [`ErrorKind::NotFound`] for tables that are not followed.
    pub async fn wish(&self, follower: &mut Follower, arguments: &Value) -> Result<()> {
        let names = arguments.get("tables").and_then(Value::as_array).filter(|names| !names.is_empty());
        let names = names.ok_or_else(|| Error::config("tables", "A snapshot needs a list of `tables`"))?;
        let mut server = LogServer::open(&self.settings, &self.context).await?;
        let followed = tables(&mut server, &follower.wishes().filter).await?;
        let mut found = Vec::new();
        for name in names {
            let name = name.as_str().unwrap_or_default();
            let wanted = server.fold(TableFilter::new(&self.settings.database, &[name.to_owned()], &[])?);
            let before = found.len();
            found
                .extend(followed.iter().filter(|(database, table)| wanted.matches(database, table)).cloned());
            if found.len() == before {
                return Err(Error::new(ErrorKind::NotFound, format!("Table `{name}` is not followed"))
                    .with_field("tables")
                    .with_hint("Name it in option `tables` and run again"));
            }
        }
        follower.wish(found)?;
        Ok(())
    }

    /// Holds the state that the wished tables are read in; the stream goes on up to its place. `false` while the state
    /// is not there: the stream must not go on.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn prepare(&mut self, follower: &mut Follower, max_wait: Duration) -> Result<bool> {
        if matches!(self.state, State::None) && !follower.snapshots().is_empty() && follower.is_located() {
            let making = make(
                self.settings.clone(),
                self.context.clone(),
                follower.wishes().filter.clone(),
                follower.snapshots().clone(),
            );
            self.state = State::Making(Making(tokio::spawn(making)));
        }
        let State::Making(Making(task)) = &mut self.state else { return Ok(true) };
        let Ok(made) = time::timeout(max_wait, task).await else { return Ok(false) };
        self.state = State::None;
        let (there, held) = made.map_err(|_| Error::internal("The task that begins a snapshot ended"))??;
        // Of tables that went since there is nothing to read: the log says so itself.
        follower.snapshots().retain(|table| there.contains(table));
        let Some(held) = held else {
            follower.hand_over()?;
            return Ok(true);
        };
        if !held.start.exact {
            self.context.log(
                Level::Warn,
                TARGET,
                "The account may not run FLUSH TABLES WITH READ LOCK: what is committed while the snapshot begins comes \
                 once more behind it",
            );
        }
        follower.set_barrier(Some(held.start.position.place()));
        self.state = State::Waiting(Box::new(held));
        Ok(true)
    }

    /// The stream stands at the state's place.
    pub fn begin(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::None) {
            State::Waiting(held) => State::Reading { held, table: None },
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
    pub async fn read(&mut self, follower: &mut Follower, max_wait: Duration) -> Result<bool> {
        let State::Reading { held, table } = &mut self.state else { return Ok(true) };
        let Some((database, name)) = follower.snapshots().first().cloned() else {
            self.state = State::None;
            follower.hand_over()?;
            return Ok(true);
        };
        if table.is_none() {
            let declared = held.start.definitions.get(&database).and_then(|tables| tables.get(&name));
            let Some(declared) = declared else {
                // Wished since: it is read in the next state.
                self.state = State::None;
                return Ok(true);
            };
            let wishes = follower.wishes();
            let reader = SnapshotReader::new(
                held.start.session.clone(),
                held.vendor,
                &self.settings,
                (&database, &name),
                declared,
                wishes.zero_dates,
                wishes.budgets,
            )?;
            *table = Some(Box::new(Table { reader, schema_id: 0 }));
        }
        let Some(Table { reader, schema_id }) = table.as_deref_mut() else { return Ok(true) };
        reader.changes = follower.changes();
        match reader.next(max_wait).await? {
            Event::Schema(schema) => *schema_id = follower.push_schema(schema),
            Event::Rows(rows) => follower.push_snapshot(rows.stream, *schema_id, rows.batch)?,
            Event::End => {
                follower.snapshots().remove(0);
                *table = None;
            }
            Event::Idle => return Ok(false),
            _ => {}
        }
        Ok(true)
    }
}

/// Begins a snapshot of those tables that are there.
async fn make(
    settings: Settings,
    context: Context,
    filter: TableFilter,
    wished: TableNames,
) -> Result<(TableNames, Option<Held>)> {
    let mut server = LogServer::open(&settings, &context).await?;
    let mut there = tables(&mut server, &filter).await?;
    there.retain(|table| wished.contains(table));
    if there.is_empty() {
        return Ok((there, None));
    }
    let start = begin(&settings, &context, &mut server, &there).await?;
    Ok((there, Some(Held { start, vendor: server.vendor() })))
}
