//! Statements of the user's own: `{{column}}` becomes a value, and is refused where none can stand.

use hub_plugin_api::{
    Error, ErrorKind, Result, StreamSchema,
    arrow::array::{Array, RecordBatch},
    changes::{self, Changes, Op},
    types::{Column, columns_of},
};

use super::{cell::ColumnPlan, fits::Target, options::TemplateOption};
use crate::{
    raw::RawSession,
    sql::statement::{Lexer, Token, is_word},
};

/// What a prefix asks the row as it was for.
const BEFORE: &str = "__before.";

/// Words that a statement of its own must not begin with: they would end the writer's transaction.
const FORBIDDEN: [&str; 21] = [
    "alter",
    "analyze",
    "begin",
    "commit",
    "create",
    "drop",
    "flush",
    "grant",
    "load",
    "lock",
    "optimize",
    "rename",
    "reset",
    "revoke",
    "rollback",
    "savepoint",
    "set",
    "start",
    "truncate",
    "unlock",
    "use",
];

/// A value that a statement asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placeholder {
    /// The column's name.
    pub column: String,
    /// As the row was before the change.
    pub before: bool,
}

/// A statement, cut where its values stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    /// One more than placeholders.
    pub parts: Vec<String>,
    pub placeholders: Vec<Placeholder>,
}

impl Template {
    /// Takes a statement apart.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with what is wrong and where.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let refuse = |at: usize, what: &str| {
            let character = text[..at].chars().count() + 1;
            Error::config("statements", format!("{what} at character {character} of a statement"))
        };
        let mut template = Self { parts: vec![String::new()], placeholders: Vec::new() };
        let (mut first_word, mut ended) = (None::<String>, false);
        let mut lexer = Lexer { text, at: 0 };
        while let Some((token, start)) = lexer.next_token() {
            let piece = &text[start..lexer.at];
            if token != Token::Blank && token != Token::Semicolon && ended {
                return Err(refuse(start, "A second statement begins")
                    .with_hint("Give each statement an entry of its own in the list"));
            }
            if token == Token::Parameter {
                return Err(refuse(start, "A parameter stands").with_hint("Write `{{column}}`"));
            }
            if text[start..].starts_with("{{") {
                let rest = &text[start + 2..];
                let end =
                    rest.find("}}").ok_or_else(|| refuse(start, "A placeholder without an end stands"))?;
                let name = rest[..end].trim();
                let (column, before) = name.strip_prefix(BEFORE).map_or((name, false), |name| (name, true));
                if column.is_empty() || column.contains("{{") {
                    return Err(refuse(start, "A placeholder without a column's name stands"));
                }
                lexer.at = start + 2 + end + 2;
                let glued =
                    |character: char| is_word(character) || matches!(character, '\'' | '"' | '`' | '@');
                let follows = text[lexer.at..].chars().next();
                if text[..start].chars().next_back().is_some_and(glued) || follows.is_some_and(glued) {
                    return Err(refuse(start, "A placeholder is part of a word")
                        .with_hint("A placeholder is a value: names of tables and columns are written out"));
                }
                template.placeholders.push(Placeholder { column: column.to_owned(), before });
                template.parts.push(String::new());
                first_word.get_or_insert_default();
                continue;
            }
            if let Some(place) = piece.find("{{") {
                return Err(refuse(start + place, "A placeholder stands inside of a quote or a comment")
                    .with_hint(
                        "A placeholder is a whole value: take the quotes away, or join texts with CONCAT",
                    ));
            }
            match token {
                Token::Semicolon => ended = first_word.is_some(),
                Token::Blank if ended => {}
                _ => {
                    if token != Token::Blank {
                        first_word.get_or_insert_with(|| piece.to_ascii_lowercase());
                    }
                    if let Some(part) = template.parts.last_mut() {
                        part.push_str(piece);
                    }
                }
            }
        }
        match first_word.as_deref() {
            None => Err(Error::config("statements", "A statement is empty")),
            Some(word) if FORBIDDEN.contains(&word) => {
                let message = format!("A statement must not begin with `{}`", word.to_uppercase());
                Err(Error::config("statements", message)
                    .with_hint("It runs for each row inside of the writer's own transaction"))
            }
            Some(_) => Ok(template),
        }
    }

    fn with_values(&self, values: &[String]) -> String {
        let mut text = String::new();
        for (index, part) in self.parts.iter().enumerate() {
            text.push_str(part);
            if let Some(value) = values.get(index) {
                text.push_str(value);
            }
        }
        text
    }
}

/// A template and the way of each of its values.
struct Ready {
    on: Op,
    template: Template,
    /// Place of the column, the way, and whether it is of the row as it was.
    ways: Vec<(usize, ColumnPlan, bool)>,
}

/// A stream's statements.
pub(super) struct Statements {
    ready: Vec<Ready>,
    changes: bool,
}

/// Takes the statements of the options apart.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] with what is wrong and where.
pub(super) fn parse(options: &[TemplateOption]) -> Result<Vec<(Op, Template)>> {
    let parse = |option: &TemplateOption| {
        let on = option.on.parse().map_err(|_| {
            let message = format!("`{}` is none of `insert`, `update`, `delete` and `snapshot`", option.on);
            Error::config("statements", message)
        })?;
        Ok((on, Template::parse(&option.statement)?))
    };
    options.iter().map(parse).collect()
}

