use hub_plugin_api::{Error, Result, Value, changes::Op, types::Column};
use rusqlite::Connection;
use serde::Deserialize;

use super::{
    rows::{Encoded, Refusal, RowResult, accepted, refusal},
    target::Target,
};
use crate::error::map;

/// A statement of the user's that runs for each row.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// For which rows.
    pub on: Op,
    /// The statement with `?` in place of each `{{column}}`.
    pub sql: String,
    /// The columns, in the order of the `?`.
    pub columns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    on: String,
    statement: String,
}

/// Reads option `statements`.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::InvalidConfig`] for another shape, and for a `{{column}}` where no value can stand.
pub fn read(statements: Option<&Value>) -> Result<Vec<Template>> {
    let Some(statements) = statements.filter(|given| given.as_array().is_none_or(|list| !list.is_empty()))
    else {
        return Ok(Vec::new());
    };
    let given: Vec<Given> = serde_json::from_value(statements.clone()).map_err(|error| {
        Error::config("statements", "`statements` must be a list of {on, statement}").with_source(&error)
    })?;
    given
        .into_iter()
        .map(|Given { on, statement }| {
            let on = on.parse().map_err(|_| {
                Error::config(
                    "statements",
                    format!("`on` must be insert, update, delete or snapshot, not `{on}`"),
                )
            })?;
            let (sql, columns) = bind_values(&statement)?;
            Ok(Template { on, sql, columns })
        })
        .collect()
}

/// The statement with a parameter in place of each `{{column}}`, and the columns in their order. Inside a text, a
/// quoted name or a comment no value can stand; anywhere else that none can, SQLite refuses the parameter.
fn bind_values(statement: &str) -> Result<(String, Vec<String>)> {
    let refuse = |what: String| Error::config("statements", what).with_context("statement", statement);
    let (mut sql, mut columns, mut rest) = (String::new(), Vec::new(), statement);
    while let Some(first) = rest.chars().next() {
        let length = match rest {
            _ if rest.starts_with("{{") => {
                let end = rest.find("}}").ok_or_else(|| refuse("A `{{` has no `}}`".into()))?;
                columns.push(rest[2..end].trim().to_owned());
                sql.push('?');
                rest = &rest[end + 2..];
                continue;
            }
            _ if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ if matches!(first, '\'' | '"' | '`') => quoted(rest, first),
            _ if first == '[' => rest.find(']').map_or(rest.len(), |end| end + 1),
            _ if first == '?' => {
                return Err(refuse("Parameters of a statement are written `{{column}}`, not `?`".into()));
            }
            _ => first.len_utf8(),
        };
        let part = &rest[..length];
        if length > 1 && part.contains("{{") {
            return Err(refuse(format!("A value cannot stand inside `{part}`"))
                .with_hint("Take the quotes away: `{{column}}` is a bound value and needs none"));
        }
        sql.push_str(part);
        rest = &rest[length..];
    }
    Ok((sql, columns))
}

/// The length of what is quoted; a doubled quote does not end it.
fn quoted(text: &str, quote: char) -> usize {
    let mut from = 1;
    while let Some(at) = text[from..].find(quote) {
        from += at + 1;
        if !text[from..].starts_with(quote) {
            return from;
        }
        from += 1;
    }
    text.len()
}

/// Fails unless each statement is one that changes something, and its columns are the stream's.
pub fn check(connection: &Connection, templates: &[Template], columns: &[Column]) -> Result<()> {
    for template in templates {
        let refuse =
            |what: String| Error::config("statements", what).with_context("statement", &template.sql);
        let statement = connection.prepare(&template.sql).map_err(|error| {
            map("The statement was refused", error)
                .with_field("statements")
                .with_context("statement", &template.sql)
        })?;
        if statement.readonly() || statement.parameter_count() != template.columns.len() {
            return Err(refuse(
                "The statement must change rows, and take its values by `{{column}}` only".into(),
            ));
        }
        if let Some(missing) =
            template.columns.iter().find(|name| !columns.iter().any(|one| one.name == **name))
        {
            return Err(refuse(format!("The stream has no column `{missing}`")));
        }
    }
    Ok(())
}

/// Runs the user's statements for one row, in their order.
pub fn run(
    connection: &Connection,
    templates: &[Template],
    op: Op,
    target: &Target,
    encoded: &mut Encoded<'_>,
    row: usize,
) -> RowResult {
    if !templates.iter().any(|template| template.on == op) {
        return Ok(Err(Refusal::constraint(format!("`statements` has none for `{op}`"))));
    }
    let point =
        |text: &str| connection.execute_batch(text).map_err(|error| map("A row could not be written", error));
    // A row is written by all of its statements or by none.
    point("SAVEPOINT hub_row")?;
    let result = run_each(connection, templates, op, target, encoded, row)?;
    if result.is_err() {
        point("ROLLBACK TO hub_row")?;
    }
    point("RELEASE hub_row")?;
    Ok(result)
}

fn run_each(
    connection: &Connection,
    templates: &[Template],
    op: Op,
    target: &Target,
    encoded: &mut Encoded<'_>,
    row: usize,
) -> RowResult {
    for template in templates.iter().filter(|template| template.on == op) {
        let mut statement = connection
            .prepare_cached(&template.sql)
            .map_err(|error| map("The statement was refused", error).with_field("statements"))?;
        for (parameter, name) in template.columns.iter().enumerate() {
            let Some(index) = target.columns.iter().position(|column| column.name == *name) else { continue };
            accepted!(encoded.bind_one(index, row, parameter + 1, &mut statement)?);
        }
        // It may have RETURNING: its rows are of no use here.
        let mut rows = statement.raw_query();
        loop {
            match rows.next() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return refusal(error).map(Err),
            }
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_become_parameters() {
        let (sql, columns) =
            bind_values("insert into \"a\"\"b\" values ({{x}}, {{ y z }}, 'it''s') -- end").unwrap();
        assert_eq!(sql, "insert into \"a\"\"b\" values (?, ?, 'it''s') -- end");
        assert_eq!(columns, ["x", "y z"]);
    }

    #[test]
    fn placeholder_where_no_value_can_stand_is_refused() {
        for statement in [
            "update t set a = '{{x}}'",
            "update \"{{x}}\" set a = 1",
            "update [{{x}}] set a = 1",
            "update `{{x}}` set a = 1",
            "update t set a = 1 -- {{x}}",
            "update t set a = 1 /* {{x}} */",
            "update t set a = 'it''s {{x}}'",
            "update t set a = {{x",
            "update t set a = ?",
        ] {
            assert_eq!(
                bind_values(statement).unwrap_err().field.as_deref(),
                Some("statements"),
                "{statement}"
            );
        }
    }
}
