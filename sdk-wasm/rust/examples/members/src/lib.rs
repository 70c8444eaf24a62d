//! Pages through a sorted set of Redis with commands, lowest score first.
//!
//! Positions count members, so the set must not change while it is read.

use hub_guest::{Event, Failure, Field, Function, Result, Rows, export_function, query_command};
use serde::{Deserialize, Serialize};

export_function!(Members);

/// What the user gives.
#[derive(Deserialize)]
struct Arguments {
    /// The set.
    key: String,
    /// Members a page.
    #[serde(default = "default_page_rows")]
    page_rows: i64,
}

fn default_page_rows() -> i64 {
    500
}

/// How many members were seen.
#[derive(Serialize, Deserialize)]
struct Position {
    seen: i64,
}

struct Members {
    arguments: Arguments,
    seen: i64,
    /// Whether a page was yielded whose boundary is still to come.
    page_is_open: bool,
}

impl Function for Members {
    type Arguments = Arguments;
    type Position = Position;

    fn open(arguments: Arguments, position: Option<Position>) -> Result<Self> {
        if arguments.page_rows < 1 {
            return Err(
                Failure::new("invalid-config", "A page needs at least one row").with_hint("Set `page_rows`")
            );
        }
        Ok(Self { arguments, seen: position.map_or(0, |position| position.seen), page_is_open: false })
    }

    fn next(&mut self) -> Result<Event<Position>> {
        if std::mem::take(&mut self.page_is_open) {
            return Ok(Event::Boundary(Some(Position { seen: self.seen })));
        }
        let last = self.seen + self.arguments.page_rows - 1;
        let key = self.arguments.key.as_str();
        let mut members = query_command(vec!["ZRANGE".into(), key.into(), self.seen.into(), last.into()])?;
        let mut rows = Rows::new(vec![Field::signed("rank").key(0), Field::text("member").not_null()]);
        while let Some(member) = members.next_row() {
            let member: String = member.get("value")?;
            rows.push(vec![self.seen.into(), member.to_ascii_uppercase().into()]);
            self.seen += 1;
        }
        self.page_is_open = !rows.is_empty();
        Ok(if rows.is_empty() { Event::End } else { rows.into() })
    }
}
