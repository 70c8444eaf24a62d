//! What must be known of a user's statement before it can be put inside another one: where it ends, whether it is a
//! query, and where its parameters are.

use hub_plugin_api::{Error, ErrorKind, Result};

/// A single statement, without the semicolon behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementText {
    text: String,
    is_query: bool,
    rolls_up: bool,
    ends_in_order: bool,
    /// Start of each `?`.
    parameters: Vec<usize>,
}

impl StatementText {
    /// Looks through a statement as the servers' own lexer does under our `sql_mode` (MySQL manual, "Language
    /// Structure").
    ///
    /// # Errors
    /// [`ErrorKind::InvalidStatement`] when there is none or more than one; what else is wrong the server says.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lexer = Lexer { text, at: 0 };
        let (mut first_word, mut parameters, mut end, mut ended) = (None, Vec::new(), 0, false);
        let (mut depth, mut last_word) = (0_usize, String::new());
        let (mut rolls_up, mut ends_in_order) = (false, false);
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
                Token::Parameter => parameters.push(start),
                Token::Word => {
                    let word = text[start..lexer.at].to_ascii_lowercase();
                    rolls_up |= last_word == "with" && word == "rollup";
                    ends_in_order = match word.as_str() {
                        "order" if depth == 0 => true,
                        "limit" | "offset" | "fetch" | "for" | "lock" | "union" | "except" | "intersect"
                        | "into" | "procedure"
                            if depth == 0 =>
                        {
                            false
                        }
                        _ => ends_in_order,
                    };
                    last_word = word;
                }
                Token::Other => {
                    match &text[start..lexer.at] {
                        "(" => depth += 1,
                        ")" => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    last_word.clear();
                }
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
        parameters.iter_mut().for_each(|at| *at -= start);
        // A comment at the end stays outside, as it would hide what is put behind it.
        Ok(Self {
            text: text[start..end].to_owned(),
            is_query: matches!(first_word.as_str(), "select" | "values" | "with" | "table" | "("),
            rolls_up,
            ends_in_order,
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

    /// Whether it adds sums to a table's rows, whose keys are null then: WITH ROLLUP.
    pub fn rolls_up(&self) -> bool {
        self.rolls_up
    }

    /// Whether an ORDER BY of all of its rows is the last thing in it.
    pub fn ends_in_order(&self) -> bool {
        self.ends_in_order
    }

    /// The text cut at each `?`: one part more than parameters.
    pub fn parts(&self) -> Vec<&str> {
        let mut parts = Vec::with_capacity(self.parameters.len() + 1);
        let mut from = 0;
        for at in &self.parameters {
            parts.push(&self.text[from..*at]);
            from = at + 1;
        }
        parts.push(&self.text[from..]);
        parts
    }

    /// The same statement with each `?` replaced by what stands for it, which must be a whole expression.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] when there are not as many expressions as parameters.
    pub fn with_parameters(&self, expressions: &[String]) -> Result<Self> {
        if expressions.len() != self.parameters.len() {
            let message = format!(
                "The statement has `{}` parameters, but `{}` values are given",
                self.parameters.len(),
                expressions.len()
            );
            return Err(Error::config("parameters", message));
        }
        let mut text = String::with_capacity(self.text.len());
        for (index, part) in self.parts().into_iter().enumerate() {
            text.push_str(part);
            if let Some(expression) = expressions.get(index) {
                text.push_str(expression);
            }
        }
        Ok(Self { text, parameters: Vec::new(), ..self.clone() })
    }
}

/// A piece of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// White space or a comment.
    Blank,
    /// `;`
    Semicolon,
    /// `?`
    Parameter,
    /// A keyword, a name or a number.
    Word,
    /// An operator, a quoted text, a quoted name.
    Other,
}

/// Takes a statement apart.
pub struct Lexer<'a> {
    /// The statement.
    pub text: &'a str,
    /// Where the next token starts.
    pub at: usize,
}

impl Lexer<'_> {
    /// The next token and where it starts. What is not closed goes up to the end; the server refuses it.
    pub fn next_token(&mut self) -> Option<(Token, usize)> {
        let start = self.at;
        let rest = &self.text[start..];
        let first = rest.chars().next()?;
        let (token, length) = match first {
            _ if first.is_ascii_whitespace() => (Token::Blank, 1),
            ';' => (Token::Semicolon, 1),
            '?' => (Token::Parameter, 1),
            '#' => (Token::Blank, line(rest)),
            // Two hyphens begin a comment only in front of a blank.
            '-' if is_line_comment(rest) => (Token::Blank, line(rest)),
            // What stands in `/*! … */` is run.
            '/' if rest.starts_with("/*!") || rest.starts_with("/*M!") => (Token::Other, 3),
            '/' if rest.starts_with("/*") => {
                (Token::Blank, rest[2..].find("*/").map_or(rest.len(), |end| end + 4))
            }
            '\'' | '"' => (Token::Other, quoted(rest, first, true)),
            '`' => (Token::Other, quoted(rest, first, false)),
            _ if is_word(first) => {
                (Token::Word, rest.find(|character| !is_word(character)).unwrap_or(rest.len()))
            }
            _ => (Token::Other, first.len_utf8()),
        };
        self.at += length;
        Some((token, start))
    }
}

