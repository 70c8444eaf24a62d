//! What statements of the log do to the declarations of tables.
//!
//! Source: the grammars of CREATE TABLE, ALTER TABLE, RENAME TABLE and DROP TABLE in the manuals of both servers. What
//! is not understood leaves a table without a declaration: its rows are then read by what the log itself says of
//! them, or stop the run, but are never read wrongly.

mod alter;
mod column;
mod constant;
mod parser;

use super::{
    default::ColumnDefault,
    definition::TableDefinition,
    event::Query,
    history::History,
    lexer::{Quotes, Token, tokens},
};

/// New declarations: database, table, and what it is now; none for one that went or that is not known any more.
pub type Changes = Vec<(String, String, Option<TableDefinition>)>;

/// What a statement changes.
pub fn changes(query: &Query, history: &History) -> Changes {
    let tokens = tokens(&query.text, query.quotes);
    let mut parser = Parser { rest: &tokens, database: &query.database };
    parser.statement(history)
}

/// A default as a catalog writes it.
pub fn constant(text: &str) -> ColumnDefault {
    let tokens = tokens(text, Quotes::default());
    let mut parser = Parser { rest: &tokens, database: "" };
    let default = parser.constant();
    // Anything behind a constant makes an expression of it.
    if parser.rest.is_empty() { default } else { ColumnDefault::Unknown }
}

struct Parser<'a> {
    rest: &'a [Token],
    database: &'a str,
}

/// A table of a database.
type Table = (String, String);

impl Parser<'_> {
    fn statement(&mut self, history: &History) -> Changes {
        if self.take(&["CREATE"]) {
            self.take(&["OR", "REPLACE"]);
            if self.take(&["TABLE"]) {
                return self.create(history);
            }
        } else if self.take(&["DROP"]) {
            if self.take_any(&["DATABASE", "SCHEMA"]) {
                self.take(&["IF", "EXISTS"]);
                let Some(database) = self.name() else { return Vec::new() };
                let tables = history.tables_of(&database).into_iter();
                return tables.map(|table| (database.clone(), table, None)).collect();
            }
            if self.take_any(&["TABLE", "TABLES"]) {
                return self.drop_tables();
            }
        } else if self.take(&["RENAME"]) {
            if self.take_any(&["TABLE", "TABLES"]) {
                return self.rename(history);
            }
        } else if self.take(&["ALTER"]) {
            self.take(&["ONLINE"]);
            self.take(&["IGNORE"]);
            if self.take(&["TABLE"]) {
                return self.alter(history);
            }
        }
        Vec::new()
    }

    fn drop_tables(&mut self) -> Changes {
        self.take(&["IF", "EXISTS"]);
        let mut changes = Vec::new();
        while let Some((database, table)) = self.table() {
            changes.push((database, table, None));
            if !self.take_mark(',') {
                break;
            }
        }
        changes
    }

    fn rename(&mut self, history: &History) -> Changes {
        self.take(&["IF", "EXISTS"]);
        let mut changes: Changes = Vec::new();
        loop {
            let Some(from) = self.table() else { return changes };
            if self.take_any(&["WAIT", "NOWAIT"]) {
                self.next();
            }
            self.take(&["TO"]);
            let Some(to) = self.table() else { return changes };
            // Renames of one statement come one after the other: tables may change places.
            let definition = match changes
                .iter()
                .rev()
                .find(|(database, table, _)| (database, table) == (&from.0, &from.1))
            {
                Some((_, _, definition)) => definition.clone(),
                None => history.table(&from.0, &from.1).cloned(),
            };
            changes.push((from.0, from.1, None));
            changes.push((to.0, to.1, definition));
            if !self.take_mark(',') {
                return changes;
            }
        }
    }

    fn create(&mut self, history: &History) -> Changes {
        let only_new = self.take(&["IF", "NOT", "EXISTS"]);
        let Some((database, table)) = self.table() else { return Vec::new() };
        if only_new && history.table(&database, &table).is_some() {
            return Vec::new();
        }
        let definition = self.created(history);
        vec![(database, table, definition)]
    }

    fn created(&mut self, history: &History) -> Option<TableDefinition> {
        let like = self.take(&["LIKE"]);
        let in_parentheses = !like && self.take_mark('(');
        if like || in_parentheses && self.take(&["LIKE"]) {
            let (database, table) = self.table()?;
            return history.table(&database, &table).cloned();
        }
        if !in_parentheses {
            // CREATE TABLE … SELECT: what it makes stands elsewhere.
            return None;
        }
        let mut definition = TableDefinition::default();
        loop {
            self.item(&mut definition)?;
            if !self.take_mark(',') {
                break;
            }
        }
        if !self.take_mark(')') {
            return None;
        }
        let mut charset = None;
        while self.peek().is_some() {
            if self.take(&["CHARSET"]) || self.take(&["CHARACTER", "SET"]) {
                self.take_mark('=');
                charset = self.name();
            } else if self.take(&["COLLATE"]) {
                self.take_mark('=');
                charset = charset.or(self.name().map(charset_of));
            } else if self.take_any(&["SELECT", "AS"]) {
                return None;
            } else {
                self.next();
            }
        }
        for column in &mut definition.columns {
            column.charset =
                column.charset.take().or_else(|| charset.clone().map(|name| name.to_lowercase()));
        }
        Some(definition)
    }
}