impl Statements {
    /// Makes them ready for a stream, after the server has looked at each.
    ///
    /// # Errors
    /// When a placeholder names no column, or the server refuses a statement.
    pub(super) async fn prepare(
        session: &mut RawSession,
        templates: &[(Op, Template)],
        schema: &StreamSchema,
    ) -> Result<Self> {
        const REFUSED: &str = "The server refuses a statement of option `statements`";
        let changes = changes::is_change_schema(&schema.arrow);
        let columns = columns_of(&schema.arrow)?;
        let row = changes::row_columns(&schema.arrow);
        let mut ready = Vec::with_capacity(templates.len());
        for (on, template) in templates {
            let text = template.with_values(&vec!["?".to_owned(); template.placeholders.len()]);
            session
                .describe(&text, REFUSED)
                .await
                .map_err(|error| error.with_field("statements").with_context("statement", &text))?;
            let ways = template.placeholders.iter().map(|placeholder| {
                let place = way_of(placeholder, schema, &columns, &row, changes)?;
                let plan = ColumnPlan::new(place, &columns[place], Target::any())?;
                Ok((place, plan, placeholder.before))
            });
            ready.push(Ready { on: *on, template: template.clone(), ways: ways.collect::<Result<_>>()? });
        }
        Ok(Self { ready, changes })
    }

    /// The statements of one row with their values; the inner error is the row's own fault.
    ///
    /// # Errors
    /// When there is no statement for such rows.
    pub(super) fn of_row(&self, batch: &RecordBatch, row: usize) -> Result<Result<Vec<String>, String>> {
        let view = if self.changes { Some(Changes::of(batch)?) } else { None };
        let op = view.as_ref().map_or(Ok(Op::Insert), |view| view.op(row))?;
        // Without statements of its own a snapshot's row is a new one.
        let own = |on: Op| self.ready.iter().any(|one| one.on == on);
        let on = if op == Op::Snapshot && !own(Op::Snapshot) { Op::Insert } else { op };
        let mut statements = Vec::new();
        for one in self.ready.iter().filter(|one| one.on == on) {
            let mut values = Vec::with_capacity(one.ways.len());
            for (place, plan, before) in &one.ways {
                let schema = batch.schema();
                let of_row = changes::row_columns(&schema).iter().position(|column| column == place);
                let cell = match (&view, before, of_row) {
                    (Some(view), true, Some(of_row)) => {
                        match view.before().filter(|before| before.is_valid(row)) {
                            Some(before) => plan.literal(before.column(of_row).as_ref(), row),
                            None => Ok("NULL".to_owned()),
                        }
                    }
                    (Some(view), false, Some(of_row)) if view.is_unchanged(row, of_row) => Err(format!(
                        "The source did not send column `{}`, which a statement binds",
                        schema.field(*place).name()
                    )),
                    _ => plan.literal(batch.column(*place).as_ref(), row),
                };
                match cell {
                    Ok(value) => values.push(value),
                    Err(reason) => return Ok(Err(reason)),
                }
            }
            statements.push(one.template.with_values(&values));
        }
        if statements.is_empty() {
            return Err(Error::config(
                "statements",
                format!("A row came as `{op}`, for which there is no statement"),
            )
            .with_hint(format!("Add one with `on: {op}`; `do 1` leaves such rows out")));
        }
        Ok(Ok(statements))
    }
}

fn way_of(
    placeholder: &Placeholder,
    schema: &StreamSchema,
    columns: &[Column],
    row: &[usize],
    changes: bool,
) -> Result<usize> {
    let Placeholder { column: name, before } = placeholder;
    if *before && !changes {
        return Err(Error::config("statements", format!("Stream `{}` brings no changes", schema.stream))
            .with_hint("`__before` is the row as it was before a change"));
    }
    let found = columns.iter().position(|column| column.name == *name);
    found.filter(|place| !before || row.contains(place)).ok_or_else(|| {
        let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        Error::new(ErrorKind::InvalidConfig, format!("Stream `{}` has no column `{name}`", schema.stream))
            .with_field("statements")
            .with_hint(format!("It has: {}", names.join(", ")))
    })
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
                format!("{} <- {}", template.parts.join("?"), names.join(", "))
            }
            Err(error) => format!("refused: {}", error.message),
        }
    }

    #[test]
    fn a_placeholder_stands_where_a_value_can() {
        let statements = [
            "INSERT INTO t (a, b) VALUES ({{a}}, {{ b c }})",
            "update t set a={{a}} where id = {{__before.id}};",
            "select 1 -- a comment\n where {{a}} > 1 /* and one */ ; # the end",
            "select 'it''s', '\\'', `a ``b`, {{a}}->'$.x'",
            "insert into t values ('{{a}}')",
            "insert into t values (\"\\\"{{a}}\")",
            "insert into `{{table}}` values (1)",
            "insert into t values (1) -- {{a}}",
            "insert into tab{{a}} values (1)",
            "insert into t values ({{a}}'')",
            "insert into t values (@{{a}})",
            "insert into t values ({{}})",
            "insert into t values ({{a)",
            "insert into t values (?)",
            "insert into t values (1); drop table t",
            "COMMIT",
            "  -- x\n truncate t; ",
            "",
            " ; ",
        ];
        let lines: Vec<_> = statements.iter().map(|one| format!("{one:?}\n    {}", outcome(one))).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
