//! Which tables are followed.

use hub_plugin_api::{Error, Result};

/// Names of tables, `*` standing for any characters, with or without a database before a dot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableFilter {
    include: Vec<(String, String)>,
    exclude: Vec<(String, String)>,
}

impl TableFilter {
    /// Reads both lists; a name without a database is of `database`. Without `include`, all of `database`.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] for an empty name.
    pub fn new(database: &str, include: &[String], exclude: &[String]) -> Result<Self> {
        let read = |field: &str, names: &[String]| {
            let one = |name: &String| {
                let (of, table) = name.split_once('.').unwrap_or((database, name));
                if of.is_empty() || table.is_empty() {
                    return Err(Error::config(field, format!("`{name}` is no name of a table"))
                        .with_hint("Write `table` or `database.table`; `*` stands for any characters"));
                }
                Ok((of.to_owned(), table.to_owned()))
            };
            names.iter().map(one).collect::<Result<Vec<_>>>()
        };
        let mut include = read("tables", include)?;
        if include.is_empty() {
            include.push((database.to_owned(), "*".into()));
        }
        Ok(Self { include, exclude: read("exclude_tables", exclude)? })
    }

    /// For a server that keeps names in small letters.
    pub fn in_small_letters(mut self) -> Self {
        for (database, table) in self.include.iter_mut().chain(&mut self.exclude) {
            (*database, *table) = (database.to_lowercase(), table.to_lowercase());
        }
        self
    }

    /// Whether a table is followed.
    pub fn matches(&self, database: &str, table: &str) -> bool {
        let any = |names: &[(String, String)]| {
            names.iter().any(|(of, name)| {
                like(of.as_bytes(), database.as_bytes()) && like(name.as_bytes(), table.as_bytes())
            })
        };
        !is_internal(database) && any(&self.include) && !any(&self.exclude)
    }

    /// The names that none of these tables has: perhaps they are written wrongly.
    pub fn unmatched(&self, tables: &[(String, String)]) -> Vec<String> {
        let is_missing = |(of, name): &&(String, String)| {
            !tables.iter().any(|(database, table)| {
                like(of.as_bytes(), database.as_bytes()) && like(name.as_bytes(), table.as_bytes())
            })
        };
        self.include.iter().filter(is_missing).map(|(of, name)| format!("{of}.{name}")).collect()
    }

    /// Whether a table of this database may be followed.
    pub fn may_match_database(&self, database: &str) -> bool {
        !is_internal(database) && self.include.iter().any(|(of, _)| like(of.as_bytes(), database.as_bytes()))
    }
}

fn is_internal(database: &str) -> bool {
    matches!(database, "mysql" | "sys" | "performance_schema" | "information_schema")
}

fn like(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| like(rest, &text[skip..])),
        Some((first, rest)) => text.split_first().is_some_and(|(one, left)| one == first && like(rest, left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_with_their_database() {
        let of = |include: &[&str], exclude: &[&str]| {
            let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            TableFilter::new("shop", &list(include), &list(exclude)).unwrap()
        };
        let all = of(&[], &["tmp_*"]);
        assert!(all.matches("shop", "orders") && !all.matches("other", "orders"));
        assert!(!all.matches("shop", "tmp_1"));
        let some = of(&["orders", "archive.o*s"], &[]);
        assert!(some.matches("shop", "orders") && some.matches("archive", "orders"));
        assert!(!some.matches("shop", "orders2") && !some.matches("archive", "orders2"));
        assert!(!of(&["*.*"], &[]).matches("mysql", "user"));
        let there = vec![("shop".to_owned(), "orders".to_owned())];
        assert_eq!(some.unmatched(&there), ["archive.o*s"]);
        assert!(all.unmatched(&there).is_empty() && all.unmatched(&Vec::new()) == ["shop.*"]);
        let error = TableFilter::new("shop", &["a.".into()], &[]).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("tables"));
    }
}
