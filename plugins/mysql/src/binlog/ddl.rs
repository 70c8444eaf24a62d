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
    definition::{Kind, TableDefinition, charset_of},
    history::History,
    lexer::{Quotes, Token, tokens},
    query::Query,
};

/// New declarations: database, table, and what it is now; none for one that is not known any more.
pub type Changes = Vec<(String, String, Option<TableDefinition>)>;

/// What a statement does.
#[derive(Debug, Default)]
pub struct Effects {
    /// What it declares.
    pub changes: Changes,
    /// Tables that were made anew, and are empty.
    pub emptied: Vec<Table>,
    /// Tables whose rows are others now, of which the log says nothing, and how that came.
    pub untold: Vec<(Table, &'static str)>,
}

/// What a statement does. Names are written in small letters where the server keeps them so.
pub fn effects(query: &Query, history: &History, small_letters: bool) -> Effects {
    let tokens = tokens(&query.text, query.quotes);
    let mut parser = Parser { rest: &tokens, query, small_letters, effects: Effects::default() };
    let changes = parser.statement(history);
    let mut effects = parser.effects;
    effects.changes.extend(changes);
    if query.text.contains(char::REPLACEMENT_CHARACTER) {
        // Written in a character set that is not known: so are its names and labels.
        let has_columns = |table: &TableDefinition| !table.columns.is_empty();
        effects
            .changes
            .iter_mut()
            .for_each(|change| change.2 = change.2.take().filter(|table| !has_columns(table)));
    }
    effects
}

/// A default as a catalog writes it.
pub fn constant(text: &str) -> ColumnDefault {
    let tokens = tokens(text, Quotes::default());
    let query = Query::default();
    let mut parser =
        Parser { rest: &tokens, query: &query, small_letters: false, effects: Effects::default() };
    let default = parser.constant();
    // Anything behind a constant makes an expression of it.
    if parser.rest.is_empty() { default } else { ColumnDefault::Unknown }
}

struct Parser<'a> {
    rest: &'a [Token],
    query: &'a Query,
    small_letters: bool,
    effects: Effects,
}

/// A table of a database.
pub type Table = (String, String);

