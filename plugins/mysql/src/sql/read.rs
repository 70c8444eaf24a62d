//! Statements that read.

use super::{literal, statement::StatementText};
use crate::flavor::Vendor;

/// What a wrapped statement is called inside the one around it.
const INNER: &str = "q";

/// How the column at this place is called there. The user's names may be there twice, or be empty.
pub fn inner_column(index: usize) -> String {
    format!("{INNER}.{}", inner_name(index))
}

fn inner_name(index: usize) -> String {
    format!("c{}", index + 1)
}

/// A statement of the user's as a table of `columns` columns. Not as a derived table: MariaDB cannot name its columns.
fn with_clause(statement: &str, columns: usize) -> String {
    let names: Vec<_> = (0..columns).map(inner_name).collect();
    format!("WITH {INNER} ({}) AS (\n{statement}\n)", names.join(", "))
}

/// MariaDB forgets the order of a statement inside of another one, unless it decides which rows there are (MariaDB
/// knowledge base, "Why is ORDER BY in a FROM Subquery Ignored?"). MySQL keeps it.
const KEEP_ORDER: &str = "\nLIMIT 18446744073709551615";

/// Which rows of a statement are wanted, in which order.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Conditions over the inner columns.
    pub condition: Vec<String>,
    /// Inner columns to order by.
    pub order: Vec<String>,
}

/// What the server is asked for in place of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedAs {
    /// The column.
    Itself,
    /// A double: a `float` is written with six digits.
    Double,
    /// A whole number: bits of an expression come in a form that its description does not tell.
    Unsigned,
}

/// The query that gives a statement's columns in some form, narrowed down to a selection. It is the statement itself
/// where nothing is to be changed.
pub fn select(statement: &str, forms: &[AskedAs], selection: &Selection) -> String {
    if is_itself(forms) && selection.condition.is_empty() && selection.order.is_empty() {
        return statement.to_owned();
    }
    let column = |(index, form): (usize, &AskedAs)| match form {
        AskedAs::Itself => inner_column(index),
        AskedAs::Double => format!("{} * 1e0", inner_column(index)),
        AskedAs::Unsigned => format!("CAST({} AS UNSIGNED)", inner_column(index)),
    };
    let columns: Vec<_> = forms.iter().enumerate().map(column).collect();
    let mut query =
        format!("{}\nSELECT {}\nFROM {INNER}", with_clause(statement, forms.len()), columns.join(", "));
    if !selection.condition.is_empty() {
        query.push_str(&format!("\nWHERE {}", selection.condition.join("\n  AND ")));
    }
    if !selection.order.is_empty() {
        query.push_str(&format!("\nORDER BY {}", selection.order.join(", ")));
    }
    query
}

/// The same for a statement of the user's, whose rows keep their order where all of them are wanted.
pub fn select_in_order(
    vendor: Vendor,
    statement: &StatementText,
    forms: &[AskedAs],
    selection: &Selection,
) -> String {
    let all = selection.condition.is_empty() && selection.order.is_empty();
    if all && !is_itself(forms) && vendor == Vendor::MariaDb && statement.ends_in_order() {
        return select(&format!("{}{KEEP_ORDER}", statement.as_str()), forms, selection);
    }
    select(statement.as_str(), forms, selection)
}

fn is_itself(forms: &[AskedAs]) -> bool {
    forms.iter().all(|form| *form == AskedAs::Itself)
}

/// A value of a range's bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundValue<'a> {
    /// As the server writes it.
    pub text: &'a str,
    /// A number, which must not be compared as a text.
    pub number: bool,
}

impl BoundValue<'_> {
    fn expression(&self) -> String {
        let digits =
            |character: char| character.is_ascii_digit() || matches!(character, '-' | '.' | 'e' | '+');
        if self.number && !self.text.is_empty() && self.text.chars().all(digits) {
            return self.text.to_owned();
        }
        literal(self.text)
    }
}

