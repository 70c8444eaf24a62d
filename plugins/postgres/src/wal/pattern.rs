//! Names of tables and columns as users write them: `schema.table`, `table`, `"Odd.Name".t`, `schema.*`,
//! `table.column`.

use hub_plugin_api::{Error, Result};

/// A table's name with `*` for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePattern {
    schema: Part,
    name: Part,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    text: String,
    quoted: bool,
}

impl TablePattern {
    /// Reads a pattern. A part in double quotes means itself; without a schema it is `public`.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] for what is no name.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let wrong = || {
            Error::config(field, format!("`{text}` is not the name of a table"))
                .with_hint("Write `schema.table`, with double quotes around a part that holds a dot")
        };
        let (first, rest) = part(text.trim()).ok_or_else(wrong)?;
        let parts = match rest.strip_prefix('.') {
            None if rest.is_empty() => (Part { text: "public".into(), quoted: true }, first),
            None => return Err(wrong()),
            Some(rest) => match part(rest) {
                Some((second, "")) => (first, second),
                _ => return Err(wrong()),
            },
        };
        Ok(Self { schema: parts.0, name: parts.1 })
    }

    /// Whether it names one table rather than any number of them.
    pub fn is_exact(&self) -> bool {
        [&self.schema, &self.name].iter().all(|part| part.quoted || !part.text.contains('*'))
    }

    /// Whether a table is meant.
    pub fn matches(&self, schema: &str, name: &str) -> bool {
        self.schema.matches(schema) && self.name.matches(name)
    }
}

/// A column's name behind its table's, with `*` for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnPattern {
    table: TablePattern,
    name: Part,
}

impl ColumnPattern {
    /// Reads a pattern: `schema.table.column`, or `table.column` in schema `public`.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] for what is no name.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut left = Some(text.trim());
        while let Some(next) = left {
            let Some((part, rest)) = part(next) else { break };
            parts.push(part);
            left = rest.strip_prefix('.');
            if left.is_none() && !rest.is_empty() {
                parts.clear();
            }
        }
        let public = || Part { text: "public".into(), quoted: true };
        let (schema, table, name) = match <[Part; 3]>::try_from(parts) {
            Ok([schema, table, name]) if left.is_none() => (schema, table, name),
            Err(parts) if left.is_none() => match <[Part; 2]>::try_from(parts) {
                Ok([table, name]) => (public(), table, name),
                Err(_) => return Err(Self::wrong(field, text)),
            },
            _ => return Err(Self::wrong(field, text)),
        };
        Ok(Self { table: TablePattern { schema, name: table }, name })
    }

    fn wrong(field: &str, text: &str) -> Error {
        Error::config(field, format!("`{text}` is not the name of a table's column"))
            .with_hint("Write `schema.table.column`, with double quotes around a part that holds a dot")
    }

    /// Whether a column is meant.
    pub fn matches(&self, schema: &str, table: &str, column: &str) -> bool {
        self.table.matches(schema, table) && self.name.matches(column)
    }
}

impl Part {
    fn matches(&self, name: &str) -> bool {
        if self.quoted {
            return self.text == name;
        }
        let Some((first, rest)) = self.text.split_once('*') else { return self.text == name };
        let Some(mut name) = name.strip_prefix(first) else { return false };
        let mut pieces: Vec<_> = rest.split('*').collect();
        let last = pieces.pop().unwrap_or_default();
        for piece in pieces {
            match name.find(piece) {
                Some(place) => name = &name[place + piece.len()..],
                None => return false,
            }
        }
        name.ends_with(last)
    }
}

/// The first part of a name, and what follows it.
fn part(text: &str) -> Option<(Part, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let valid = end > 0 && !text[..end].contains('"');
        return valid.then(|| (Part { text: text[..end].to_owned(), quoted: false }, &text[end..]));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return (!name.is_empty()).then_some((Part { text: name, quoted: true }, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, schema: &str, name: &str) -> bool {
        TablePattern::parse("tables", pattern).unwrap().matches(schema, name)
    }

    #[test]
    fn names_and_patterns_mean_what_they_say() {
        assert!(matches("orders", "public", "orders") && !matches("orders", "shop", "orders"));
        assert!(matches("shop.*", "shop", "orders") && !matches("shop.*", "shop2", "orders"));
        assert!(matches("*.log_*_old", "a", "log_x_old") && !matches("*.log_*_old", "a", "log_old"));
        assert!(matches("\"a.b\".\"c\"\"d*\"", "a.b", "c\"d*") && !matches("\"a.b\".\"c*\"", "a.b", "cd"));
        assert!(matches("*.*", "x", "y") && matches("*.a*b*a", "x", "aba") && !matches("*.a*b*a", "x", "ab"));
        assert!(!TablePattern::parse("tables", "a.*").unwrap().is_exact());
        assert!(TablePattern::parse("tables", "a.\"*\"").unwrap().is_exact());
        for wrong in ["", ".", "a.", ".b", "a.b.c", "\"a", "\"\"", "a\"b"] {
            let error = TablePattern::parse("tables", wrong).unwrap_err();
            assert_eq!(error.field.as_deref(), Some("tables"), "{wrong}");
        }
    }

    #[test]
    fn columns_are_named_behind_their_table() {
        let column = |text: &str| ColumnPattern::parse("as_text", text).unwrap();
        assert!(column("t.c").matches("public", "t", "c") && !column("t.c").matches("s", "t", "c"));
        assert!(column("s.t*.\"C.d\"").matches("s", "two", "C.d") && !column("s.t.*").matches("s", "u", "c"));
        for wrong in ["", "c", "t.", ".c", "a.b.c.d", "t.\"c", "t.c\"", "\"t\"x.c"] {
            let error = ColumnPattern::parse("as_text", wrong).unwrap_err();
            assert_eq!(error.field.as_deref(), Some("as_text"), "{wrong}");
        }
    }
}
