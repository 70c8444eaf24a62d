//! Commands of the user's own, and templates of keys: `{{column}}` stands for a value. Arguments are counted bytes on the
//! wire, so a value can be nothing else, wherever it stands; only the command's name is written out.

use hub_plugin_api::{Error, Result, changes::Op};

use super::options::CommandOption;

/// A part of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it is written.
    Text(String),
    /// A column's value.
    Column(Placeholder),
}

/// A value that a template asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    /// The column's name.
    pub column: String,
    /// As the row was before the change.
    pub before: bool,
}

/// An argument or a key.
pub type Template = Vec<Part>;

/// A command for one kind of row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandTemplate {
    /// For which rows.
    pub on: Op,
    /// Its name.
    pub name: String,
    /// What follows.
    pub arguments: Vec<Template>,
}

/// Commands that would end or cut the writer's transaction, or leave its session in another state.
const FORBIDDEN: [&str; 25] = [
    "asking",
    "auth",
    "client",
    "discard",
    "exec",
    "hello",
    "migrate",
    "monitor",
    "multi",
    "psubscribe",
    "psync",
    "punsubscribe",
    "quit",
    "readonly",
    "readwrite",
    "replicaof",
    "reset",
    "select",
    "shutdown",
    "slaveof",
    "ssubscribe",
    "subscribe",
    "unwatch",
    "wait",
    "watch",
];

const BEFORE: &str = "__before.";

/// Takes a text apart.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field.
pub fn parse(field: &str, text: &str) -> Result<Template> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        if open > 0 {
            parts.push(Part::Text(rest[..open].to_owned()));
        }
        let inside = &rest[open + 2..];
        let close = inside.find("}}").ok_or_else(|| {
            Error::config(field, format!("A placeholder in `{text}` is not closed by `}}}}`"))
        })?;
        let name = inside[..close].trim();
        let (before, column) = match name.strip_prefix(BEFORE) {
            Some(column) => (true, column),
            None => (false, name),
        };
        if column.is_empty() {
            return Err(Error::config(field, format!("A placeholder in `{text}` names no column")));
        }
        parts.push(Part::Column(Placeholder { column: column.to_owned(), before }));
        rest = &inside[close + 2..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

/// Takes the user's commands apart.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::InvalidConfig`] with what is wrong.
pub fn commands(options: &[CommandOption]) -> Result<Vec<CommandTemplate>> {
    let refuse = |message: String| Error::config("commands", message);
    let parsed = options.iter().map(|option| {
        let on = option
            .on
            .parse()
            .map_err(|_| refuse(format!("`{}` is none of insert, update, delete and snapshot", option.on)))?;
        let Some((name, arguments)) = option.command.split_first().filter(|(name, _)| !name.is_empty())
        else {
            return Err(refuse("A command has no name".into()));
        };
        if name.contains("{{") {
            return Err(refuse(format!("The name of command `{name}` must be written out")));
        }
        if FORBIDDEN.contains(&name.to_ascii_lowercase().as_str())
            || name.to_ascii_lowercase().starts_with('b') && is_blocking(name)
        {
            return Err(refuse(format!("Command `{name}` does not belong into the writer's transaction")));
        }
        let arguments =
            arguments.iter().map(|argument| parse("commands", argument)).collect::<Result<_>>()?;
        Ok(CommandTemplate { on, name: name.clone(), arguments })
    });
    parsed.collect()
}

fn is_blocking(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["blmove", "blmpop", "blpop", "brpop", "brpoplpush", "bzmpop", "bzpopmax", "bzpopmin"]
        .contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(on: &str, command: &[&str]) -> String {
        let command = command.iter().map(|part| String::from(*part)).collect();
        match commands(&[CommandOption { on: on.into(), command }]) {
            Ok(templates) => format!("{:?}", templates[0]),
            Err(error) => format!("refused: {}", error.message),
        }
    }

    #[test]
    fn a_placeholder_is_a_value_and_never_a_command() {
        let lines = [
            outcome("insert", &["SET", "user:{{id}}:{{ name }}", "{{value}}"]),
            outcome("delete", &["del", "user:{{__before.id}}"]),
            outcome("insert", &["{{command}}", "a"]),
            outcome("insert", &["MULTI"]),
            outcome("insert", &["blpop", "a", "0"]),
            outcome("insert", &["SET", "a{{", "b"]),
            outcome("insert", &["SET", "a{{}}", "b"]),
            outcome("upsert", &["SET", "a", "b"]),
            outcome("insert", &[]),
        ];
        insta::assert_snapshot!(lines.join("\n"));
    }
}
