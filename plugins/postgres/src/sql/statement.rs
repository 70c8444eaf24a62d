//! What must be known of a user's statement before it can be put inside another one: where it ends, whether it is a
//! query, and where its parameters are.

use hub_plugin_api::{Error, ErrorKind, Result};

/// A single statement, without the semicolon behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementText {
    text: String,
    is_query: bool,
    /// Start, end and number of each `$1`.
    parameters: Vec<(usize, usize, usize)>,
}

impl StatementText {
    /// Looks through a statement as the server's own lexer does (PostgreSQL manual, "Lexical Structure").
    ///
    /// # Errors
    /// [`ErrorKind::InvalidStatement`] when there is none or more than one; what else is wrong the server says.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lexer = Lexer { text, at: 0 };
        let (mut first_word, mut parameters, mut end, mut ended) = (None, Vec::new(), 0, false);
        while let Some((token, start)) = lexer.next_token() {
            match token {
                Token::Blank => continue,
                Token::Semicolon => {
                    ended = first_word.is_some();
                    continue;
                }
                _ if ended => {
                    return Err(Error::new(ErrorKind::InvalidStatement, "There is more than one statement")
                        .with_field("statement")
                        .with_hint("Give one statement without anything behind its semicolon"));
                }
                Token::Parameter(number) => parameters.push((start, lexer.at, number)),
                Token::Word | Token::Other => {}
            }
            first_word.get_or_insert_with(|| text[start..lexer.at].to_ascii_lowercase());
            end = lexer.at;
        }
        let Some(first_word) = first_word else {
            return Err(
                Error::new(ErrorKind::InvalidStatement, "The statement is empty").with_field("statement")
            );
        };
        let start = text.len() - text.trim_start().len();
        for (from, to, _) in &mut parameters {
            (*from, *to) = (*from - start, *to - start);
        }
        // A comment at the end stays outside, as it would hide what is put behind it.
        Ok(Self {
            text: text[start..end].to_owned(),
            is_query: matches!(first_word.as_str(), "select" | "values" | "with" | "table" | "("),
            parameters,
        })
    }

    /// The statement's own text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it can stand in parentheses: SELECT, VALUES, TABLE, WITH.
    pub fn is_query(&self) -> bool {
        self.is_query
    }

    /// The same statement with each `$1` replaced by what stands for it, which must be a whole expression.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] when there are fewer expressions than parameters.
    pub fn with_parameters(&self, expressions: &[String]) -> Result<Self> {
        let (mut text, mut copied) = (String::with_capacity(self.text.len()), 0);
        for (start, end, number) in &self.parameters {
            let expression =
                number.checked_sub(1).and_then(|index| expressions.get(index)).ok_or_else(|| {
                    Error::config(
                        "parameters",
                        format!("The statement has a parameter `${number}`, but no value is given"),
                    )
                })?;
            text.push_str(&self.text[copied..*start]);
            text.push_str(expression);
            copied = *end;
        }
        text.push_str(&self.text[copied..]);
        Ok(Self { text, is_query: self.is_query, parameters: Vec::new() })
    }
}

