//! All SQL of the connectors, as pure functions that return text.

pub mod catalog;
pub mod read;
pub mod statement;
pub mod write;

use crate::{
    config::Settings,
    flavor::{Server, Vendor},
};

/// Quotes an identifier: always in backticks, backticks doubled, whatever `sql_mode` says.
///
/// A NUL cannot be part of a name on the server; it is left out, so the server answers that the name does not exist.
pub fn identifier(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('`');
    for character in name.chars().filter(|character| *character != '\0') {
        if character == '`' {
            quoted.push('`');
        }
        quoted.push(character);
    }
    quoted.push('`');
    quoted
}

/// A table's name, with its database where it has one.
pub fn qualified(database: Option<&str>, name: &str) -> String {
    match database {
        Some(database) => format!("{}.{}", identifier(database), identifier(name)),
        None => identifier(name),
    }
}

/// Quotes a text as a literal. The sessions' `sql_mode` is fixed, so backslashes escape.
pub fn literal(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    put_literal(value, &mut quoted);
    quoted
}

/// Appends a text as a literal.
pub fn put_literal(value: &str, out: &mut String) {
    out.push('\'');
    let mut copied = 0;
    for (at, byte) in value.bytes().enumerate() {
        let escaped = match byte {
            b'\'' => "''",
            b'\\' => "\\\\",
            0 => "\\0",
            _ => continue,
        };
        out.push_str(&value[copied..at]);
        out.push_str(escaped);
        copied = at + 1;
    }
    out.push_str(&value[copied..]);
    out.push('\'');
}

/// Bytes as a literal.
pub fn hex_literal(bytes: &[u8]) -> String {
    let mut literal = String::with_capacity(2 * bytes.len() + 3);
    put_hex_literal(bytes, &mut literal);
    literal
}

/// Appends bytes as a literal.
pub fn put_hex_literal(bytes: &[u8], out: &mut String) {
    out.push_str("x'");
    put_hex(bytes, out);
    out.push('\'');
}

/// Appends bytes as hexadecimal digits.
pub fn put_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)].into());
        out.push(DIGITS[usize::from(byte & 15)].into());
    }
}

/// The modes that statements are run in: data that does not fit is an error, and no mode changes what a text means.
pub const SQL_MODE: &str =
    "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION";

/// A statement whose groups have no one value of a column is refused where the server refuses it.
const FULL_GROUP: &str = "ONLY_FULL_GROUP_BY";

/// The longest that both servers wait, in seconds: a reader waits for its destination, and a plan for its readers.
const PATIENCE_S: u32 = 31_536_000;

/// What every session starts with: how values are written must not depend on server or account.
pub fn session_settings(server: &Server, settings: &Settings) -> String {
    let mut assignments = vec![
        "NAMES utf8mb4".to_owned(),
        "autocommit = 1".into(),
        format!("time_zone = {}", literal(&settings.time_zone)),
        format!(
            "sql_mode = IF(FIND_IN_SET('{FULL_GROUP}', @@GLOBAL.sql_mode), '{SQL_MODE},{FULL_GROUP}', '{SQL_MODE}')"
        ),
        "sql_auto_is_null = 0".into(),
        "sql_safe_updates = 0".into(),
        "sql_select_limit = DEFAULT".into(),
        format!("wait_timeout = {PATIENCE_S}"),
        format!("net_write_timeout = {PATIENCE_S}"),
        format!("net_read_timeout = {PATIENCE_S}"),
    ];
    let timeout = settings.statement_timeout_ms;
    match server.vendor {
        Vendor::MySql if timeout > 0 => assignments.push(format!("max_execution_time = {timeout}")),
        Vendor::MariaDb if timeout > 0 => {
            assignments.push(format!("max_statement_time = {}.{:03}", timeout / 1000, timeout % 1000));
        }
        _ => {}
    }
    format!("SET {}", assignments.join(", "))
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::Config;

    use super::*;

    #[test]
    fn hostile_names_and_values_stay_inside_their_quotes() {
        assert_eq!(identifier("a`; drop table `b"), "`a``; drop table ``b`");
        assert_eq!(identifier("a\0b"), "`ab`");
        assert_eq!(qualified(Some("S p"), "T"), "`S p`.`T`");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("\\'; drop table x; -- \0"), "'\\\\''; drop table x; -- \\0'");
        assert_eq!(hex_literal(b"\0a\xff"), "x'0061ff'");
    }

    #[test]
    fn sessions_of_both_vendors_start_alike() {
        let config = Config::new()
            .with("username", "u")
            .with("database", "d")
            .with("time_zone", "-03:30")
            .with("statement_timeout_ms", 1500);
        let settings = Settings::read(&config).unwrap();
        for version in ["9.7.4", "11.8.6-MariaDB"] {
            insta::assert_snapshot!(session_settings(&Server::of_handshake(version), &settings));
        }
    }
}
