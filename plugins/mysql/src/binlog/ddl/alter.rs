//! The actions of ALTER TABLE.

use super::{Changes, Parser, Table};
use crate::binlog::{
    default::ColumnDefault,
    definition::{ColumnDefinition, Kind, TableDefinition},
    history::History,
    lexer::Token,
};

const RENAMED: &str = "a column was renamed";

impl Parser<'_> {
    pub(super) fn alter(&mut self, history: &History) -> Changes {
        self.take(&["IF", "EXISTS"]);
        let Some((database, table)) = self.table() else { return Vec::new() };
        if self.take_any(&["WAIT", "NOWAIT"]) {
            self.next();
        }
        let mut definition = history.table(&database, &table).cloned();
        let of = (database.clone(), table.clone());
        let mut renamed = None;
        loop {
            let understood = match &mut definition {
                Some(definition) => self.action(definition, &of, &mut renamed),
                // Even a table that is not known may be given another name.
                None => self.action(&mut TableDefinition::default(), &of, &mut renamed),
            };
            if understood.is_none() {
                definition = None;
            }
            self.skip_item();
            if !self.take_mark(',') {
                break;
            }
        }
        if let Some(definition) = &mut definition {
            // `DEFAULT` is the database's own, which the statement does not name.
            if definition.charset.as_deref() == Some("default") {
                definition.charset = history.charset_of(&database);
            }
            definition.inherit();
        }
        match renamed {
            None => vec![(database, table, definition)],
            Some(to) => {
                self.effects.untold.push((to.clone(), "it took the place of another (RENAME)"));
                vec![(database, table, Some(TableDefinition::gone())), (to.0, to.1, definition)]
            }
        }
    }

    /// One action of ALTER TABLE; none when it is not understood, or does not fit the declaration.
    fn action(
        &mut self,
        definition: &mut TableDefinition,
        table: &Table,
        renamed: &mut Option<Table>,
    ) -> Option<()> {
        if self.take(&["ADD"]) {
            return self.add(definition, table);
        }
        if self.take(&["DROP", "PARTITION"]) {
            return self.moved_rows(definition, table, "a partition was dropped");
        }
        if self.take(&["DROP", "SYSTEM", "VERSIONING"]) {
            definition.kind = Kind::Table;
            return Some(());
        }
        if self.take(&["DROP"]) {
            return self.remove(definition);
        }
        let modify = self.take(&["MODIFY"]);
        if modify || self.take(&["CHANGE"]) {
            self.take(&["COLUMN"]);
            self.take(&["IF", "EXISTS"]);
            let old = match modify {
                true => match self.peek()? {
                    Token::Word(name) | Token::Name(name) => name.clone(),
                    Token::Text(_) | Token::Mark(_) => return None,
                },
                false => self.name()?,
            };
            let place = place_of(definition, &old)?;
            let mut column = self.column(definition)?;
            let before = definition.columns.remove(place);
            if column.name.to_lowercase() != before.name.to_lowercase() {
                self.effects.untold.push((table.clone(), RENAMED));
            }
            if column.key.is_none() && before.key.is_some() {
                (column.key, column.nullable) = (before.key, false);
            }
            let place = self.placed(definition, place)?;
            definition.columns.insert(place, column);
            return Some(());
        }
        if self.take(&["RENAME"]) {
            if self.take(&["COLUMN"]) {
                self.take(&["IF", "EXISTS"]);
                let old = self.name()?;
                self.take(&["TO"]);
                let place = place_of(definition, &old)?;
                definition.columns[place].name = self.name()?;
                self.effects.untold.push((table.clone(), RENAMED));
            } else if !self.take_any(&["INDEX", "KEY"]) {
                if !self.take_any(&["TO", "AS"]) {
                    self.take_mark('=');
                }
                *renamed = Some(self.table()?);
            }
            return Some(());
        }
        if self.take(&["CONVERT", "TO"]) {
            if !self.take(&["CHARACTER", "SET"]) && !self.take(&["CHARSET"]) {
                return None;
            }
            definition.charset = Some(self.name()?.to_lowercase());
            definition
                .columns
                .iter_mut()
                .filter(|column| column.is_text())
                .for_each(|column| column.charset = None);
            return Some(());
        }
        if self.take(&["ALTER"]) {
            return self.alter_column(definition);
        }
        for (words, what) in [
            (["EXCHANGE", "PARTITION"], "a partition was exchanged"),
            (["TRUNCATE", "PARTITION"], "a partition was emptied"),
            (["CONVERT", "PARTITION"], "a partition became a table"),
            (["CONVERT", "TABLE"], "a table became a partition"),
            (["IMPORT", "TABLESPACE"], "its file was imported"),
            (["DISCARD", "TABLESPACE"], "its file was discarded"),
        ] {
            if self.take(&words) {
                return self.moved_rows(definition, table, what);
            }
        }
        // Options, indexes, partitions: columns stay as they are. What changes columns in ways of its own is
        // not understood.
        if self.take_any(&["ADD", "PERIOD"]) {
            return None;
        }
        while self.peek().is_some_and(|token| !token.is_mark(',')) {
            if self.take_mark('(') {
                self.skip_parentheses();
            } else if let Some(charset) = self.charset_option() {
                definition.charset = Some(charset);
            }
        }
        Some(())
    }

    /// An action that gives a table other rows, or another table its rows, without a word of them in the log.
    fn moved_rows(&mut self, definition: &TableDefinition, table: &Table, what: &'static str) -> Option<()> {
        self.effects.untold.push((table.clone(), what));
        while self.peek().is_some_and(|token| !token.is_mark(',')) {
            if self.take_any(&["TABLE"]) {
                let other = self.table()?;
                if what.ends_with("became a table") {
                    let like = Some(definition.clone()).filter(|like| !like.columns.is_empty());
                    self.effects.changes.push((other.0.clone(), other.1.clone(), like));
                }
                self.effects.untold.push((other, what));
            } else if self.take_mark('(') {
                self.skip_parentheses();
            } else {
                self.next();
            }
        }
        Some(())
    }

    /// Another default of a column, or its visibility.
    fn alter_column(&mut self, definition: &mut TableDefinition) -> Option<()> {
        if !self.take(&["COLUMN"]) && self.take_any(&["INDEX", "KEY", "CHECK", "CONSTRAINT"]) {
            return Some(());
        }
        self.take(&["IF", "EXISTS"]);
        let name = self.name()?;
        let place = place_of(definition, &name)?;
        if self.take(&["SET", "DEFAULT"]) {
            definition.columns[place].default = self.constant();
        } else if self.take(&["DROP", "DEFAULT"]) {
            definition.columns[place].default = ColumnDefault::Undeclared;
        }
        Some(())
    }

    fn add(&mut self, definition: &mut TableDefinition, table: &Table) -> Option<()> {
        let is = |token: &Token, words: &[&str]| words.iter().any(|word| token.is(word));
        if self.take(&["CONSTRAINT"]) && !is(self.peek()?, &["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]) {
            self.name()?;
        }
        if self.take(&["PRIMARY", "KEY"]) {
            return self.primary_key(definition);
        }
        if is(
            self.peek()?,
            &["INDEX", "KEY", "UNIQUE", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK", "PARTITION"],
        ) {
            return Some(());
        }
        if self.take(&["SYSTEM", "VERSIONING"]) {
            definition.kind = Kind::Versioned;
            return Some(());
        }
        if is(self.peek()?, &["PERIOD"]) {
            return None;
        }
        self.take(&["COLUMN"]);
        let only_new = self.take(&["IF", "NOT", "EXISTS"]);
        if self.take_mark('(') {
            loop {
                let column = self.column(definition)?;
                self.note_filled(table, &column);
                definition.columns.push(column);
                if !self.take_mark(',') {
                    break;
                }
            }
            return self.take_mark(')').then_some(());
        }
        let column = self.column(definition)?;
        let last = definition.columns.len();
        let place = self.placed(definition, last)?;
        if only_new && place_of(definition, &column.name).is_some() {
            return Some(());
        }
        self.note_filled(table, &column);
        definition.columns.insert(place, column);
        Some(())
    }

    /// Rows that are there have something else than null in a new column.
    fn note_filled(&mut self, table: &Table, column: &ColumnDefinition) {
        if !column.nullable || column.default != ColumnDefault::Undeclared {
            self.effects
                .untold
                .push((table.clone(), "a column was added with a value for the rows that are there"));
        }
    }

    fn remove(&mut self, definition: &mut TableDefinition) -> Option<()> {
        if self.take(&["PRIMARY", "KEY"]) {
            definition.columns.iter_mut().for_each(|column| column.key = None);
            return Some(());
        }
        let explicit = self.take(&["COLUMN"]);
        if !explicit {
            let others = ["INDEX", "KEY", "FOREIGN", "CONSTRAINT", "CHECK"];
            if others.iter().any(|word| self.peek().is_some_and(|token| token.is(word))) {
                return Some(());
            }
            if self.peek().is_some_and(|token| token.is("PERIOD")) {
                return None;
            }
        }
        let only_old = self.take(&["IF", "EXISTS"]);
        let name = self.name()?;
        match place_of(definition, &name) {
            Some(place) => drop(definition.columns.remove(place)),
            None if only_old => {}
            None => return None,
        }
        Some(())
    }

    /// Where a column goes that would otherwise be at `place`.
    fn placed(&mut self, definition: &TableDefinition, place: usize) -> Option<usize> {
        if self.take(&["FIRST"]) {
            return Some(0);
        }
        if self.take(&["AFTER"]) {
            let name = self.name()?;
            return place_of(definition, &name).map(|place| place + 1);
        }
        Some(place)
    }
}

fn place_of(definition: &TableDefinition, name: &str) -> Option<usize> {
    definition.columns.iter().position(|column| column.name.to_lowercase() == name.to_lowercase())
}
