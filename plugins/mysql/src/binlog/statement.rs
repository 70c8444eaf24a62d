//! What a statement of the log does, as far as it matters for following rows.

use super::lexer::{Quotes, Token, tokens};

/// A table's name as a statement writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The database, where the statement names one.
    pub database: Option<String>,
    /// The table.
    pub table: String,
}

impl Name {
    /// Database and table, for a statement that was run in `database`.
    pub fn within(self, database: &str) -> (String, String) {
        (self.database.unwrap_or_else(|| database.to_owned()), self.table)
    }
}

/// What a statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// Starts a transaction.
    Begin,
    /// Starts an XA transaction.
    XaStart,
    /// Commits one that was prepared, by its name.
    XaCommit(String),
    /// Takes one back that was prepared.
    XaRollback(String),
    /// Ends one.
    Commit,
    /// Takes one back.
    Rollback,
    /// Marks a place in one, or forgets it.
    Savepoint,
    /// Takes back what came after a mark.
    RollbackToSavepoint,
    /// Changes rows, in place of an event that holds them.
    Change,
    /// Empties a table.
    Truncate(Name),
    /// Anything else.
    Other,
}

/// Reads as much of a statement as is needed.
pub fn read(text: &str, quotes: Quotes) -> Statement {
    // A statement of rows may be long, and its first words say all of it.
    let mut end = text.len().min(4096);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let words = tokens(&text[..end], quotes);
    let is = |place: usize, any: &[&str]| {
        words.get(place).is_some_and(|token: &Token| any.iter().any(|word| token.is(word)))
    };
    if is(0, &["BEGIN"]) {
        Statement::Begin
    } else if is(0, &["XA"]) && is(1, &["START", "BEGIN"]) {
        Statement::XaStart
    } else if is(0, &["XA"]) && is(1, &["COMMIT"]) {
        Statement::XaCommit(xa_name(&words))
    } else if is(0, &["XA"]) && is(1, &["ROLLBACK"]) {
        Statement::XaRollback(xa_name(&words))
    } else if is(0, &["COMMIT"]) {
        Statement::Commit
    } else if is(0, &["SAVEPOINT", "RELEASE"]) || is(0, &["XA"]) && is(1, &["END"]) {
        Statement::Savepoint
    } else if is(0, &["ROLLBACK"]) {
        if words.len() == 1 { Statement::Rollback } else { Statement::RollbackToSavepoint }
    } else if is(0, &["INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH", "CALL"]) {
        Statement::Change
    } else if is(0, &["TRUNCATE"]) {
        let name = &words[if is(1, &["TABLE"]) { 2 } else { 1 }.min(words.len())..];
        let text = |token: &Token| match token {
            Token::Word(name) | Token::Name(name) | Token::Text(name) => Some(name.clone()),
            Token::Mark(_) => None,
        };
        match name {
            [database, Token::Mark('.'), table, ..] => match text(table) {
                Some(table) => Statement::Truncate(Name { database: text(database), table }),
                None => Statement::Other,
            },
            [table, ..] => match text(table) {
                Some(table) => Statement::Truncate(Name { database: None, table }),
                None => Statement::Other,
            },
            [] => Statement::Other,
        }
    } else {
        Statement::Other
    }
}

/// The name of an XA transaction, as the servers write it into the log: `X'6162',X'',1`.
fn xa_name(words: &[Token]) -> String {
    let one = |token: &Token| match token {
        Token::Word(word) | Token::Name(word) => word.to_lowercase(),
        Token::Text(text) => format!("'{}'", text.to_lowercase()),
        Token::Mark(mark) => mark.to_string(),
    };
    words.get(2..).unwrap_or_default().iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_known_by_their_first_words() {
        let name = |database: Option<&str>, table: &str| {
            Statement::Truncate(Name { database: database.map(str::to_owned), table: table.to_owned() })
        };
        for (text, expected) in [
            ("BEGIN", Statement::Begin),
            ("  /* hello */ commit", Statement::Commit),
            ("ROLLBACK", Statement::Rollback),
            ("ROLLBACK TO `a`", Statement::RollbackToSavepoint),
            ("XA START X'01',X'',1", Statement::XaStart),
            ("XA COMMIT X'0A',X'',1", Statement::XaCommit("x'0a',x'',1".into())),
            ("XA ROLLBACK X'01',X'',1", Statement::XaRollback("x'01',x'',1".into())),
            ("-- note\nINSERT INTO t VALUES (1)", Statement::Change),
            ("truncate table `a``b`", name(None, "a`b")),
            ("/*!50000 TRUNCATE */ db.t", name(Some("db"), "t")),
            ("TRUNCATE `my db` . `t 1`", name(Some("my db"), "t 1")),
            ("CREATE TABLE t (a int)", Statement::Other),
            ("", Statement::Other),
        ] {
            assert_eq!(read(text, Quotes::default()), expected, "{text}");
        }
    }
}
