//! Statements of the user's own: `{{column}}` becomes a bound parameter, and is refused where none can stand.
//!
//! The text is taken apart by the server's lexical rules (PostgreSQL manual, section "Lexical Structure"), so that a
//! placeholder inside a string, a quoted name or a comment is seen for what it is.

use hub_plugin_api::{Error, Result};

/// A value that a statement asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placeholder {
    /// The column's name.
    pub column: String,
    /// As the row was before the change.
    pub before: bool,
}

/// A statement with `$1`, `$2` … in the place of its placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    pub statement: String,
    /// One for each parameter: the same column twice is two, because each may be of another type.
    pub placeholders: Vec<Placeholder>,
}

/// What a prefix asks the row as it was for.
const BEFORE: &str = "__before.";
/// Words that a statement of its own must not begin with: they would end or cut the writer's transaction, or need data
/// that no parameter carries.
const FORBIDDEN: [&str; 13] = [
    "abort",
    "begin",
    "checkpoint",
    "commit",
    "copy",
    "deallocate",
    "discard",
    "end",
    "prepare",
    "release",
    "rollback",
    "savepoint",
    "start",
];

impl Template {
    /// Takes a statement apart.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with what is wrong and where.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut parser =
            Parser { text, at: 0, statement: String::new(), placeholders: Vec::new(), first_word: None };
        parser.run()?;
        match &parser.first_word {
            None => return Err(Error::config("statements", "A statement is empty")),
            Some(word) if FORBIDDEN.contains(&word.as_str()) => {
                let message = format!("A statement must not begin with `{}`", word.to_uppercase());
                return Err(Error::config("statements", message)
                    .with_hint("It runs for each row inside of the writer's own transaction"));
            }
            Some(_) => {}
        }
        Ok(Self { statement: parser.statement, placeholders: parser.placeholders })
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    statement: String,
    placeholders: Vec<Placeholder>,
    first_word: Option<String>,
}

fn starts_word(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_' || !character.is_ascii()
}