/// `(a, b) > (1, 2)` written out, because the servers use no index for rows that are compared so. `or_equal` takes the
/// bound itself too.
pub fn compare(columns: &[usize], operator: char, or_equal: bool, bound: &[BoundValue<'_>]) -> String {
    let Some((first, rest)) =
        columns.split_first().zip(bound.split_first()).map(|((c, cs), (b, bs))| ((*c, b), (cs, bs)))
    else {
        return if or_equal { "TRUE" } else { "FALSE" }.into();
    };
    let (name, value) = (inner_column(first.0), first.1.expression());
    if rest.0.is_empty() {
        let equal = if or_equal { "=" } else { "" };
        return format!("{name} {operator}{equal} {value}");
    }
    let inner = compare(rest.0, operator, or_equal, rest.1);
    format!("({name} {operator}= {value} AND ({name} {operator} {value} OR ({inner})))")
}

/// The greatest tuple of the cursor's columns.
pub fn greatest(statement: &str, columns: usize, cursor: &[usize], conditions: &[String]) -> String {
    let values: Vec<_> = cursor.iter().map(|index| inner_column(*index)).collect();
    let order: Vec<_> = cursor.iter().map(|index| format!("{} DESC", inner_column(*index))).collect();
    let present = cursor.iter().map(|index| format!("{} IS NOT NULL", inner_column(*index)));
    let conditions: Vec<_> = present.chain(conditions.iter().cloned()).collect();
    format!(
        "{}\nSELECT {}\nFROM {INNER}\nWHERE {}\nORDER BY {}\nLIMIT 1",
        with_clause(statement, columns),
        values.join(", "),
        conditions.join(" AND "),
        order.join(", "),
    )
}

/// The least and the greatest value of one column.
pub fn extremes(statement: &str, columns: usize, column: usize) -> String {
    let name = inner_column(column);
    format!("{}\nSELECT MIN({name}), MAX({name})\nFROM {INNER}", with_clause(statement, columns))
}

/// Whether a row has null in one of these columns.
pub fn any_null(statement: &str, columns: usize, among: &[usize]) -> String {
    format!(
        "{}\nSELECT EXISTS (SELECT 1 FROM {INNER} WHERE {})",
        with_clause(statement, columns),
        null_condition(among)
    )
}

/// The condition that one of these columns is null.
pub fn null_condition(among: &[usize]) -> String {
    let nulls: Vec<_> = among.iter().map(|index| format!("{} IS NULL", inner_column(*index))).collect();
    format!("({})", nulls.join(" OR "))
}

/// The server's plan of a query, a row a table, without running it.
pub fn explain(query: &str) -> String {
    format!("EXPLAIN FORMAT=TRADITIONAL\n{query}")
}

/// Starts a transaction that sees one state throughout, fixed now.
pub const BEGIN_SNAPSHOT: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// How a session waits for locks, in whole seconds, at least one.
pub fn lock_timeout(timeout_ms: u64) -> String {
    let seconds = timeout_ms.div_ceil(1000).clamp(1, 31_536_000);
    format!("SET lock_wait_timeout = {seconds}, innodb_lock_wait_timeout = {seconds}")
}

/// Stops every commit until [`UNLOCK`], so that several sessions see the same state. Needs the right RELOAD, or
/// FLUSH_TABLES in MySQL.
pub const LOCK_ALL: &str = "FLUSH TABLES WITH READ LOCK";

/// Stops commits to one table until [`UNLOCK`].
pub fn lock_table(table: &str) -> String {
    format!("LOCK TABLES {table} READ")
}

/// Lets the others go on.
pub const UNLOCK: &str = "UNLOCK TABLES";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(statement: &str) -> StatementText {
        StatementText::parse(statement).unwrap()
    }

    fn number(text: &str) -> BoundValue<'_> {
        BoundValue { text, number: true }
    }

    #[test]
    fn statement_stands_alone_where_nothing_is_to_be_changed() {
        assert_eq!(select("select 1", &[AskedAs::Itself], &Selection::default()), "select 1");
    }

    #[test]
    fn order_of_the_rows_is_kept_where_mariadb_would_forget_it() {
        let text = |vendor, statement: &str| {
            select_in_order(vendor, &parsed(statement), &[AskedAs::Double], &Selection::default())
        };
        let ordered = "select f from t order by id";
        assert!(text(Vendor::MariaDb, ordered).contains("order by id\nLIMIT 18446744073709551615\n)"));
        assert!(text(Vendor::MySql, ordered).contains("order by id\n)"));
        assert!(text(Vendor::MariaDb, "select f from t order by id limit 3").contains("limit 3\n)"));
    }

    #[test]
    fn ranges_order_and_exact_numbers_go_around_the_statement() {
        let text = BoundValue { text: "o'x\\", number: false };
        let selection = Selection {
            condition: vec![
                compare(&[0, 1], '>', false, &[number("7"), text]),
                compare(&[0], '<', true, &[number("9")]),
            ],
            order: vec![inner_column(0), inner_column(1)],
        };
        let forms = [AskedAs::Itself, AskedAs::Unsigned, AskedAs::Double];
        insta::assert_snapshot!(select("select * from t -- all", &forms, &selection));
    }

    #[test]
    fn bounds_are_asked_for_without_nulls() {
        insta::assert_snapshot!(greatest("select * from t", 3, &[2, 0], &["q.c3 > 5".into()]));
        insta::assert_snapshot!(any_null("select * from t", 3, &[2, 0]));
        insta::assert_snapshot!(extremes("select * from t", 2, 1));
    }

    #[test]
    fn a_number_that_is_none_stays_inside_its_quotes() {
        assert_eq!(compare(&[0], '>', false, &[number("1 or 1=1")]), "q.c1 > '1 or 1=1'");
        assert_eq!(compare(&[0], '>', false, &[number("-1.5e3")]), "q.c1 > -1.5e3");
        assert_eq!(lock_timeout(1), "SET lock_wait_timeout = 1, innodb_lock_wait_timeout = 1");
    }
}
