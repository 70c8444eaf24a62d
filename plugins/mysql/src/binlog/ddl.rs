//! What statements of the log do to the declarations of tables.
//!
//! Source: the grammars of CREATE TABLE, ALTER TABLE, RENAME TABLE and DROP TABLE in the manuals of both servers. What
//! is not understood leaves a table without a declaration: its rows are then read by what the log itself says of
//! them, or stop the run, but are never read wrongly.

use super::{
    definition::{ColumnDefinition, TableDefinition},
    history::History,
    lexer::{Token, tokens},
};
use crate::{sql, types::ServerType};

/// New declarations: database, table, and what it is now; none for one that went or that is not known any more.
pub type Changes = Vec<(String, String, Option<TableDefinition>)>;

/// What a statement that was run in `database` changes.
pub fn changes(text: &str, database: &str, history: &History) -> Changes {
    let tokens = tokens(text);
    let mut parser = Parser { rest: &tokens, database };
    parser.statement(history)
}

struct Parser<'a> {
    rest: &'a [Token],
    database: &'a str,
}

/// A table of a database.
type Table = (String, String);

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.rest.first()
    }

    fn next(&mut self) -> Option<&Token> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// Takes words, if all of them come next.
    fn take(&mut self, words: &[&str]) -> bool {
        let found =
            self.rest.len() >= words.len() && self.rest.iter().zip(words).all(|(one, word)| one.is(word));
        if found {
            self.rest = &self.rest[words.len()..];
        }
        found
    }

    fn take_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.take(&[word]))
    }

    fn take_mark(&mut self, mark: char) -> bool {
        let found = self.peek().is_some_and(|token| token.is_mark(mark));
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn name(&mut self) -> Option<String> {
        match self.next()? {
            Token::Word(name) | Token::Name(name) => Some(name.clone()),
            // With ANSI_QUOTES a name may stand in double quotes.
            Token::Text(name) => Some(name.clone()),
            Token::Mark(_) => None,
        }
    }

    fn table(&mut self) -> Option<Table> {
        let first = self.name()?;
        if self.take_mark('.') {
            return Some((first, self.name()?));
        }
        Some((self.database.to_owned(), first))
    }

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

    /// A column, a key or a constraint of CREATE TABLE.
    fn item(&mut self, definition: &mut TableDefinition) -> Option<()> {
        if let Some(Token::Word(word)) = self.peek() {
            let word = word.to_ascii_uppercase();
            if word == "CONSTRAINT" {
                self.next();
                if !self.peek().is_some_and(|token| {
                    ["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"].iter().any(|word| token.is(word))
                }) {
                    self.next();
                }
            }
            if self.take(&["PRIMARY", "KEY"]) {
                return self.primary_key(definition);
            }
            let is_other =
                ["KEY", "INDEX", "UNIQUE", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK", "PERIOD", "CONSTRAINT"];
            if is_other.contains(&word.as_str()) {
                // A column may have such a name only in backticks.
                self.skip_item();
                return Some(());
            }
        }
        let column = self.column(definition)?;
        definition.columns.push(column);
        Some(())
    }

    /// Names in parentheses, behind PRIMARY KEY.
    fn primary_key(&mut self, definition: &mut TableDefinition) -> Option<()> {
        while !self.peek()?.is_mark('(') {
            self.next();
        }
        self.next();
        let mut names = Vec::new();
        loop {
            names.push(self.name()?);
            while !self.peek()?.is_mark(',') && !self.peek()?.is_mark(')') {
                if self.take_mark('(') {
                    self.skip_parentheses();
                } else {
                    self.next();
                }
            }
            if !self.take_mark(',') {
                break;
            }
        }
        self.next();
        for column in &mut definition.columns {
            let place = names.iter().position(|name| name.eq_ignore_ascii_case(&column.name));
            column.key = place.and_then(|place| u32::try_from(place).ok());
            column.nullable &= column.key.is_none();
        }
        self.skip_item();
        Some(())
    }

    /// Goes on behind a closing parenthesis.
    fn skip_parentheses(&mut self) {
        let mut depth = 1;
        while let Some(token) = self.next() {
            if token.is_mark('(') {
                depth += 1;
            } else if token.is_mark(')') {
                depth -= 1;
                if depth == 0 {
                    return;
                }
            }
        }
    }

    /// Goes to the next comma or closing parenthesis of this level.
    fn skip_item(&mut self) {
        while let Some(token) = self.peek() {
            if token.is_mark(',') || token.is_mark(')') {
                return;
            }
            if self.take_mark('(') {
                self.skip_parentheses();
            } else {
                self.next();
            }
        }
    }

    /// A column: name, type, attributes.
    fn column(&mut self, definition: &mut TableDefinition) -> Option<ColumnDefinition> {
        let name = self.name()?;
        let mut charset = None;
        let declared = self.data_type(&mut charset)?;
        let mut column = ColumnDefinition { name, declared, nullable: true, charset, key: None };
        while let Some(token) = self.peek() {
            if token.is_mark(',') || token.is_mark(')') || token.is("FIRST") || token.is("AFTER") {
                break;
            }
            if self.take(&["NOT", "NULL"]) {
                column.nullable = false;
            } else if self.take(&["PRIMARY", "KEY"]) || self.take(&["PRIMARY"]) {
                definition.columns.iter_mut().for_each(|other| other.key = None);
                (column.key, column.nullable) = (Some(0), false);
            } else if self.take(&["UNIQUE", "KEY"]) || self.take(&["COMMENT"]) || self.take(&["DEFAULT"]) {
                // What follows a default is taken as anything else.
            } else if self.take(&["CHARACTER", "SET"]) || self.take(&["CHARSET"]) {
                column.charset = self.name().map(|name| name.to_lowercase());
            } else if self.take(&["COLLATE"]) {
                let collation = self.name().map(charset_of);
                column.charset = column.charset.or(collation);
            } else if self.take_mark('(') {
                self.skip_parentheses();
            } else {
                self.next();
            }
        }
        Some(column)
    }

    /// A type, as the servers write it in their catalogs.
    fn data_type(&mut self, charset: &mut Option<String>) -> Option<String> {
        let mut word = match self.next()? {
            Token::Word(word) => word.to_ascii_lowercase(),
            _ => return None,
        };
        if word == "national" {
            *charset = Some("utf8mb3".into());
            word = self.name()?.to_ascii_lowercase();
        }
        self.take(&["PRECISION"]);
        let varying = self.take(&["VARYING"]);
        word = match word.as_str() {
            "char" | "character" | "nchar" if varying => "varchar",
            "char" | "character" | "nchar" => "char",
            "nvarchar" => "varchar",
            "integer" | "int4" | "middleint" => "int",
            "int1" | "bool" | "boolean" => "tinyint",
            "int2" => "smallint",
            "int3" => "mediumint",
            "int8" => "bigint",
            "float4" => "float",
            "float8" | "real" => "double",
            "dec" | "numeric" | "fixed" | "number" => "decimal",
            "clob" => "longtext",
            "raw" => "varbinary",
            "varchar2" => "varchar",
            "serial" => return Some("bigint unsigned".into()),
            other => other,
        }
        .to_owned();
        let mut declared = word.clone();
        if self.take_mark('(') {
            let mut inner = Vec::new();
            loop {
                match self.next()? {
                    Token::Text(text) => inner.push(sql::literal(text)),
                    Token::Word(number) => inner.push(number.clone()),
                    Token::Mark(')') => break,
                    Token::Mark(',') => {}
                    _ => return None,
                }
            }
            // FLOAT(n) above 24 is a DOUBLE.
            let digits = inner.first().and_then(|digits| digits.parse::<u32>().ok());
            if word == "float" && inner.len() == 1 && digits.is_some_and(|digits| digits > 24) {
                declared = "double".into();
            } else if matches!(word.as_str(), "enum" | "set") {
                // Labels are written with doubled quotes only.
                let plain = inner.iter().map(|label| label.replace("\\'", "''").replace("\\\\", "\\"));
                declared = format!("{word}({})", plain.collect::<Vec<_>>().join(","));
            } else {
                declared = format!("{word}({})", inner.join(","));
            }
        }
        match declared.as_str() {
            "decimal" => declared = "decimal(10,0)".into(),
            "bit" => declared = "bit(1)".into(),
            "char" => declared = "char(1)".into(),
            "binary" => declared = "binary(1)".into(),
            _ => {}
        }
        loop {
            if self.take_any(&["UNSIGNED", "ZEROFILL"]) {
                if !declared.ends_with(" unsigned") {
                    declared.push_str(" unsigned");
                }
            } else if self.take(&["BYTE"])
                || self.take(&["CHARACTER", "SET", "BINARY"])
                || self.take(&["CHARSET", "BINARY"])
            {
                declared = declared
                    .replace("varchar", "varbinary")
                    .replace("char", "binary")
                    .replace("text", "blob");
            } else if self.take_any(&["SIGNED", "BINARY"]) {
                // As it is without.
            } else if self.take(&["ASCII"]) {
                *charset = Some("latin1".into());
            } else if self.take(&["UNICODE"]) {
                *charset = Some("ucs2".into());
            } else {
                break;
            }
        }
        if let Some(digits) = declared.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')'))
            && !digits.contains(',')
        {
            declared = format!("decimal({digits},0)");
        }
        ServerType::of_declared(&declared).map(|_| declared)
    }

    fn alter(&mut self, history: &History) -> Changes {
        self.take(&["IF", "EXISTS"]);
        let Some((database, table)) = self.table() else { return Vec::new() };
        if self.take_any(&["WAIT", "NOWAIT"]) {
            self.next();
        }
        let mut definition = history.table(&database, &table).cloned();
        let mut renamed = None;
        loop {
            let understood = match &mut definition {
                Some(definition) => self.action(definition, &mut renamed),
                // Even a table that is not known may be given another name.
                None => self.action(&mut TableDefinition::default(), &mut renamed).map(drop),
            };
            if understood.is_none() {
                definition = None;
            }
            self.skip_item();
            if !self.take_mark(',') {
                break;
            }
        }
        match renamed {
            None => vec![(database, table, definition)],
            Some(to) => vec![(database, table, None), (to.0, to.1, definition)],
        }
    }

    /// One action of ALTER TABLE; none when it is not understood, or does not fit the declaration.
    fn action(&mut self, definition: &mut TableDefinition, renamed: &mut Option<Table>) -> Option<()> {
        if self.take(&["ADD"]) {
            return self.add(definition);
        }
        if self.take(&["DROP"]) {
            return self.remove(definition);
        }
        let modify = self.take(&["MODIFY"]);
        if modify || self.take(&["CHANGE"]) {
            self.take(&["COLUMN"]);
            self.take(&["IF", "EXISTS"]);
            let old = match modify {
                true => match self.peek()? {
                    Token::Word(name) | Token::Name(name) => name.clone(),
                    _ => return None,
                },
                false => self.name()?,
            };
            let place = place_of(definition, &old)?;
            let mut column = self.column(definition)?;
            let before = definition.columns.remove(place);
            if column.key.is_none() && before.key.is_some() {
                (column.key, column.nullable) = (before.key, false);
            }
            let place = self.placed(definition, place)?;
            definition.columns.insert(place, column);
            return Some(());
        }
        if self.take(&["RENAME"]) {
            if self.take(&["COLUMN"]) {
                self.take(&["IF", "EXISTS"]);
                let old = self.name()?;
                self.take(&["TO"]);
                let place = place_of(definition, &old)?;
                definition.columns[place].name = self.name()?;
            } else if !self.take_any(&["INDEX", "KEY"]) {
                if !self.take_any(&["TO", "AS"]) {
                    self.take_mark('=');
                }
                *renamed = Some(self.table()?);
            }
            return Some(());
        }
        if self.take(&["CONVERT", "TO"]) {
            if !self.take(&["CHARACTER", "SET"]) && !self.take(&["CHARSET"]) {
                return None;
            }
            let charset = self.name()?.to_lowercase();
            for column in &mut definition.columns {
                let is_text = matches!(
                    ServerType::of_declared(&column.declared),
                    Some(ServerType::Text | ServerType::Enum(_) | ServerType::Set)
                );
                if is_text {
                    // `DEFAULT` is the database's own, which the statement does not name.
                    column.charset = Some(charset.clone()).filter(|name| name != "default");
                }
            }
            return Some(());
        }
        // Options, indexes, partitions, defaults: columns stay as they are. What changes columns in ways of its own is
        // not understood.
        if self.take_any(&["ADD", "EXCHANGE", "PERIOD"]) { None } else { Some(()) }
    }

    fn add(&mut self, definition: &mut TableDefinition) -> Option<()> {
        let is = |token: &Token, words: &[&str]| words.iter().any(|word| token.is(word));
        if self.take(&["CONSTRAINT"]) && !is(self.peek()?, &["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]) {
            self.name()?;
        }
        if self.take(&["PRIMARY", "KEY"]) {
            return self.primary_key(definition);
        }
        if is(
            self.peek()?,
            &["INDEX", "KEY", "UNIQUE", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK", "PARTITION"],
        ) {
            return Some(());
        }
        if is(self.peek()?, &["SYSTEM", "PERIOD"]) {
            return None;
        }
        self.take(&["COLUMN"]);
        let only_new = self.take(&["IF", "NOT", "EXISTS"]);
        if self.take_mark('(') {
            loop {
                let column = self.column(definition)?;
                definition.columns.push(column);
                if !self.take_mark(',') {
                    break;
                }
            }
            return self.take_mark(')').then_some(());
        }
        let column = self.column(definition)?;
        let last = definition.columns.len();
        let place = self.placed(definition, last)?;
        if only_new && place_of(definition, &column.name).is_some() {
            return Some(());
        }
        definition.columns.insert(place, column);
        Some(())
    }

    fn remove(&mut self, definition: &mut TableDefinition) -> Option<()> {
        if self.take(&["PRIMARY", "KEY"]) {
            definition.columns.iter_mut().for_each(|column| column.key = None);
            return Some(());
        }
        let explicit = self.take(&["COLUMN"]);
        if !explicit {
            let others = ["INDEX", "KEY", "FOREIGN", "CONSTRAINT", "CHECK", "PARTITION"];
            if others.iter().any(|word| self.peek().is_some_and(|token| token.is(word))) {
                return Some(());
            }
            if self.peek().is_some_and(|token| token.is("SYSTEM") || token.is("PERIOD")) {
                return None;
            }
        }
        let only_old = self.take(&["IF", "EXISTS"]);
        let name = self.name()?;
        match place_of(definition, &name) {
            Some(place) => drop(definition.columns.remove(place)),
            None if only_old => {}
            None => return None,
        }
        Some(())
    }

    /// Where a column goes that would otherwise be at `place`.
    fn placed(&mut self, definition: &TableDefinition, place: usize) -> Option<usize> {
        if self.take(&["FIRST"]) {
            return Some(0);
        }
        if self.take(&["AFTER"]) {
            let name = self.name()?;
            return place_of(definition, &name).map(|place| place + 1);
        }
        Some(place)
    }
}

fn place_of(definition: &TableDefinition, name: &str) -> Option<usize> {
    definition.columns.iter().position(|column| column.name.to_lowercase() == name.to_lowercase())
}

/// A collation is called after its character set.
fn charset_of(collation: String) -> String {
    collation.split('_').next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::{Context, testing::TestContext};

    use super::*;
    use crate::binlog::definition::Definitions;

    fn history(statements: &[&str]) -> History {
        let context: Context = std::sync::Arc::new(TestContext::new()).context();
        History::begin(&context, 1, Definitions::new()).unwrap();
        let mut history = History::open(&context, 1, 0).unwrap();
        for (number, statement) in (1..).zip(statements) {
            let changes = changes(statement, "shop", &history);
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
            let changes = changes(statement, "shop", &history);
            history.change(number, changes).unwrap();
        }
        assert_eq!(columns(&History::open(&context, 1, 2).unwrap(), "t").len(), 2);
        let mut earlier = History::open(&context, 1, 1).unwrap();
        assert_eq!(columns(&earlier, "t"), ["a int"]);
        earlier.forget_before(1).unwrap();
        assert_eq!(columns(&History::open(&context, 1, 1).unwrap(), "t"), ["a int"]);
    }
}
