//! Whether the captured tables are still published.
//!
//! A table that was dropped, made anew or taken out of its publication sends nothing more, and the server does not say
//! so: the stream goes on as if nobody changed it. Only the catalog tells.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use hub_plugin_api::{Context, Error, ErrorKind, Level, Result};

use super::{decoder::Wanted, publication, tables};
use crate::{connection::Session, error, sql::wal};

/// How often the catalog is asked.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Looks at the publication from time to time.
pub struct Watch {
    context: Context,
    publication: String,
    oids: Vec<u32>,
    schemas: Vec<String>,
    names: Vec<String>,
    /// Tables of which it was said that they are gone.
    told: HashSet<u32>,
    next: Instant,
}

impl Watch {
    /// The plan has just seen that all of them are published.
    pub fn new(context: &Context, publication: &str, wanted: &HashMap<u32, Wanted>) -> Self {
        let of = |text: fn(&Wanted) -> &String| wanted.values().map(|one| text(one).clone()).collect();
        Self {
            context: context.clone(),
            publication: publication.to_owned(),
            oids: wanted.keys().copied().collect(),
            schemas: of(|one| &one.schema),
            names: of(|one| &one.name),
            told: HashSet::new(),
            next: Instant::now() + LOOK_EVERY,
        }
    }

    /// Whether it is time.
    pub fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// Fails when changes of a captured table are no longer sent; one that was dropped is only told of, because it has
    /// no changes.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the publication is gone or lacks a table, [`ErrorKind::SchemaMismatch`] when a table
    /// was made anew.
    pub async fn look(&mut self, session: &Session) -> Result<()> {
        self.next = Instant::now() + LOOK_EVERY;
        let failed = |error| error::from_driver("Could not look at the publication", &error);
        publication::find(session, &self.publication).await?;
        let Self { publication, oids, schemas, names, .. } = self;
        let rows = session
            .work(session.client().query(wal::NO_LONGER_PUBLISHED, &[publication, oids, schemas, names]))
            .await
            .map_err(failed)?;
        for row in rows {
            let oid: u32 = row.try_get(0).map_err(failed)?;
            let exists: bool = row.try_get(1).map_err(failed)?;
            let has_namesake: bool = row.try_get(2).map_err(failed)?;
            let Some(at) = self.oids.iter().position(|known| *known == oid) else { continue };
            let table = format!("{}.{}", self.schemas[at], self.names[at]);
            if exists {
                return Err(tables::lacks(&self.publication, &table));
            }
            if has_namesake {
                let message = format!("Table `{table}` was dropped and made anew");
                return Err(Error::new(ErrorKind::SchemaMismatch, message).with_field("tables").with_hint(
                    "Run again: the new table is read like one that is added, without a gap. What only the old one had \
                     stays at the destination; empty the table there first if it is not to",
                ));
            }
            if self.told.insert(oid) {
                let message = format!("Table `{table}` was dropped: its rows stay at the destination");
                self.context.log(Level::Warn, "postgres", message);
            }
        }
        Ok(())
    }
}
