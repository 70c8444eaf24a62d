//! Reads orders page by page, and yields what each of them costs.
//!
//! The statement reads one page: the first parameter is the last id that was seen, the second how many rows a page
//! has. In PostgreSQL and SQLite:
//!
//! ```sql
//! select id, customer, quantity, cents, discount from orders where id > $1 order by id limit $2
//! ```

mod by_columns;
mod by_rows;

use hub_guest::{Event, Failure, Field, Function, Result, export_function};
use serde::{Deserialize, Serialize};

export_function!(Orders);

/// What the user gives.
#[derive(Deserialize)]
struct Arguments {
    /// Reads one page.
    statement: String,
    /// Rows a page.
    #[serde(default = "default_page_rows")]
    page_rows: i64,
    /// How the rows come and go.
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Encoding {
    #[default]
    Rows,
    Columns,
}

fn default_page_rows() -> i64 {
    500
}

/// The last id that was seen.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Position {
    last: i64,
}

struct Orders {
    arguments: Arguments,
    last: i64,
    /// Whether a page was yielded whose boundary is still to come.
    page_is_open: bool,
}

impl Function for Orders {
    type Arguments = Arguments;
    type Position = Position;

    fn open(arguments: Arguments, position: Option<Position>) -> Result<Self> {
        if arguments.page_rows < 1 {
            return Err(
                Failure::new("invalid-config", "A page needs at least one row").with_hint("Set `page_rows`")
            );
        }
        Ok(Self { arguments, last: position.map_or(i64::MIN, |position| position.last), page_is_open: false })
    }

    fn next(&mut self) -> Result<Event<Position>> {
        if std::mem::take(&mut self.page_is_open) {
            return Ok(Event::Boundary(Some(Position { last: self.last })));
        }
        let parameters = [self.last.into(), self.arguments.page_rows.into()];
        let statement = &self.arguments.statement;
        let page = match self.arguments.encoding {
            Encoding::Rows => by_rows::page(statement, &parameters)?,
            Encoding::Columns => by_columns::page(statement, &parameters)?,
        };
        let Some((last, batch)) = page else { return Ok(Event::End) };
        (self.last, self.page_is_open) = (last, true);
        Ok(Event::Rows(batch))
    }
}

/// The columns that are yielded.
fn fields() -> [Field; 5] {
    [
        Field::signed("id").key(0),
        Field::text("customer"),
        Field::signed("total_cents").not_null(),
        Field::float("net_cents").not_null(),
        Field::text("label").not_null(),
    ]
}

fn total(id: i64, quantity: i64, cents: i64) -> Result<i64> {
    quantity.checked_mul(cents).ok_or_else(|| {
        Failure::new("invalid-data", format!("The total of order {id} is above 2^63 - 1 cents"))
    })
}

fn net(total: i64, discount: f64) -> f64 {
    total as f64 * (1.0 - discount)
}

fn label(customer: Option<&str>, id: i64) -> String {
    format!("{} #{id}", customer.unwrap_or("unknown"))
}
