//! All SQL of the connector, as pure functions that return text.

mod write;

pub(crate) use write::*;

pub mod catalog;
pub mod check;
pub mod notify;
pub mod read;
pub mod statement;
pub mod wal;

/// Quotes an identifier by PostgreSQL's own rule: always in double quotes, double quotes doubled.
///
/// A NUL cannot be part of a name on the server; it is left out, so the server answers that the name does not exist.
pub fn identifier(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for character in name.chars().filter(|character| *character != '\0') {
        if character == '"' {
            quoted.push('"');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// A table's name, with its schema where it has one.
pub fn qualified(schema: Option<&str>, name: &str) -> String {
    match schema {
        Some(schema) => format!("{}.{}", identifier(schema), identifier(name)),
        None => identifier(name),
    }
}

/// Quotes a text as a literal. Backslashes mean themselves, whatever `standard_conforming_strings` says.
///
/// The value must not hold a NUL: the server has no text with one.
pub fn literal(value: &str) -> String {
    let escaped = value.replace('\'', "''");
    if escaped.contains('\\') {
        format!(" E'{}'", escaped.replace('\\', "\\\\"))
    } else {
        format!("'{escaped}'")
    }
}

/// What every session starts with: how values are written must not depend on server, role or database.
pub fn session_settings(statement_timeout_ms: u64) -> String {
    let mut settings = String::from(
        "SET client_encoding = 'UTF8'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
         SET TimeZone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET xmloption = 'content'; \
         SET lc_monetary = 'C'; SET standard_conforming_strings = on; SET array_nulls = on",
    );
    if statement_timeout_ms > 0 {
        settings.push_str(&format!("; SET statement_timeout = {statement_timeout_ms}"));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_and_values_stay_inside_their_quotes() {
        assert_eq!(identifier(r#"a"; drop table "b"#), r#""a""; drop table ""b""#);
        assert_eq!(identifier("a\0b"), r#""ab""#);
        assert_eq!(qualified(Some("S p"), "T"), r#""S p"."T""#);
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"\'; drop table x; --"), r" E'\\''; drop table x; --'");
    }
}
