//! The words of a statement.

/// A word of a statement, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A word or number as it stands there.
    Word(String),
    /// A name in backticks.
    Name(String),
    /// A text in quotes.
    Text(String),
    /// Anything else, character by character.
    Mark(char),
}

impl Token {
    /// Whether it is this word, in any case.
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(found) if found.eq_ignore_ascii_case(word))
    }

    /// Whether it is this mark.
    pub fn is_mark(&self, mark: char) -> bool {
        *self == Self::Mark(mark)
    }
}

/// How a session reads quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotes {
    /// Double quotes hold names (ANSI_QUOTES).
    pub names: bool,
    /// A backslash is nothing special (NO_BACKSLASH_ESCAPES).
    pub no_escapes: bool,
}

/// All words of a statement. Comments are left out, but what the servers run of them (`/*!50000 … */`) is not.
pub fn tokens(text: &str, quotes: Quotes) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return tokens };
        if let Some(inner) = rest.strip_prefix("/*!").or_else(|| rest.strip_prefix("/*M!")) {
            rest = inner.trim_start_matches(|one: char| one.is_ascii_digit());
        } else if let Some(behind) = rest.strip_prefix("*/") {
            rest = behind;
        } else if let Some(inner) = rest.strip_prefix("/*") {
            rest = inner.find("*/").map_or("", |end| &inner[end + 2..]);
        } else if first == '#'
            || rest.starts_with("-- ")
            || rest.starts_with("--\n")
            || rest.starts_with("--\t")
        {
            rest = rest.find('\n').map_or("", |end| &rest[end + 1..]);
        } else if matches!(first, '`' | '\'' | '"') {
            let is_name = first == '`' || first == '"' && quotes.names;
            let (inner, behind) = quoted(&rest[1..], first, !is_name && !quotes.no_escapes);
            tokens.push(if is_name { Token::Name(inner) } else { Token::Text(inner) });
            rest = behind;
        } else if is_word(first) {
            let end = rest.find(|one: char| !is_word(one)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else {
            tokens.push(Token::Mark(first));
            rest = &rest[first.len_utf8()..];
        }
    }
}

fn is_word(one: char) -> bool {
    one.is_alphanumeric() || matches!(one, '_' | '$' | '@')
}

/// What stands up to the closing quote, and what comes behind it.
fn quoted(text: &str, quote: char, escapes: bool) -> (String, &str) {
    let mut inner = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((place, one)) = characters.next() {
        if one == '\\' && escapes {
            match characters.next() {
                Some((_, 'n')) => inner.push('\n'),
                Some((_, 't')) => inner.push('\t'),
                Some((_, 'r')) => inner.push('\r'),
                Some((_, '0')) => inner.push('\0'),
                Some((_, other)) => inner.push(other),
                None => {}
            }
        } else if one != quote {
            inner.push(one);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            inner.push(quote);
        } else {
            return (inner, &text[place + one.len_utf8()..]);
        }
    }
    (inner, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_comments_are_understood() {
        let word = |text: &str| Token::Word(text.into());
        assert_eq!(
            tokens(
                "ALTER /* no */ TABLE `a``b`.c -- end\n ADD x ENUM('it''s', \"b\\\"c\") /*!50000 NOT NULL */;",
                Quotes::default()
            ),
            [
                word("ALTER"),
                word("TABLE"),
                Token::Name("a`b".into()),
                Token::Mark('.'),
                word("c"),
                word("ADD"),
                word("x"),
                word("ENUM"),
                Token::Mark('('),
                Token::Text("it's".into()),
                Token::Mark(','),
                Token::Text("b\"c".into()),
                Token::Mark(')'),
                word("NOT"),
                word("NULL"),
                Token::Mark(';'),
            ]
        );
        assert_eq!(tokens("'open", Quotes::default()), [Token::Text("open".into())]);
        assert!(tokens("/* open", Quotes::default()).is_empty());
    }

    #[test]
    fn quotes_are_read_as_their_session_did() {
        let text = r#""a\n" 'b\n'"#;
        let of = |names, no_escapes| tokens(text, Quotes { names, no_escapes });
        assert_eq!(of(false, false), [Token::Text("a\n".into()), Token::Text("b\n".into())]);
        assert_eq!(of(true, false), [Token::Name("a\\n".into()), Token::Text("b\n".into())]);
        assert_eq!(of(false, true), [Token::Text("a\\n".into()), Token::Text("b\\n".into())]);
    }
}