impl Parser<'_> {
    fn statement(&mut self, history: &History) -> Changes {
        if self.take(&["CREATE"]) {
            self.take(&["OR", "REPLACE"]);
            if self.take(&["TABLE"]) {
                return self.create(history);
            }
            if self.take(&["SEQUENCE"]) {
                self.take(&["IF", "NOT", "EXISTS"]);
                let Some((database, name)) = self.table() else { return Vec::new() };
                let sequence = TableDefinition { kind: Kind::Sequence, ..TableDefinition::default() };
                return vec![(database, name, Some(sequence))];
            }
            if self.take_any(&["DATABASE", "SCHEMA"]) {
                self.take(&["IF", "NOT", "EXISTS"]);
                return self.database(history, self.query.server_charset.clone());
            }
        } else if self.take(&["DROP"]) {
            if self.take_any(&["DATABASE", "SCHEMA"]) {
                self.take(&["IF", "EXISTS"]);
                let Some(database) = self.table_name() else { return Vec::new() };
                let tables = history.tables_of(&database).into_iter();
                return tables
                    .map(|table| (database.clone(), table, Some(TableDefinition::gone())))
                    .collect();
            }
            if self.take_any(&["TABLE", "TABLES", "SEQUENCE"]) {
                return self.drop_tables();
            }
        } else if self.take(&["RENAME"]) {
            if self.take_any(&["TABLE", "TABLES"]) {
                return self.rename(history);
            }
        } else if self.take(&["ALTER"]) {
            if self.take_any(&["DATABASE", "SCHEMA"]) {
                let charset = match self.peek() {
                    Some(Token::Name(database)) => history.charset_of(database),
                    _ => history.charset_of(&self.query.database),
                };
                return self.database(history, charset);
            }
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
            changes.push((database, table, Some(TableDefinition::gone())));
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
            changes.push((from.0, from.1, Some(TableDefinition::gone())));
            self.effects.untold.push((to.clone(), "it took the place of another (RENAME)"));
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
        if history.named(&database, &table).is_some() {
            self.effects.emptied.push((database.clone(), table.clone()));
        }
        let mut definition = self.created(history);
        if let Some(definition) = &mut definition {
            let charset = definition.charset.take().filter(|name| name != "default");
            definition.charset = charset.or_else(|| history.charset_of(&database));
            definition.inherit();
        }
        vec![(database, table, definition)]
    }

    /// CREATE or ALTER DATABASE, of which `charset` is that of tables that name none unless the statement says so.
    fn database(&mut self, history: &History, mut charset: Option<String>) -> Changes {
        let options =
            ["CHARACTER", "CHARSET", "COLLATE", "DEFAULT", "COMMENT", "ENCRYPTION", "READ", "UPGRADE"];
        let is_named = self.peek().is_some_and(|token| !options.iter().any(|option| token.is(option)));
        let name = if is_named { self.table_name() } else { Some(self.query.database.clone()) };
        let Some(name) = name else { return Vec::new() };
        let before = charset.take().or_else(|| history.charset_of(&name));
        while self.peek().is_some() {
            charset = self.charset_option().or(charset);
        }
        let charset = charset.filter(|name| name != "default").or(before);
        vec![(name, String::new(), Some(TableDefinition { charset, ..TableDefinition::default() }))]
    }

    fn created(&mut self, history: &History) -> Option<TableDefinition> {
        let like = self.take(&["LIKE"]);
        let in_parentheses = !like && self.take_mark('(');
        if like || in_parentheses && self.take(&["LIKE"]) {
            let (database, table) = self.table()?;
            let like = history.table(&database, &table).cloned()?;
            // A copy of a sequence or of a table with versions is not made so.
            return (like.kind == Kind::Table).then_some(like);
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
        while self.peek().is_some() {
            if self.take(&["WITH", "SYSTEM", "VERSIONING"]) {
                definition.kind = Kind::Versioned;
            } else if self.take_any(&["SELECT", "AS"]) {
                return None;
            } else {
                definition.charset = self.charset_option().or(definition.charset);
            }
        }
        Some(definition)
    }

    /// The character set that the next option names; takes one word of any other.
    fn charset_option(&mut self) -> Option<String> {
        if self.take(&["CHARSET"]) || self.take(&["CHARACTER", "SET"]) {
            self.take_mark('=');
            self.name().map(|name| name.to_lowercase())
        } else if self.take(&["COLLATE"]) {
            self.take_mark('=');
            charset_of(&self.name()?)
        } else {
            self.next();
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::{Context, testing::TestContext};

    use super::*;
    use crate::binlog::definition::{ColumnDefinition, Definitions};

    fn changes_of(statement: &str, history: &History) -> Changes {
        let query = Query { database: "shop".into(), text: statement.into(), ..Query::default() };
        effects(&query, history, false).changes
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
                "id int unsigned not null key 0",
                "key varchar(20) latin1 not null key 1",
                "price decimal(10,2) not null",
                "kind enum('x','it''s') utf8mb4",
                "d double",
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
            "ALTER TABLE t ADD PERIOD FOR SYSTEM_TIME (a, b)",
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
    fn columns_get_the_character_set_of_their_table_and_tables_that_of_their_database() {
        let history = history(&[
            "CREATE DATABASE shop COLLATE latin2_bin",
            "CREATE TABLE t (a int primary key, b varchar(9), c text collate utf8mb4_bin)",
            "ALTER TABLE t ADD d text, CHARSET=cp1251 COLLATE=cp1251_bin, ADD e char(3), MODIFY c varchar(5)",
            "ALTER DATABASE CHARACTER SET = greek",
            "CREATE TABLE u (b varchar(9)) CHARSET default",
            "CREATE TABLE v LIKE t",
            "ALTER TABLE v CONVERT TO CHARACTER SET latin5, ADD f text",
            "ALTER TABLE u CONVERT TO CHARACTER SET DEFAULT, ADD x enum('1')",
            "CREATE TABLE w (b varchar(9)) COLLATE uca1400_ai_ci",
        ]);
        assert_eq!(
            columns(&history, "t"),
            [
                "a int not null key 0",
                "b varchar(9) latin2",
                "c varchar(5) cp1251",
                "d text cp1251",
                "e char(3) cp1251"
            ]
        );
        assert_eq!(columns(&history, "u"), ["b varchar(9) greek", "x enum('1') greek"]);
        assert_eq!(columns(&history, "v")[1..3], ["b varchar(9) latin5", "c varchar(5) latin5"]);
        assert_eq!(columns(&history, "v")[5], "f text latin5");
        // That collation is of every character set.
        assert_eq!(columns(&history, "w"), ["b varchar(9) greek"]);
    }

    #[test]
    fn tables_that_are_made_anew_are_empty_and_rows_that_come_or_go_untold_are_noticed() {
        let history = history(&[
            "CREATE TABLE t (a int primary key)",
            "CREATE TABLE known (a int)",
            "CREATE TABLE old (a int)",
            "DROP TABLE old",
            "RENAME TABLE t TO u",
            "CREATE SEQUENCE s",
        ]);
        let of = |statement: &str| {
            let query = Query { database: "shop".into(), text: statement.into(), ..Query::default() };
            let Effects { emptied, untold, .. } = effects(&query, &history, false);
            let name = |(_, table): Table| table;
            (
                emptied.into_iter().map(name).collect::<Vec<_>>(),
                untold.into_iter().map(|(of, _)| of.1).collect::<Vec<_>>(),
            )
        };
        let none = Vec::<String>::new();
        for statement in [
            "CREATE TABLE old (a int)",
            "CREATE TABLE IF NOT EXISTS old (a int)",
            "create table old select 1",
        ] {
            assert_eq!(of(statement), (vec!["old".into()], none.clone()), "{statement}");
        }
        assert_eq!(of("CREATE OR REPLACE TABLE known (b int)"), (vec!["known".into()], none.clone()));
        assert_eq!(of("CREATE TABLE t LIKE u"), (vec!["t".into()], none.clone()));
        for statement in
            ["CREATE TABLE IF NOT EXISTS known (a int)", "CREATE TABLE another (a int)", "DROP TABLE u"]
        {
            assert_eq!(of(statement), (none.clone(), none.clone()), "{statement}");
        }
        for (statement, untold) in [
            ("RENAME TABLE u TO t", &["t"][..]),
            ("ALTER TABLE u RENAME TO t", &["t"]),
            ("ALTER TABLE u EXCHANGE PARTITION p WITH TABLE known WITHOUT VALIDATION", &["u", "known"]),
            ("ALTER TABLE u DROP PARTITION p, q", &["u"]),
            ("ALTER TABLE u TRUNCATE PARTITION ALL", &["u"]),
            ("ALTER TABLE u CONVERT PARTITION p TO TABLE fresh", &["u", "fresh"]),
            ("ALTER TABLE u IMPORT TABLESPACE", &["u"]),
        ] {
            assert_eq!(of(statement).1, untold, "{statement}");
        }
        assert_eq!(history.table("shop", "s").map(|sequence| sequence.kind), Some(Kind::Sequence));
        assert_eq!(history.tables_of("shop"), ["known", "s", "u"]);
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