/// Whether a character can be part of a name without quotes.
pub fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == '$' || !character.is_ascii()
}

fn is_line_comment(rest: &str) -> bool {
    rest.strip_prefix("--").is_some_and(|behind| {
        behind.chars().next().is_none_or(|next| next.is_ascii_whitespace() || next.is_ascii_control())
    })
}

fn line(rest: &str) -> usize {
    rest.find('\n').unwrap_or(rest.len())
}

/// The length of a quoted text. A doubled quote does not end it: it is read as two texts side by side.
fn quoted(rest: &str, quote: char, backslashes: bool) -> usize {
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return at + 1;
        }
        if backslashes && character == '\\' {
            characters.next();
        }
    }
    rest.len()
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
        assert_eq!(text(" select 1 ; -- done\n /* really */ ; # yes"), "select 1");
        assert_eq!(text("select 1 -- one"), "select 1");
        let held = "select ';', \"a;\\\"b\", `;`, '\\';' /* ; */, 1--1 from t";
        assert_eq!(text(held), held);
    }

    #[test]
    fn two_statements_and_none_are_refused() {
        for wrong in [
            "select 1; drop table t",
            "",
            " ; ",
            "-- nothing",
            "select 1;; select 2",
            "select 1; /*! drop table t */",
        ] {
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
            "VALUES ROW(1)",
            "/* x */ Table t",
        ] {
            assert!(StatementText::parse(query).unwrap().is_query, "{query}");
        }
        for other in ["show tables", "explain select 1", "selects", "`select`"] {
            assert!(!StatementText::parse(other).unwrap().is_query, "{other}");
        }
    }

    #[test]
    fn what_a_statement_ends_in_is_known_through_parentheses_and_comments() {
        let parsed = |statement: &str| StatementText::parse(statement).unwrap();
        for ordered in [
            "select * from t order by a",
            "with a as (select 1 limit 1) select * from a ORDER  BY 1 -- limit",
            "select 1 union select 2 order by 1",
        ] {
            assert!(parsed(ordered).ends_in_order(), "{ordered}");
        }
        for other in [
            "select * from t",
            "select * from t order by a limit 7",
            "select * from (select 1 order by 1) a",
            "select row_number() over (order by a) from t",
            "select 'order by', `order` from t",
            "select * from t order by a for update",
        ] {
            assert!(!parsed(other).ends_in_order(), "{other}");
        }
        assert!(parsed("select a, count(*) from t group by a With /* x */ Rollup").rolls_up());
        assert!(!parsed("with rollups as (select 1 as rollup) select rollup from rollups").rolls_up());
    }

    #[test]
    fn parameters_are_found_only_where_they_are_parameters() {
        let statement =
            StatementText::parse("  select ?, '?', `?`, \"\\\"?\" -- ?\n, # ?\n /* ? */ ?").unwrap();
        assert_eq!(statement.parts().len(), 3);
        let filled = statement.with_parameters(&["'?'".into(), "2".into()]).unwrap();
        assert!(filled.as_str().starts_with("select '?', '?'") && filled.as_str().ends_with("*/ 2"));
        assert_eq!(statement.with_parameters(&[]).unwrap_err().field.as_deref(), Some("parameters"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_lexer_panic(statement in "[ a?'\"`\\\\;/*!\n#é-]{0,40}") {
            let _ = StatementText::parse(&statement);
        }
    }
}
