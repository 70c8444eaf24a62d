//! Words, marks and names of a statement, one after the other.

use super::{Parser, Table};
use crate::binlog::lexer::Token;

impl Parser<'_> {
    pub(super) fn peek(&self) -> Option<&Token> {
        self.rest.first()
    }

    pub(super) fn next(&mut self) -> Option<&Token> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// Takes words, if all of them come next.
    pub(super) fn take(&mut self, words: &[&str]) -> bool {
        let found =
            self.rest.len() >= words.len() && self.rest.iter().zip(words).all(|(one, word)| one.is(word));
        if found {
            self.rest = &self.rest[words.len()..];
        }
        found
    }

    pub(super) fn take_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.take(&[word]))
    }

    pub(super) fn take_mark(&mut self, mark: char) -> bool {
        let found = self.peek().is_some_and(|token| token.is_mark(mark));
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    pub(super) fn name(&mut self) -> Option<String> {
        match self.next()? {
            Token::Word(name) | Token::Name(name) => Some(name.clone()),
            // With ANSI_QUOTES a name may stand in double quotes.
            Token::Text(name) => Some(name.clone()),
            Token::Mark(_) => None,
        }
    }

    /// The name of a table or a database.
    pub(super) fn table_name(&mut self) -> Option<String> {
        let name = self.name()?;
        Some(if self.small_letters { name.to_lowercase() } else { name })
    }

    pub(super) fn table(&mut self) -> Option<Table> {
        let first = self.table_name()?;
        if self.take_mark('.') {
            return Some((first, self.table_name()?));
        }
        Some((self.query.database.clone(), first))
    }

    /// Goes on behind a closing parenthesis.
    pub(super) fn skip_parentheses(&mut self) {
        let mut depth = 1;
        while let Some(token) = self.next() {
            if token.is_mark('(') {
                depth += 1;
            } else if token.is_mark(')') {
                depth -= 1;
                if depth == 0 {
                    return;
                }
            }
        }
    }

    /// Goes to the next comma or closing parenthesis of this level.
    pub(super) fn skip_item(&mut self) {
        while let Some(token) = self.peek() {
            if token.is_mark(',') || token.is_mark(')') {
                return;
            }
            if self.take_mark('(') {
                self.skip_parentheses();
            } else {
                self.next();
            }
        }
    }
}
