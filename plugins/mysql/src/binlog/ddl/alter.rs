//! The actions of ALTER TABLE.

use super::{Changes, Parser, Table};
use crate::{
    binlog::{default::ColumnDefault, definition::TableDefinition, history::History, lexer::Token},
    types::ServerType,
};

impl Parser<'_> {
    pub(super) fn alter(&mut self, history: &History) -> Changes {
        self.take(&["IF", "EXISTS"]);
        let Some((database, table)) = self.table() else { return Vec::new() };
        if self.take_any(&["WAIT", "NOWAIT"]) {
            self.next();
        }
        let mut definition = history.table(&database, &table).cloned();
        let mut renamed = None;
        loop {
            let understood = match &mut definition {
                Some(definition) => self.action(definition, &mut renamed),
                // Even a table that is not known may be given another name.
                None => self.action(&mut TableDefinition::default(), &mut renamed).map(drop),
            };
            if understood.is_none() {
                definition = None;
            }
            self.skip_item();
            if !self.take_mark(',') {
                break;
            }
        }
        match renamed {
            None => vec![(database, table, definition)],
            Some(to) => vec![(database, table, None), (to.0, to.1, definition)],
        }
    }

    /// One action of ALTER TABLE; none when it is not understood, or does not fit the declaration.
    fn action(&mut self, definition: &mut TableDefinition, renamed: &mut Option<Table>) -> Option<()> {
        if self.take(&["ADD"]) {
            return self.add(definition);
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
                    _ => return None,
                },
                false => self.name()?,
            };
            let place = place_of(definition, &old)?;
            let mut column = self.column(definition)?;
            let before = definition.columns.remove(place);
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
            let charset = self.name()?.to_lowercase();
            for column in &mut definition.columns {
                let is_text = matches!(
                    ServerType::of_declared(&column.declared),
                    Some(ServerType::Text | ServerType::Enum(_) | ServerType::Set)
                );
                if is_text {
                    // `DEFAULT` is the database's own, which the statement does not name.
                    column.charset = Some(charset.clone()).filter(|name| name != "default");
                }
            }
            return Some(());
        }
        if self.take(&["ALTER"]) {
            return self.alter_column(definition);
        }
        // Options, indexes, partitions: columns stay as they are. What changes columns in ways of its own is
        // not understood.
        if self.take_any(&["ADD", "EXCHANGE", "PERIOD"]) { None } else { Some(()) }
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

    fn add(&mut self, definition: &mut TableDefinition) -> Option<()> {
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
        if is(self.peek()?, &["SYSTEM", "PERIOD"]) {
            return None;
        }
        self.take(&["COLUMN"]);
        let only_new = self.take(&["IF", "NOT", "EXISTS"]);
        if self.take_mark('(') {
            loop {
                let column = self.column(definition)?;
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
        definition.columns.insert(place, column);
        Some(())
    }

    fn remove(&mut self, definition: &mut TableDefinition) -> Option<()> {
        if self.take(&["PRIMARY", "KEY"]) {
            definition.columns.iter_mut().for_each(|column| column.key = None);
            return Some(());
        }
        let explicit = self.take(&["COLUMN"]);
        if !explicit {
            let others = ["INDEX", "KEY", "FOREIGN", "CONSTRAINT", "CHECK", "PARTITION"];
            if others.iter().any(|word| self.peek().is_some_and(|token| token.is(word))) {
                return Some(());
            }
            if self.peek().is_some_and(|token| token.is("SYSTEM") || token.is("PERIOD")) {
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
