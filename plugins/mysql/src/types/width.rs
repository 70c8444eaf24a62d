//! How wide the rows of a new table may be.

use crate::sql::write::NewColumn;

/// A row's bytes, without those of texts and bytes that lie elsewhere (MySQL manual, "Limits on Table Column Count and Row
/// Size").
const MOST_ROW_BYTES: usize = 65_535;
/// What a column of another type takes of it, roughly.
const OTHER_BYTES: usize = 16;

/// Columns of a new table, the longest texts and bytes without a length where its rows would be too wide: in `utf8mb4` a
/// character takes four bytes, where it took one at the source.
pub fn narrowed(mut columns: Vec<NewColumn>, key: &[String]) -> Vec<NewColumn> {
    loop {
        let widths = columns.iter().map(|column| declared_bytes(&column.type_name)).collect::<Vec<_>>();
        let row: usize = widths.iter().map(|bytes| bytes.unwrap_or(OTHER_BYTES)).sum();
        let free =
            columns.iter().zip(&widths).enumerate().filter(|(_, (column, _))| !key.contains(&column.name));
        let widest = free.filter_map(|(at, (_, bytes))| Some((bytes.as_ref()?, at))).max();
        match widest {
            Some((bytes, at)) if row > MOST_ROW_BYTES && *bytes > OTHER_BYTES => {
                let name = match (columns[at].type_name.contains("binary("), *bytes <= MOST_ROW_BYTES) {
                    (true, true) => "blob",
                    (true, false) => "longblob",
                    (false, true) => "text",
                    (false, false) => "longtext",
                };
                let behind =
                    columns[at].type_name.split_once(')').map(|(_, behind)| behind).unwrap_or_default();
                columns[at].type_name = format!("{name}{behind}");
            }
            _ => return columns,
        }
    }
}

/// The bytes of a row that a text or bytes with a length take.
fn declared_bytes(declared: &str) -> Option<usize> {
    let (word, rest) = declared.split_once('(')?;
    let length: usize = rest.split_once(')')?.0.parse().ok()?;
    match word {
        "char" | "varchar" if rest.contains("ascii") => Some(length),
        "char" | "varchar" => Some(4 * length),
        "binary" | "varbinary" => Some(length),
        _ => None,
    }
}

/// A text's type. One whose size is in bytes is one size up: here a character may take more of them than at the source.
pub fn sized(declared: &str) -> &str {
    match declared {
        "tinytext" => "text",
        "text" => "mediumtext",
        "mediumtext" => "longtext",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_would_be_too_wide_have_texts_without_a_length() {
        let key = vec!["id".to_owned()];
        let made = |types: &[&str]| {
            let column = |(at, name): (usize, &&str)| NewColumn {
                name: if at == 0 { "id".into() } else { format!("c{at}") },
                type_name: (*name).into(),
                required: false,
            };
            let columns = types.iter().enumerate().map(column).collect();
            narrowed(columns, &key).into_iter().map(|column| column.type_name).collect::<Vec<_>>()
        };
        let fits = ["varchar(700) COLLATE x", "varchar(15000)", "binary(255)", "longtext"];
        assert_eq!(made(&fits), fits);
        assert_eq!(
            made(&["int", "varchar(20000) COLLATE x", "varbinary(60000)", "varbinary(50000)", "char(200)"]),
            ["int", "longtext COLLATE x", "blob", "varbinary(50000)", "char(200)"]
        );
        let many = vec!["varchar(255)"; 300];
        let made = made(&many);
        assert_eq!(made.iter().filter(|name| *name == "varchar(255)").count(), 60);
        assert_eq!(made[0], "varchar(255)");
        assert_eq!((sized("text"), sized("varchar(9)")), ("mediumtext", "varchar(9)"));
    }
}
