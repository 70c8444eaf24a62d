//! Drains an outbox in the order of its key.

use std::{
    convert::Infallible,
    future::poll_fn,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::Stream;
use hub_plugin_api::{
    Boundary, Budgets, Error, ErrorKind, Event, Position, Result, Rows, StreamId, StreamSchema, json,
};
use serde::{Deserialize, Serialize};
use tokio::time;
use tokio_postgres::types::ToSql;

use super::{
    gaps::{Gap, Gaps},
    link::{Bell, Link, is_passing},
    options::OutboxOptions,
    outbox::{Outbox, complete_key},
    reader::Events,
};
use crate::{
    connection::Session,
    error,
    query::{Prepared, QueryOptions, Shape},
    sql::{
        notify as sql,
        read::{Selection, inner_column, select},
    },
    wire::{decode::RowDecoder, field::FieldBytes},
};

/// The version of positions.
pub const VERSION: u32 = 1;
const READING: &str = "Could not read the outbox";
/// How often missing keys are looked for.
const GAP_INTERVAL: Duration = Duration::from_secs(1);

/// How far an outbox is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxPosition {
    /// The key's column.
    pub key: String,
    /// The last key; absent: before the first.
    #[serde(default)]
    pub after: Option<i64>,
    /// Smaller keys that have not come.
    #[serde(default, skip_serializing_if = "Gaps::is_empty")]
    pub gaps: Gaps,
    /// The table that the keys are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The last key that its sequence had given out, where that could be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<i64>,
}

impl OutboxPosition {
    /// Reads a stored position.
    ///
    /// # Errors
    /// When it is of another version, or of another key.
    pub fn read(position: &Position, key: &str) -> Result<Self> {
        let read: Self = position.read(VERSION)?;
        if read.key == key {
            return Ok(read);
        }
        Err(Error::config("outbox_key", format!("The stored position is of key `{}`, not `{key}`", read.key))
            .with_hint(format!(
                "Give that key, start again with `--from-scratch`, or start at {}",
                json!({ "v": VERSION, "key": key, "after": 0 })
            )))
    }

    fn to_position(&self) -> Result<Position> {
        Position::new(VERSION, self)
    }
}

/// Which rows are read.
enum Keys {
    /// Those behind the position, up to a key.
    Through(i64),
    /// Those that were missing.
    Missing,
}

/// Reads an outbox for as long as it is let.
pub struct OutboxReader {
    link: Link,
    options: OutboxOptions,
    /// Behind every row that was handed over.
    handed_over: OutboxPosition,
    /// Behind every row that was decoded.
    position: OutboxPosition,
    budgets: Budgets,
    events: Events,
    boundaries: u64,
    shapes: u32,
    table: Option<Table>,
}

/// The outbox as it is now.
struct Table {
    outbox: Outbox,
    shape: Arc<Shape>,
    key: usize,
}

/// Two sessions: one listens, one reads.
pub struct Sessions {
    bell: Bell,
    reading: Session,
}

impl Sessions {
    /// Opens both. It listens first, so nothing falls between the first look at the outbox and the first notification.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub async fn open(link: &Link) -> Result<Self> {
        let bell = Bell::new(link.listen().await?);
        Ok(Self { bell, reading: Session::open(&link.settings, &link.context).await? })
    }
}

impl OutboxReader {
    /// A reader that goes on behind a position.
    pub fn new(
        link: Link,
        options: OutboxOptions,
        position: OutboxPosition,
        budgets: Budgets,
        events: Events,
    ) -> Self {
        let handed_over = position.clone();
        Self { link, options, handed_over, position, budgets, events, boundaries: 0, shapes: 0, table: None }
    }

    /// Drains now, and on every notification, for ever.
    ///
    /// # Errors
    /// When the outbox cannot be read, or its sessions are lost and cannot be opened again.
    pub async fn run(mut self, mut sessions: Sessions) -> Result<()> {
        loop {
            let lost = match self.follow(&mut sessions).await {
                Ok(never) => match never {},
                Err(error) if is_passing(&error) => error,
                Err(error) => return Err(error),
            };
            // What was decoded and not handed over is read again.
            self.position = self.handed_over.clone();
            let mut retry = self.link.retry(&lost);
            sessions = loop {
                retry.pause().await;
                match Sessions::open(&self.link).await {
                    Ok(sessions) => break sessions,
                    Err(error) => retry.failed(error)?,
                }
            };
        }
    }

    async fn follow(&mut self, sessions: &mut Sessions) -> Result<Infallible> {
        loop {
            self.drain(&sessions.reading).await?;
            let poll = self.link.options.poll();
            let wait = if self.position.gaps.is_empty() { poll } else { poll.min(GAP_INTERVAL) };
            if let Ok(rung) = time::timeout(wait, sessions.bell.rings()).await {
                rung?;
            }
        }
    }