fn continues_word(character: char) -> bool {
    starts_word(character) || character.is_ascii_digit() || character == '$'
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn refuse(&self, at: usize, what: &str) -> Error {
        let character = self.text[..at].chars().count() + 1;
        Error::config("statements", format!("{what} at character {character} of a statement"))
    }

    /// Takes the next `length` bytes over as they are.
    fn keep(&mut self, length: usize) {
        self.statement.push_str(&self.text[self.at..self.at + length]);
        self.at += length;
    }

    fn run(&mut self) -> Result<()> {
        while let Some(next) = self.rest().chars().next() {
            let rest = self.rest();
            match next {
                _ if rest.starts_with("{{") => self.placeholder()?,
                _ if rest.starts_with("--") => {
                    let length = rest.find(['\n', '\r']).unwrap_or(rest.len());
                    self.skip_quoted(length, "a comment")?;
                }
                _ if rest.starts_with("/*") => {
                    let length = self.comment()?;
                    self.skip_quoted(length, "a comment")?;
                }
                '\'' => self.quoted('\'', false)?,
                '"' => self.quoted('"', false)?,
                '$' => self.dollar()?,
                ';' => self.end()?,
                '\0' => return Err(self.refuse(self.at, "A NUL character stands")),
                _ if starts_word(next) => self.word()?,
                // The letters behind a number belong to it, and a `$` there quotes nothing.
                _ if next.is_ascii_digit() => {
                    let length = rest.find(|c| !continues_word(c)).unwrap_or(rest.len());
                    self.keep(length);
                }
                _ => self.keep(next.len_utf8()),
            }
            if self.first_word.is_none() && !next.is_whitespace() && !matches!(next, '-' | '/' | ';') {
                self.first_word = Some(next.to_string());
            }
        }
        Ok(())
    }

    /// Takes something over in which a placeholder would be text.
    fn skip_quoted(&mut self, length: usize, inside: &str) -> Result<()> {
        if let Some(place) = self.rest()[..length].find("{{") {
            let message = format!("A placeholder stands inside {inside}");
            return Err(self
                .refuse(self.at + place, &message)
                .with_hint("A placeholder is a whole value: take the quotes away, or join texts with `||`"));
        }
        self.keep(length);
        Ok(())
    }

    fn word(&mut self) -> Result<()> {
        let rest = self.rest();
        let length = rest.find(|c| !continues_word(c)).unwrap_or(rest.len());
        let word = rest[..length].to_lowercase();
        self.keep(length);
        if self.first_word.is_none() {
            self.first_word = Some(word.clone());
        }
        if word == "e" && self.rest().starts_with('\'') {
            return self.quoted('\'', true);
        }
        Ok(())
    }

    fn quoted(&mut self, quote: char, escapes: bool) -> Result<()> {
        let rest = self.rest();
        let mut characters = rest.char_indices().skip(1).peekable();
        let mut end = None;
        while let Some((place, character)) = characters.next() {
            if escapes && character == '\\' {
                characters.next();
            } else if character == quote {
                // Two quotes are one of the text.
                if characters.next_if(|(_, next)| *next == quote).is_none() {
                    end = Some(place + 1);
                    break;
                }
            }
        }
        let Some(length) = end else { return Err(self.refuse(self.at, "A quote without an end stands")) };
        self.skip_quoted(length, if quote == '"' { "a quoted name" } else { "a string" })
    }

    /// A string in dollar quotes; a lone `$` is a character of an operator's.
    fn dollar(&mut self) -> Result<()> {
        let rest = self.rest();
        if rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self
                .refuse(self.at, "A numbered parameter stands")
                .with_hint("Write `{{column}}`: the numbers are given by the connector"));
        }
        let tag = rest[1..].find(|c| !(starts_word(c) || (c as u32) < 128 && c.is_ascii_digit()));
        let Some(length) = tag.filter(|place| rest[1 + place..].starts_with('$')) else {
            self.keep(1);
            return Ok(());
        };
        let delimiter = &rest[..length + 2];
        let Some(end) = rest[delimiter.len()..].find(delimiter) else {
            return Err(self.refuse(self.at, "A quote without an end stands"));
        };
        self.skip_quoted(end + 2 * delimiter.len(), "a string")
    }

    /// The length of a comment, which may hold others.
    fn comment(&self) -> Result<usize> {
        let (rest, mut depth, mut at) = (self.rest(), 0, 0);
        loop {
            let open = rest[at..].find("/*").map(|place| at + place);
            let close = rest[at..].find("*/").map(|place| at + place);
            match (open, close) {
                (Some(open), Some(close)) if open < close => (depth, at) = (depth + 1, open + 2),
                (_, Some(close)) => (depth, at) = (depth - 1, close + 2),
                _ => return Err(self.refuse(self.at, "A comment without an end stands")),
            }
            if depth == 0 {
                return Ok(at);
            }
        }
    }

    /// One statement: behind its end come blanks and comments only.
    fn end(&mut self) -> Result<()> {
        let start = self.at;
        self.at += 1;
        while let Some(next) = self.rest().chars().next() {
            let rest = self.rest();
            self.at += match next {
                _ if next.is_whitespace() || next == ';' => next.len_utf8(),
                _ if rest.starts_with("--") => rest.find(['\n', '\r']).unwrap_or(rest.len()),
                _ if rest.starts_with("/*") => self.comment()?,
                _ => {
                    return Err(self
                        .refuse(start, "A second statement begins")
                        .with_hint("Give each statement an entry of its own in the list"));
                }
            };
        }
        Ok(())
    }

    fn placeholder(&mut self) -> Result<()> {
        let start = self.at;
        let rest = self.rest();
        let Some(end) = rest.find("}}") else {
            return Err(self.refuse(start, "A placeholder without an end stands"));
        };
        let name = rest[2..end].trim();
        let (column, before) = name.strip_prefix(BEFORE).map_or((name, false), |column| (column, true));
        if column.is_empty() || column.contains("{{") {
            return Err(self.refuse(start, "A placeholder without a column's name stands"));
        }
        let glued = |character: char| continues_word(character) || matches!(character, '\'' | '"');
        let follows = rest[end + 2..].chars().next();
        if self.text[..start].chars().next_back().is_some_and(glued) || follows.is_some_and(glued) {
            return Err(self
                .refuse(start, "A placeholder is part of a word")
                .with_hint("A placeholder is a value: names of tables and columns are written out"));
        }
        self.placeholders.push(Placeholder { column: column.to_owned(), before });
        self.statement.push_str(&format!("${}", self.placeholders.len()));
        self.at = start + end + 2;
        if self.first_word.is_none() {
            self.first_word = Some(String::new());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> String {
        match Template::parse(text) {
            Ok(template) => {
                let names = template.placeholders.iter();
                let names: Vec<_> = names
                    .map(|one| format!("{}{}", if one.before { "before " } else { "" }, one.column))
                    .collect();
                format!("{} <- {}", template.statement, names.join(", "))
            }
            Err(error) => {
                let hint = error.hint.as_deref().map(|hint| format!(" [hint: {hint}]")).unwrap_or_default();
                format!("refused: {}{hint}", error.message)
            }
        }
    }

    #[test]
    fn a_placeholder_stands_where_a_value_can() {
        let statements = [
            "INSERT INTO t (a, b) VALUES ({{a}}, {{ b c }})",
            "update t set a={{a}} where id = {{__before.id}};",
            "select 1 -- a comment\n where {{a}} > 1 /* and /* nested */ one */ ; -- the end",
            "select 'it''s', E'\\'', $$it's$$, $q$ $$ $q$, \"a \"\"b\"\"\", a$b$c, {{a}}, {{a}}",
            "select U&'\\', {{a}}, B'01', 1e5, {{ä}}::jsonb -> 'x', {{a}}||'%', data @> {{b}}",
            "insert into t values ('{{a}}')",
            "insert into t values (E'\\'{{a}}')",
            "insert into t values ($${{a}}$$)",
            "insert into t values ($x$ $$ {{a}} $x$)",
            "insert into \"{{table}}\" values (1)",
            "insert into t values (1) -- {{a}}",
            "insert into t values (1) /* /* */ {{a}} */",
            "insert into tab{{a}} values (1)",
            "insert into {{a}}tab values (1)",
            "insert into t values (x{{a}})",
            "insert into t values (1{{a}})",
            "insert into t values ('a'{{a}})",
            "insert into t values ({{a}}'')",
            "insert into t values ({{}})",
            "insert into t values ({{__before.}})",
            "insert into t values ({{a)",
            "insert into t values ($1)",
            "insert into t values ('open)",
            "insert into t values ($a$ open $b$)",
            "insert into t values (1); drop table t",
            "/* /* */ insert",
            "COMMIT",
            "  -- x\n rollback; ",
            "begin",
            "copy t from stdin",
            "",
            " ; ",
            "/* nothing */",
        ];
        let lines: Vec<_> = statements.iter().map(|one| format!("{one:?}\n    {}", outcome(one))).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
