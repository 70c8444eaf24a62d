//! What a statement of the log does, as far as it matters for following rows.

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
pub fn read(text: &str) -> Statement {
    let mut words = Words(text);
    let first = words.next().unwrap_or_default().to_ascii_uppercase();
    let mut second = || words.next().unwrap_or_default().to_ascii_uppercase();
    match first.as_str() {
        "BEGIN" => Statement::Begin,
        "COMMIT" => Statement::Commit,
        "SAVEPOINT" | "RELEASE" => Statement::Savepoint,
        "ROLLBACK" => match second().as_str() {
            "" => Statement::Rollback,
            _ => Statement::RollbackToSavepoint,
        },
        "XA" => match second().as_str() {
            "START" | "BEGIN" => Statement::Begin,
            "END" => Statement::Savepoint,
            _ => Statement::Other,
        },
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "WITH" | "CALL" => Statement::Change,
        "TRUNCATE" => match truncated(&mut words) {
            Some(name) => Statement::Truncate(name),
            None => Statement::Other,
        },
        _ => Statement::Other,
    }
}

fn truncated(words: &mut Words<'_>) -> Option<Name> {
    let mut name = words.next()?;
    if name.eq_ignore_ascii_case("TABLE") {
        name = words.next()?;
    }
    let mut ahead = Words(words.0);
    if ahead.next().as_deref() == Some(".") {
        return Some(Name { database: Some(name), table: ahead.next()? });
    }
    Some(Name { database: None, table: name })
}

/// The words of a statement: names without their quotes, marks one by one, comments left out. What stands in a
/// comment that the servers run (`/*!50000 … */`) is part of the statement.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a>(pub &'a str);

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            self.0 = self.0.trim_start();
            if let Some(rest) = self.0.strip_prefix("/*!").or_else(|| self.0.strip_prefix("/*M!")) {
                self.0 = rest.trim_start_matches(|one: char| one.is_ascii_digit());
            } else if let Some(rest) = self.0.strip_prefix("*/") {
                self.0 = rest;
            } else if let Some(rest) = self.0.strip_prefix("/*") {
                self.0 = rest.find("*/").map_or("", |end| &rest[end + 2..]);
            } else if self.0.starts_with('#') || self.0.starts_with("-- ") || self.0.starts_with("--\n") {
                self.0 = self.0.find('\n').map_or("", |end| &self.0[end + 1..]);
            } else {
                break;
            }
        }
        let first = self.0.chars().next()?;
        if first == '`' {
            let rest = &self.0[1..];
            let mut name = String::new();
            let mut marks = rest.char_indices().peekable();
            while let Some((place, one)) = marks.next() {
                if one != '`' {
                    name.push(one);
                } else if marks.next_if(|(_, next)| *next == '`').is_some() {
                    name.push('`');
                } else {
                    self.0 = &rest[place + 1..];
                    return Some(name);
                }
            }
            self.0 = "";
            return Some(name);
        }
        let is_word = |one: char| one.is_alphanumeric() || one == '_' || one == '$';
        let end = match is_word(first) {
            true => self.0.find(|one: char| !is_word(one)).unwrap_or(self.0.len()),
            false => first.len_utf8(),
        };
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(word.to_owned())
    }
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
            ("XA START X'01',X'',1", Statement::Begin),
            ("XA COMMIT X'01',X'',1", Statement::Other),
            ("-- note\nINSERT INTO t VALUES (1)", Statement::Change),
            ("truncate table `a``b`", name(None, "a`b")),
            ("/*!50000 TRUNCATE */ db.t", name(Some("db"), "t")),
            ("TRUNCATE `my db` . `t 1`", name(Some("my db"), "t 1")),
            ("CREATE TABLE t (a int)", Statement::Other),
            ("", Statement::Other),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