    /// Reads every row that is complete.
    async fn drain(&mut self, session: &Session) -> Result<()> {
        if self.table.is_none() {
            self.look_up(session).await?;
        }
        self.look_for_missing(session).await?;
        let Some(table) = &self.table else { return Err(Error::internal("The outbox is not known")) };
        let complete = complete_key(&self.link, session, &table.outbox, &self.options).await?;
        if complete.table != table.outbox.oid {
            return self.look_up(session).await;
        }
        if let (Some(before), Some(now)) = (self.position.drawn, complete.drawn)
            && now < before
        {
            return Err(self.begins_anew(format!("its sequence was set back from `{before}` to `{now}`")));
        }
        self.position.drawn = complete.drawn.or(self.position.drawn);
        let Some(through) = complete.key.filter(|key| self.position.after.is_none_or(|after| *key > after))
        else {
            return Ok(());
        };
        self.read(session, &Keys::Through(through)).await?;
        if self.position.after != Some(through) {
            // The rows between were taken away in the meantime.
            self.position.after = Some(through);
            self.boundary().await?;
        }
        Ok(())
    }

    /// Asks again for keys that were missing, and gives up those that have been for long enough.
    async fn look_for_missing(&mut self, session: &Session) -> Result<()> {
        if self.position.gaps.is_empty() {
            return Ok(());
        }
        self.read(session, &Keys::Missing).await?;
        let wait = u64::try_from(self.link.options.gap_wait().as_millis()).unwrap_or(u64::MAX);
        let given_up = self.position.gaps.give_up(now().saturating_sub(wait));
        if !given_up.is_empty() {
            self.say_given_up(&given_up);
            self.boundary().await?;
        }
        Ok(())
    }

    fn say_given_up(&self, gaps: &[Gap]) {
        let ranges = gaps.iter().take(5).map(|gap| match gap.from == gap.to {
            true => gap.from.to_string(),
            false => format!("{} to {}", gap.from, gap.to),
        });
        let ranges: Vec<_> = ranges.collect();
        let more = gaps.len().saturating_sub(ranges.len());
        let more = if more > 0 { format!(" and {more} more ranges") } else { String::new() };
        self.link.warn(format!(
            "Keys `{}`{more} of the outbox did not come and are waited for no longer: their transactions were rolled back, or \
             their rows were deleted",
            ranges.join(", ")
        ));
    }

    /// Finds out what the outbox is, and says its shape where it has changed.
    async fn look_up(&mut self, session: &Session) -> Result<()> {
        let (outbox, shape, key) = look_up(session, &self.options).await?;
        if self.position.table.is_some_and(|table| table != outbox.oid) {
            return Err(self.begins_anew("it was dropped and made anew".into()));
        }
        self.position.table = Some(outbox.oid);
        let schema = StreamSchema::new(self.stream(), self.shapes, shape.schema());
        self.events.send(Event::Schema(schema)).await;
        self.table = Some(Table { outbox, shape: Arc::new(shape), key });
        Ok(())
    }

    /// Rows whose keys are not behind the position would never be read.
    fn begins_anew(&self, why: String) -> Error {
        let OutboxOptions { schema, table, key } = &self.options;
        let message = format!("The keys of outbox `{schema}.{table}` may begin anew: {why}");
        Error::new(ErrorKind::PositionLost, message).with_field("outbox").with_hint(format!(
            "Read all that is there with `--from-scratch`, or start at {}",
            json!({ "v": VERSION, "key": key, "after": 0 })
        ))
    }

    fn stream(&self) -> StreamId {
        self.link.options.stream()
    }