enum Token {
    Blank,
    Semicolon,
    Parameter(usize),
    Word,
    Other,
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl Lexer<'_> {
    /// The next token and where it starts. What is not closed goes up to the end; the server refuses it.
    fn next_token(&mut self) -> Option<(Token, usize)> {
        let start = self.at;
        let rest = &self.text[start..];
        let first = rest.chars().next()?;
        let (token, length) = match first {
            _ if first.is_ascii_whitespace() => (Token::Blank, 1),
            ';' => (Token::Semicolon, 1),
            '-' if rest.starts_with("--") => (Token::Blank, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (Token::Blank, block_comment(rest)),
            '\'' => (Token::Other, quoted(rest, '\'', false)),
            '"' => (Token::Other, quoted(rest, '"', false)),
            'e' | 'E' if rest[1..].starts_with('\'') => (Token::Other, 1 + quoted(&rest[1..], '\'', true)),
            '$' => dollar(rest),
            _ if starts_word(first) => (Token::Word, word(rest)),
            // Letters directly behind a number belong to it, so that `1e$1` is no parameter.
            _ if first.is_ascii_digit() => (Token::Other, word(rest)),
            _ => (Token::Other, first.len_utf8()),
        };
        self.at += length;
        Some((token, start))
    }
}

fn starts_word(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_' || !character.is_ascii()
}

fn word(rest: &str) -> usize {
    rest.find(|character: char| !starts_word(character) && !character.is_ascii_digit() && character != '$')
        .unwrap_or(rest.len())
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    while let Some(found) = rest[at..].find(['/', '*']) {
        at += found;
        match rest.get(at..at + 2) {
            Some("/*") => (depth, at) = (depth + 1, at + 2),
            Some("*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a quoted text. A doubled quote does not end it: it is read as two texts side by side.
fn quoted(rest: &str, quote: char, backslashes: bool) -> usize {
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == quote {
            // An escape string goes on behind a doubled quote, where backslashes still escape.
            if backslashes && rest[at + 1..].starts_with(quote) {
                characters.next();
                continue;
            }
            return at + 1;
        }
        if backslashes && character == '\\' {
            characters.next();
        }
    }
    rest.len()
}

/// `$1`, or a text in `$tag$ … $tag$`.
fn dollar(rest: &str) -> (Token, usize) {
    let digits = rest[1..].find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len() - 1);
    if digits > 0 {
        // A number that large has no value; it is answered as such.
        return (Token::Parameter(rest[1..=digits].parse().unwrap_or(usize::MAX)), 1 + digits);
    }
    let Some(close) = rest[1..].find('$') else { return (Token::Other, 1) };
    let tag = &rest[..close + 2];
    let name = &tag[1..=close];
    if !name.is_empty() && (!name.starts_with(starts_word) || word(name) != name.len()) {
        return (Token::Other, 1);
    }
    let body = &rest[tag.len()..];
    (Token::Other, body.find(tag).map_or(rest.len(), |end| tag.len() + end + tag.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(statement: &str) -> String {
        StatementText::parse(statement).unwrap().text
    }

    #[test]
    fn semicolons_and_comments_behind_the_statement_are_left_out() {
        assert_eq!(text(" select 1 ; -- done\n /* really */ ;"), "select 1");
        assert_eq!(text("select 1 -- one"), "select 1");
        assert_eq!(
            text("select ';', \"a;b\", $x$;$x$, E'\\';' /* ; /* ; */ ; */ from t"),
            "select ';', \"a;b\", $x$;$x$, E'\\';' /* ; /* ; */ ; */ from t"
        );
    }

    #[test]
    fn two_statements_and_none_are_refused() {
        for wrong in ["select 1; drop table t", "", " ; ", "-- nothing", "select 1;; select 2"] {
            let error = StatementText::parse(wrong).unwrap_err();
            assert_eq!(
                (error.kind, error.field.as_deref()),
                (ErrorKind::InvalidStatement, Some("statement"))
            );
        }
    }

    #[test]
    fn queries_are_known_by_their_first_word() {
        for query in [
            "select 1",
            "(select 1) union (select 2)",
            "with a as (select 1) table a",
            "VALUES (1)",
            "/* x */ Table t",
        ] {
            assert!(StatementText::parse(query).unwrap().is_query, "{query}");
        }
        for other in ["show all", "explain select 1", "selects", "\"select\""] {
            assert!(!StatementText::parse(other).unwrap().is_query, "{other}");
        }
    }

    #[test]
    fn parameters_are_found_only_where_they_are_parameters() {
        let statement = "select $1, '$2', a$3, $tag$ $4 $tag$, \"$5\" -- $6\n, E'\\'$7', $10::int + $1";
        let numbers: Vec<_> =
            StatementText::parse(statement).unwrap().parameters.iter().map(|one| one.2).collect();
        assert_eq!(numbers, [1, 10, 1]);
        let filled = StatementText::parse("  select $1 || $2")
            .unwrap()
            .with_parameters(&["'a'".into(), "'$1'".into()]);
        assert_eq!(filled.unwrap().text, "select 'a' || '$1'");
        let missing = StatementText::parse("select $2").unwrap().with_parameters(&["1".into()]).unwrap_err();
        assert_eq!(missing.field.as_deref(), Some("parameters"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_lexer_panic(statement in "[ a$1'\"E\\\\;/*\n-é]{0,40}") {
            let _ = StatementText::parse(&statement);
        }
    }
}
