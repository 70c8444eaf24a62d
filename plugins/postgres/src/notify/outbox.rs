//! What an outbox is, and up to which key it is complete.

use std::time::{Duration, Instant};

use hub_plugin_api::{Error, ErrorKind, Result};
use tokio::time;

use super::{link::Link, options::OutboxOptions};
use crate::{connection::Session, error, sql::notify as sql};

/// How long writers are waited for before that is said.
const LONG_WAIT: Duration = Duration::from_secs(10);
/// Pauses between two looks at the writers.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(200));

/// What the catalog says of an outbox.
#[derive(Clone, Debug)]
pub struct Outbox {
    /// The table.
    pub oid: u32,
    /// It is a table, partitioned or not.
    pub is_table: bool,
    /// The key's type; `None` where there is no such column.
    pub key_type: Option<String>,
    /// The key is NOT NULL.
    pub key_not_null: bool,
    /// An index begins with the key.
    pub key_indexed: bool,
    /// How many keys a session draws at once.
    pub cache: Option<i64>,
    /// The step between two keys.
    pub increment: Option<i64>,
    /// The sequence that the keys come from.
    pub sequence: Option<u32>,
    /// The role may use the schema, and read the table.
    pub usage: bool,
    pub select: bool,
    /// A trigger notifies of new rows.
    pub notifies: bool,
}

impl Outbox {
    /// Asks the catalog; `None` when there is no such table.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn find(session: &Session, options: &OutboxOptions) -> Result<Option<Self>> {
        let failed = |error| error::from_driver("Could not look up the outbox", &error);
        let OutboxOptions { schema, table, key } = options;
        let client = session.client();
        let row = session.work(client.query_opt(sql::OUTBOX, &[schema, table, key])).await.map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let read = || -> Result<Self, tokio_postgres::Error> {
            let kind: String = row.try_get(1)?;
            Ok(Self {
                oid: row.try_get(0)?,
                is_table: matches!(kind.as_str(), "r" | "p"),
                key_type: row.try_get(2)?,
                key_not_null: row.try_get(3)?,
                key_indexed: row.try_get(4)?,
                cache: row.try_get(5)?,
                increment: row.try_get(6)?,
                sequence: row.try_get(7)?,
                usage: row.try_get(8)?,
                select: row.try_get(9)?,
                notifies: row.try_get(10)?,
            })
        };
        read().map(Some).map_err(failed)
    }

    /// Fails unless the table can be drained in the order of its key.
    ///
    /// # Errors
    /// With the field at fault.
    pub fn check(&self, options: &OutboxOptions) -> Result<()> {
        let OutboxOptions { schema, table, key } = options;
        if !self.is_table {
            return Err(Error::new(ErrorKind::Unsupported, format!("`{schema}.{table}` is no table"))
                .with_field("outbox")
                .with_hint("Rows that are not complete yet are known by the locks on a table"));
        }
        let Some(key_type) = &self.key_type else {
            return Err(Error::new(ErrorKind::NotFound, format!("The outbox has no column `{key}`"))
                .with_field("outbox_key"));
        };
        if !matches!(key_type.as_str(), "int2" | "int4" | "int8") {
            return Err(Error::config(
                "outbox_key",
                format!("Column `{key}` is `{key_type}`: the key of an outbox is a whole number"),
            )
            .with_hint("Add a `bigint GENERATED ALWAYS AS IDENTITY` column"));
        }
        if !self.key_not_null {
            return Err(Error::config("outbox_key", format!("Column `{key}` may be null"))
                .with_hint("A row without a key would never be read: make the column NOT NULL"));
        }
        if let Some(cache) = self.cache.filter(|cache| *cache > 1) {
            return Err(Error::config(
                "outbox_key",
                format!("The sequence of column `{key}` hands out `{cache}` keys at a time to each session"),
            )
            .with_hint("Rows that are added later may have smaller keys: set the sequence to CACHE 1"));
        }
        if self.increment.is_some_and(|increment| increment < 0) {
            return Err(Error::config("outbox_key", format!("The sequence of column `{key}` counts down")));
        }
        Ok(())
    }
}

/// How far an outbox may be read.
#[derive(Clone, Copy, Debug)]
pub struct Complete {
    /// The greatest key that is there.
    pub key: Option<i64>,
    /// The last key that its sequence gave out, where there is one and the role may know.
    pub drawn: Option<i64>,
    /// The table that has the outbox's name.
    pub table: u32,
}

/// The greatest key that is there, once every transaction is over that might still add a smaller one.
///
/// A writer locks the table before its statement draws a key from the sequence. So whoever may still commit a key that
/// is smaller than one seen now holds its lock now; when those locks are gone, a new statement sees all their rows.
/// Keys that were drawn before the statement that uses them escape this: they are missed as gaps.
///
/// # Errors
/// When the server does not answer.
pub async fn complete_key(
    link: &Link,
    session: &Session,
    outbox: &Outbox,
    options: &OutboxOptions,
) -> Result<Complete> {
    let failed = |error| error::from_driver("Could not look at the outbox", &error);
    let client = session.client();
    let greatest = sql::greatest_key(&options.schema, &options.table, &options.key, outbox.sequence);
    let row = session.work(client.query_one(&greatest, &[])).await.map_err(failed)?;
    let complete = Complete {
        key: row.try_get(0).map_err(failed)?,
        drawn: row.try_get(1).map_err(failed)?,
        table: row.try_get(2).map_err(failed)?,
    };
    if complete.key.is_none() {
        return Ok(complete);
    }
    let mut waited_for: Option<Vec<String>> = None;
    let (mut pause, longest) = PAUSES;
    let (started, mut said) = (Instant::now(), false);
    loop {
        let rows = session.work(client.query(sql::WRITERS, &[&outbox.oid])).await.map_err(failed)?;
        let mut writers = Vec::with_capacity(rows.len());
        for row in &rows {
            let transaction: String = row.try_get(0).map_err(failed)?;
            let process: Option<i32> = row.try_get(1).map_err(failed)?;
            if waited_for.as_ref().is_none_or(|known| known.contains(&transaction)) {
                writers.push((transaction, process));
            }
        }
        if writers.is_empty() {
            return Ok(complete);
        }
        if !said && started.elapsed() > LONG_WAIT {
            said = true;
            let process = |process: Option<i32>| process.map_or("prepared".into(), |id| id.to_string());
            let processes: Vec<String> = writers.iter().map(|(_, id)| process(*id)).collect();
            link.warn(format!(
                "The outbox is not read further before these transactions end, as they may add earlier rows: `{}`",
                processes.join(", ")
            ));
        }
        waited_for = Some(writers.into_iter().map(|(transaction, _)| transaction).collect());
        time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}
