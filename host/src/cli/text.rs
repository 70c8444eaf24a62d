//! Numbers, sizes and tables for people.

use std::time::Duration;

use unicode_width::UnicodeWidthStr;

/// Text without control characters: what a server or a file says must not steer the terminal.
pub fn plain(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| match c {
            '\n' => "\\n".to_owned(),
            '\t' => "\\t".to_owned(),
            c if c.is_control() => c.escape_unicode().to_string(),
            c => c.to_string(),
        })
        .collect()
}

/// `1,234,567`.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut result = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            result.push(',');
        }
        result.push(digit);
    }
    result
}

/// `1 row`, `1,234 rows`.
pub fn count(value: u64, one: &str) -> String {
    format!("{} {one}{}", number(value), if value == 1 { "" } else { "s" })
}

/// `12.3 MiB`.
#[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
pub fn bytes(value: u64) -> String {
    let mut size = value as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{value} B") } else { format!("{size:.1} {unit}") }
}

/// `0.4 s`, `3 min 5 s`, `2 h 1 min`.
pub fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// So many a second; 0 while no time has gone by.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is shown, nothing is computed with it"
)]
pub fn per_second(value: u64, time: Duration) -> u64 {
    if time.is_zero() { 0 } else { (value as f64 / time.as_secs_f64()) as u64 }
}

/// Rows of cells, aligned by the widest cell of each column.
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

impl Table {
    pub fn new(header: &[&str]) -> Self {
        Self {
            header: header.iter().map(|cell| cell.to_uppercase()).collect(),
            rows: Vec::new(),
            right: Vec::new(),
        }
    }

    /// A table whose header is written as it is.
    pub fn with_names(header: Vec<String>) -> Self {
        Self { header, rows: Vec::new(), right: Vec::new() }
    }

    /// The same table with columns aligned to the right.
    #[must_use]
    pub fn right(mut self, columns: impl IntoIterator<Item = usize>) -> Self {
        self.right.extend(columns);
        self
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell.into())).collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, header first, without spaces at their ends.
    pub fn lines(&self) -> Vec<String> {
        let all = || std::iter::once(&self.header).chain(&self.rows);
        let widths: Vec<usize> = (0..self.header.len())
            .map(|column| all().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or(0))
            .collect();
        all().map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let padding = " ".repeat(width - cell.width());
            let right = self.right.contains(&column);
            line.push_str(if column == 0 { "" } else { "  " });
            line.push_str(if right { &padding } else { "" });
            line.push_str(cell);
            line.push_str(if right { "" } else { &padding });
        }
        line.trim_end().to_owned()
    }
}

/// Text broken into lines of at most `width` columns, at spaces.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_short() {
        assert_eq!(
            [number(0), number(999), number(1_000), number(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([bytes(1_023), bytes(1_536), bytes(5 << 30)], ["1023 B", "1.5 KiB", "5.0 GiB"]);
        assert_eq!(count(1, "row"), "1 row");
        assert_eq!(duration(Duration::from_millis(420)), "0.4 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 5 s");
        assert_eq!(per_second(100, Duration::from_millis(500)), 200);
    }

    #[test]
    fn tables_are_aligned_by_what_is_seen() {
        let mut table = Table::new(&["id", "n"]).right([1]);
        table.row(["é", "1"]);
        table.row(["表", "10"]);
        assert_eq!(table.lines(), ["ID   N", "é    1", "表  10"]);
    }

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        assert_eq!(plain("a\x1b[31mb\nc"), "a\\u{1b}[31mb\\nc");
    }

    #[test]
    fn text_is_broken_at_spaces() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
    }
}