    /// Reads rows in the order of the key.
    async fn read(&mut self, session: &Session, keys: &Keys) -> Result<()> {
        let Some(table) = &self.table else { return Err(Error::internal("The outbox is not known")) };
        let (shape, key) = (Arc::clone(&table.shape), table.key);
        let increment = table.outbox.increment.unwrap_or(1);
        let condition = match keys {
            Keys::Through(through) => sql::keys_between(key, self.position.after, *through),
            Keys::Missing => sql::keys_within(key, &self.position.gaps.ranges()),
        };
        let selection = Selection { condition, order: vec![inner_column(key)] };
        let statement =
            select(&sql::outbox_rows(&self.options.schema, &self.options.table), &shape.casts(), &selection);
        session.run(sql::BEGIN_READING, READING).await?;
        if !is_unchanged(session, &self.options, table.outbox.oid, &shape).await? {
            session.run("COMMIT", READING).await?;
            self.shapes += 1;
            self.look_up(session).await?;
            return Box::pin(self.read(session, keys)).await;
        }
        let failed = |error| error::from_driver(READING, &error);
        let nothing: [&(dyn ToSql + Sync); 0] = [];
        let rows = session.work(session.client().query_raw(&statement, nothing)).await.map_err(failed)?;
        let mut rows = Box::pin(rows);
        let mut decoder = RowDecoder::new(shape.schema(), &shape.wires(), self.budgets.max_value_bytes)?;
        let mut last = self.position.after;
        session.set_busy(true);
        while let Some(row) = poll_fn(|context| rows.as_mut().poll_next(context)).await {
            let row = row.map_err(failed)?;
            let field = |index| row.try_get::<_, Option<FieldBytes<'_>>>(index).map_err(failed);
            let fields = (0..row.len()).map(|index| Ok(field(index)?.map(|FieldBytes(bytes)| bytes)));
            let fields: Vec<Option<&[u8]>> = fields.collect::<Result<_>>()?;
            let value = whole_number(fields.get(key).copied().flatten())?;
            let is_full = decoder.rows() as u64 >= self.budgets.max_batch_rows
                || decoder.bytes() as u64 >= self.budgets.max_batch_bytes;
            // A position stands behind all rows of its key.
            if is_full && last != Some(value) {
                self.hand_over(&mut decoder).await?;
            }
            decoder.append(fields)?;
            match keys {
                Keys::Missing => self.position.gaps.fill(value),
                Keys::Through(_) => {
                    let noted = last.and_then(|last| self.position.gaps.note(last, value, increment, now()));
                    if let Some(given_up) = noted {
                        self.say_given_up(&[given_up]);
                    }
                    self.position.after = Some(value);
                }
            }
            last = Some(value);
        }
        session.run("COMMIT", READING).await?;
        self.hand_over(&mut decoder).await
    }

    /// Hands over what is decoded, with the position behind it.
    async fn hand_over(&mut self, decoder: &mut RowDecoder) -> Result<()> {
        if decoder.rows() == 0 {
            return Ok(());
        }
        let rows = Rows { stream: self.stream(), schema_id: self.shapes, batch: decoder.finish()? };
        self.events.send(Event::Rows(rows)).await;
        self.boundary().await
    }

    async fn boundary(&mut self) -> Result<()> {
        self.boundaries += 1;
        let position = self.position.to_position()?;
        self.events.send(Event::Boundary(Boundary::at(self.boundaries, position))).await;
        self.handed_over = self.position.clone();
        Ok(())
    }
}

/// What the outbox is, its columns, and the key's place among them.
///
/// # Errors
/// When there is none, or it cannot be drained.
pub async fn look_up(session: &Session, options: &OutboxOptions) -> Result<(Outbox, Shape, usize)> {
    let OutboxOptions { schema, table, key } = options;
    let outbox = Outbox::find(session, options).await?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("There is no table `{schema}.{table}`"))
            .with_field("outbox")
            .with_hint("`connector-hub check` prints the statements that make an outbox")
    })?;
    outbox.check(options)?;
    let query = QueryOptions::of_statement(&sql::outbox_rows(schema, table))?;
    let prepared = Prepared::new(session, &query, None).await.map_err(|error| match error.field {
        Some(_) => error.with_field("outbox"),
        None => error,
    })?;
    let place = prepared.shape.position(key);
    let place = place.ok_or_else(|| Error::internal(format!("The outbox lost its column `{key}`")))?;
    Ok((outbox, prepared.shape, place))
}

/// Whether the outbox is still the same table, with the columns of a shape. In a transaction they stay so until its end.
async fn is_unchanged(session: &Session, options: &OutboxOptions, oid: u32, shape: &Shape) -> Result<bool> {
    let statement = sql::outbox_rows(&options.schema, &options.table);
    let prepared = session.work(session.client().prepare(&statement)).await;
    let prepared = prepared.map_err(|error| error::from_driver(READING, &error))?;
    let columns = prepared.columns();
    let names = columns.iter().map(tokio_postgres::Column::name);
    Ok(columns.iter().all(|column| column.table_oid() == Some(oid))
        && names.eq(shape.columns.iter().map(|column| column.column.name.as_str()))
        && shape
            .check_unchanged(columns.iter().map(|column| (column.type_().oid(), column.type_modifier())))
            .is_ok())
}

fn whole_number(bytes: Option<&[u8]>) -> Result<i64> {
    let wrong = || Error::new(ErrorKind::Protocol, "The outbox's key is no whole number");
    Ok(match bytes.ok_or_else(wrong)? {
        [a, b] => i64::from(i16::from_be_bytes([*a, *b])),
        [a, b, c, d] => i64::from(i32::from_be_bytes([*a, *b, *c, *d])),
        long => i64::from_be_bytes(long.try_into().map_err(|_| wrong())?),
    })
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