/// A collation is called after its character set.
fn charset_of(collation: String) -> String {
    collation.split('_').next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::{Context, testing::TestContext};

    use super::*;
    use crate::binlog::definition::{ColumnDefinition, Definitions};

    fn changes_of(statement: &str, history: &History) -> Changes {
        let query = Query { database: "shop".into(), quotes: Quotes::default(), text: statement.into() };
        changes(&query, history)
    }

    fn history(statements: &[&str]) -> History {
        let context: Context = std::sync::Arc::new(TestContext::new()).context();
        History::begin(&context, 1, Definitions::new()).unwrap();
        let mut history = History::open(&context, 1, 0).unwrap();
        for (number, statement) in (1..).zip(statements) {
            let changes = changes_of(statement, &history);
            history.change(number, changes).unwrap();
        }
        history
    }

    fn columns(history: &History, table: &str) -> Vec<String> {
        let one = |column: &ColumnDefinition| {
            let key = column.key.map_or_else(String::new, |key| format!(" key {key}"));
            let null = if column.nullable { "" } else { " not null" };
            let charset = column.charset.as_ref().map_or_else(String::new, |name| format!(" {name}"));
            format!("{} {}{charset}{null}{key}", column.name, column.declared)
        };
        history.table("shop", table).map(|table| table.columns.iter().map(one).collect()).unwrap_or_default()
    }

    #[test]
    fn created_table_has_the_columns_of_its_statement() {
        let history = history(&[
            "CREATE TABLE IF NOT EXISTS `t` (\n id INTEGER UNSIGNED NOT NULL AUTO_INCREMENT, \
            `key` varchar(20) CHARACTER SET latin1 DEFAULT 'a,b)', price DECIMAL(10,2) NOT NULL DEFAULT (1 + 2), \
            kind ENUM('x','it''s') , d double precision, PRIMARY KEY (id, `key`(10) DESC), KEY k (price), \
            CONSTRAINT c CHECK (price > 0)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
        ]);
        assert_eq!(
            columns(&history, "t"),
            [
                "id int unsigned utf8mb4 not null key 0",
                "key varchar(20) latin1 not null key 1",
                "price decimal(10,2) utf8mb4 not null",
                "kind enum('x','it''s') utf8mb4",
                "d double utf8mb4",
            ]
        );
    }

    #[test]
    fn defaults_are_followed() {
        let history = history(&[
            "CREATE TABLE t (a int AUTO_INCREMENT PRIMARY KEY, b int DEFAULT -5 COMMENT 'DEFAULT 7', c varchar(9) NOT NULL \
            DEFAULT 'x', d datetime DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, e int DEFAULT (1 + 2) NOT NULL, \
            f int AS (b + 1) STORED, g timestamp, h timestamp NULL, i text, j serial, k date)",
            "ALTER TABLE t ALTER COLUMN b SET DEFAULT 6, ALTER c DROP DEFAULT, ALTER INDEX i INVISIBLE, \
            MODIFY k date DEFAULT '2020-01-02' NOT NULL AFTER a",
        ]);
        let columns = &history.table("shop", "t").unwrap().columns;
        let defaults: Vec<_> = columns.iter().map(|one| (one.name.as_str(), &one.default)).collect();
        let text = |text: &str| ColumnDefault::Text(text.into());
        assert_eq!(
            defaults,
            [
                ("a", &ColumnDefault::Unknown),
                ("k", &text("2020-01-02")),
                ("b", &text("6")),
                ("c", &ColumnDefault::Undeclared),
                ("d", &ColumnDefault::Unknown),
                ("e", &ColumnDefault::Unknown),
                ("f", &ColumnDefault::Unknown),
                ("g", &ColumnDefault::Unknown),
                ("h", &ColumnDefault::Undeclared),
                ("i", &ColumnDefault::Undeclared),
                ("j", &ColumnDefault::Unknown),
            ]
        );
    }

    #[test]
    fn several_alters_one_after_the_other_are_followed() {
        let history = history(&[
            "create table t (a int primary key, b text charset utf8mb4, c int)",
            "ALTER TABLE t ADD COLUMN d BIGINT AFTER a, DROP COLUMN c, ADD INDEX (d)",
            "alter table `shop`.`t` change b note varchar(30) charset utf8mb4 not null first, rename column d to e",
            "ALTER TABLE t MODIFY e smallint unsigned, ALGORITHM=INPLACE",
            "CREATE TABLE u LIKE t",
            "RENAME TABLE t TO x, u TO t, x TO u",
            "ALTER TABLE u ADD (f date, g time(3)), RENAME TO w",
            "DROP TABLE IF EXISTS nothing, t /* generated by server */",
        ]);
        assert_eq!(columns(&history, "t"), Vec::<String>::new());
        assert_eq!(columns(&history, "u"), Vec::<String>::new());
        assert_eq!(
            columns(&history, "w"),
            [
                "note varchar(30) utf8mb4 not null",
                "a int not null key 0",
                "e smallint unsigned",
                "f date",
                "g time(3)"
            ]
        );
    }

    #[test]
    fn what_is_not_understood_leaves_no_declaration() {
        for statement in [
            "ALTER TABLE t DROP COLUMN nothing",
            "ALTER TABLE t ADD COLUMN h hologram",
            "ALTER TABLE t ADD SYSTEM VERSIONING",
            "CREATE OR REPLACE TABLE t SELECT * FROM u",
        ] {
            let history = history(&["create table t (a int primary key)", statement]);
            assert_eq!(history.table("shop", "t"), None, "{statement}");
        }
        let kept =
            history(&["create table t (a int)", "ALTER TABLE t ENGINE=InnoDB", "create index i on t (a)"]);
        assert_eq!(columns(&kept, "t"), ["a int"]);
    }

    #[test]
    fn later_changes_are_forgotten_at_an_earlier_position() {
        let context = std::sync::Arc::new(TestContext::new()).context();
        History::begin(&context, 1, Definitions::new()).unwrap();
        let mut history = History::open(&context, 1, 0).unwrap();
        for (number, statement) in [(1, "create table t (a int)"), (2, "alter table t add b int")] {
            let changes = changes_of(statement, &history);
            history.change(number, changes).unwrap();
        }
        assert_eq!(columns(&History::open(&context, 1, 2).unwrap(), "t").len(), 2);
        let mut earlier = History::open(&context, 1, 1).unwrap();
        assert_eq!(columns(&earlier, "t"), ["a int"]);
        earlier.forget_before(1).unwrap();
        assert_eq!(columns(&History::open(&context, 1, 1).unwrap(), "t"), ["a int"]);
    }
}
