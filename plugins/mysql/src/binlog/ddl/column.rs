//! Columns and primary keys, as CREATE TABLE and ALTER TABLE write them.

use super::{Parser, charset_of};
use crate::{
    binlog::{
        default::ColumnDefault,
        definition::{ColumnDefinition, TableDefinition},
        lexer::Token,
    },
    sql,
    types::ServerType,
};

impl Parser<'_> {
    /// A column, a key or a constraint of CREATE TABLE.
    pub(super) fn item(&mut self, definition: &mut TableDefinition) -> Option<()> {
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
    pub(super) fn primary_key(&mut self, definition: &mut TableDefinition) -> Option<()> {
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

    /// A column: name, type, attributes.
    pub(super) fn column(&mut self, definition: &mut TableDefinition) -> Option<ColumnDefinition> {
        let name = self.name()?;
        let mut charset = None;
        let is_serial = self.peek().is_some_and(|token| token.is("SERIAL"));
        let declared = self.data_type(&mut charset)?;
        let mut column = ColumnDefinition {
            name,
            declared,
            nullable: !is_serial,
            charset,
            key: None,
            default: ColumnDefault::Undeclared,
        };
        // What a time stamp gets for which nothing is said depends on the server's settings.
        let mut may_be_null = column.declared != "timestamp" && !column.declared.starts_with("timestamp(");
        let mut is_computed = is_serial;
        while let Some(token) = self.peek() {
            if token.is_mark(',') || token.is_mark(')') || token.is("FIRST") || token.is("AFTER") {
                break;
            }
            if self.take(&["NOT", "NULL"]) {
                (column.nullable, may_be_null) = (false, true);
            } else if self.take(&["NULL"]) {
                may_be_null = true;
            } else if self.take(&["DEFAULT"]) {
                (column.default, may_be_null) = (self.constant(), true);
            } else if self.take_any(&["AUTO_INCREMENT", "GENERATED", "AS"]) {
                is_computed = true;
            } else if self.take(&["PRIMARY", "KEY"]) || self.take(&["PRIMARY"]) {
                definition.columns.iter_mut().for_each(|other| other.key = None);
                (column.key, column.nullable) = (Some(0), false);
            } else if self.take(&["UNIQUE", "KEY"]) || self.take(&["COMMENT"]) {
                // What follows a comment is taken as anything else.
            } else if self.take(&["CHARACTER", "SET"]) || self.take(&["CHARSET"]) {
                column.charset = self.name().map(|name| name.to_lowercase());
            } else if self.take(&["COLLATE"]) {
                let collation = self.name().and_then(|name| charset_of(&name));
                column.charset = column.charset.or(collation);
            } else if self.take_mark('(') {
                self.skip_parentheses();
            } else {
                self.next();
            }
        }
        if is_computed || !may_be_null {
            column.default = ColumnDefault::Unknown;
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
}
