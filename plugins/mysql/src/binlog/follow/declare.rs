//! Statements of the log that make, alter, rename and drop tables.

use hub_plugin_api::{Event, Result, StreamId};

use super::Follower;
use crate::binlog::{
    ddl::{self, Effects},
    definition::Kind,
    query::Query,
};

impl Follower {
    /// Follows what a statement does to tables.
    pub(super) fn declare(&mut self, query: &Query) -> Result<()> {
        let Effects { mut changes, mut emptied, untold } =
            ddl::effects(query, &self.history, self.small_letters);
        let filter = &self.wishes.filter;
        let is_ours = |database: &str, table: &str| !table.is_empty() && filter.matches(database, table);
        changes.retain_mut(|(database, table, definition)| {
            let is_known = self.history.named(database, table).is_some();
            match definition {
                Some(gone) if gone.kind == Kind::Gone => {
                    if !is_ours(database, table) {
                        *definition = None;
                    }
                    is_known || definition.is_some()
                }
                // Also of a table that is not followed: it may take the place of one that is.
                Some(_) => is_known || filter.may_match_database(database),
                None => is_known,
            }
        });
        emptied.retain(|(database, table)| is_ours(database, table));
        for ((database, table), what) in untold {
            if is_ours(&database, &table) {
                self.notices.push(format!(
                    "Rows of table `{database}.{table}` are others now, and the log does not say which: {what}. What was \
                     copied stays as it is; `connector-hub signal PIPELINE reread {table}` reads the rows that are \
                     there now"
                ));
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let changes_ours = changes.iter().any(|(database, table, _)| is_ours(database, table));
        // A destination whose transaction holds a table cannot change it: what came before is committed first.
        if changes_ours {
            self.commit()?;
        }
        self.position.schema += 1;
        self.history.change(self.position.schema, changes)?;
        // An equal table map may mean another table now.
        self.tables.iter_mut().for_each(|table| table.map.clear());
        self.by_id.clear();
        // A table that was made anew has none of the rows that the dropped one had.
        if emptied.is_empty() {
            return Ok(());
        }
        emptied.into_iter().try_for_each(|(database, table)| self.empty(database, table))?;
        self.commit()
    }

    /// Has what came so far committed, where a boundary can stand here.
    fn commit(&mut self) -> Result<()> {
        if self.uncommitted && self.open.as_ref().is_none_or(|open| open.rows == 0) {
            self.hand_over()?;
            if let Some(Event::Boundary(boundary)) = self.out.back_mut() {
                boundary.must_commit = true;
            }
            self.uncommitted = false;
        }
        Ok(())
    }

    /// A table lost all its rows.
    pub(super) fn empty(&mut self, database: String, table: String) -> Result<()> {
        if self.wishes.filter.matches(&database, &table) {
            self.flush_rows()?;
            self.out.push_back(Event::Truncate(vec![StreamId::new([database], table)]));
            (self.moved, self.uncommitted) = (true, true);
        }
        Ok(())
    }
}
