//! Constants behind DEFAULT.

use super::Parser;
use crate::binlog::{default::ColumnDefault, lexer::Token};

impl Parser<'_> {
    /// The constant that comes next; what else stands there is computed by the server.
    pub(super) fn constant(&mut self) -> ColumnDefault {
        let sign = if self.take_mark('-') {
            "-"
        } else {
            self.take_mark('+');
            ""
        };
        let Some(token) = self.next().cloned() else { return ColumnDefault::Unknown };
        match token {
            Token::Text(text) if sign.is_empty() => ColumnDefault::Text(text),
            Token::Mark('(') => {
                self.skip_parentheses();
                ColumnDefault::Unknown
            }
            Token::Word(word) => match word.to_ascii_lowercase().as_str() {
                "null" => ColumnDefault::Undeclared,
                "true" => ColumnDefault::Text("1".into()),
                "false" => ColumnDefault::Text("0".into()),
                "b" => self.quoted(2),
                "x" => self.quoted(16),
                number if number.starts_with("0x") => bytes(&number[2..], 16),
                number if number.starts_with("0b") => bytes(&number[2..], 2),
                number if number.starts_with(|first: char| first.is_ascii_digit()) => {
                    let mut number = format!("{sign}{number}");
                    if self.take_mark('.') {
                        number.push('.');
                        if let Some(Token::Word(digits)) = self.peek()
                            && digits.starts_with(|first: char| first.is_ascii_digit())
                        {
                            number.push_str(&digits.to_ascii_lowercase());
                            self.next();
                        }
                    }
                    ColumnDefault::Text(number)
                }
                _ => ColumnDefault::Unknown,
            },
            Token::Text(_) | Token::Name(_) | Token::Mark(_) => ColumnDefault::Unknown,
        }
    }

    /// Digits in quotes.
    fn quoted(&mut self, radix: u32) -> ColumnDefault {
        match self.next() {
            Some(Token::Text(digits)) => bytes(digits, radix),
            _ => ColumnDefault::Unknown,
        }
    }
}

/// The bytes of binary or hexadecimal digits, of which the last fill the last byte.
fn bytes(digits: &str, radix: u32) -> ColumnDefault {
    let of_byte = if radix == 2 { 8 } else { 2 };
    let one = |part: &[u8]| u8::from_str_radix(std::str::from_utf8(part).ok()?, radix).ok();
    let parts = digits.as_bytes().rchunks(of_byte).map(one).rev().collect::<Option<_>>();
    parts.map_or(ColumnDefault::Unknown, ColumnDefault::Bytes)
}

#[cfg(test)]
mod tests {
    use super::{super::constant, *};

    #[test]
    fn constants_are_told_from_expressions() {
        let text = |text: &str| ColumnDefault::Text(text.into());
        for (written, expected) in [
            ("NULL", ColumnDefault::Undeclared),
            ("'it''s\\n'", text("it's\n")),
            ("-5", text("-5")),
            ("+1.50", text("1.50")),
            ("1E10", text("1e10")),
            ("1.5e3", text("1.5e3")),
            ("7.", text("7.")),
            ("TRUE", text("1")),
            ("b'101'", ColumnDefault::Bytes(vec![5])),
            ("B'1 0000 0001'", ColumnDefault::Unknown),
            ("b'100000001'", ColumnDefault::Bytes(vec![1, 1])),
            ("0xFF00a", ColumnDefault::Bytes(vec![0x0f, 0xf0, 0x0a])),
            ("x'4142'", ColumnDefault::Bytes(vec![0x41, 0x42])),
            ("1.5e-3", ColumnDefault::Unknown),
            ("-'5'", ColumnDefault::Unknown),
            ("current_timestamp()", ColumnDefault::Unknown),
            ("(1 + 2)", ColumnDefault::Unknown),
            ("1 + 2", ColumnDefault::Unknown),
            ("_latin1'a'", ColumnDefault::Unknown),
            ("", ColumnDefault::Unknown),
        ] {
            assert_eq!(constant(written), expected, "{written}");
        }
    }
}
