use hub_plugin_api::{ConnectorSpec, Error, Guarantee, Parameter, Result, Strategy};

use crate::config;

/// Id of By Query.
pub const QUERY: &str = "query";
/// Id of By Write Operation.
pub const WRITE: &str = "write";

/// What the connector declares.
pub fn spec() -> ConnectorSpec {
    ConnectorSpec::new("sqlite", "SQLite")
        .answers_queries()
        .parameter(
            Parameter::file("file", "Database File")
                .required()
                .describe("Path of the database file; a destination makes it when it is not there"),
        )
        .parameter(
            Parameter::number("busy_timeout_ms", "Busy Timeout")
                .default(config::BUSY_TIMEOUT_MS)
                .range(0, 3_600_000)
                .advanced()
                .describe("Milliseconds to wait for another connection's lock"),
        )
        .parameter(
            Parameter::number("cache_kib", "Page Cache")
                .default(config::CACHE_KIB)
                .range(64, 4_194_304)
                .advanced()
                .describe("KiB of pages that each reader and writer keeps"),
        )
        .parameter(
            Parameter::dropdown(
                "journal_mode",
                "Journal Mode",
                &[("wal", "Write-ahead log"), ("delete", "Rollback journal")],
            )
            .default(config::JOURNAL_MODE)
            .advanced()
            .describe("Journal of a file that a destination makes; a file that is there keeps its own"),
        )
        .strategy(query())
        .strategy(write())
}

fn query() -> Strategy {
    Strategy::source(QUERY, "By Query")
        .describe("Rows of a SELECT; with a cursor only those behind the last run's")
        .guarantee(Guarantee::AtLeastOnce)
        .option(Parameter::multiline("statement", "Statement").describe("Any SELECT"))
        .option(
            Parameter::text("table", "Table")
                .describe("All rows of a table or view, in place of a statement"),
        )
        .option(
            Parameter::structured("parameters", "Parameters")
                .advanced()
                .describe("Values of the statement's parameters: a list for `?`, an object for `:name`"),
        )
        .option(Parameter::list("cursor", "Cursor").describe(
            "Columns whose tuple is unique, NOT NULL and grows: the next run goes on behind the last one",
        ))
        .option(
            Parameter::dropdown(
                "cursor_ties",
                "Cursor Ties",
                &[
                    ("refuse", "Stop at rows with the same cursor or NULL"),
                    ("reread", "Read them again: needs a destination in mode upsert"),
                ],
            )
            .default("refuse")
            .advanced()
            .describe("What happens to rows whose cursor is not unique or is NULL"),
        )
        .option(
            Parameter::number("splits", "Splits")
                .range(1, 1024)
                .advanced()
                .describe("Ranges of the cursor's first column that are read at the same time"),
        )
        .option(
            Parameter::text("stream", "Stream").advanced().describe(
                "Name of the stream that the rows are handed over as; the table's when there is one",
            ),
        )
}

fn write() -> Strategy {
    Strategy::destination(WRITE, "By Write Operation")
        .describe("Rows and the commit token in one transaction")
        .guarantee(Guarantee::EffectivelyOnce)
        .option(
            Parameter::dropdown("mode", "Mode", &[
                ("append", "Append"),
                ("upsert", "Upsert"),
                ("replace", "Replace"),
                ("apply-changes", "Apply changes"),
            ])
            .default("append")
            .describe("What happens to rows at the destination"),
        )
        .option(Parameter::text("table", "Table").describe("The table; the stream's name when there is none"))
        .option(
            Parameter::boolean("create_table", "Create Table")
                .default(true)
                .describe("Makes the table when it is not there"),
        )
        .option(Parameter::list("key", "Key").describe("Columns that say which row it is; the stream's own key when empty"))
        .option(
            Parameter::dropdown("schema_growth", "Schema Growth", &[
                ("evolve", "Add columns that the table lacks"),
                ("ignore", "Leave them out"),
                ("fail", "Stop"),
            ])
            .default("evolve")
            .advanced()
            .describe("What happens to columns that the table lacks"),
        )
        .option(Parameter::structured("statements", "Statements").advanced().describe(
            "Statements in place of the mode's own: a list of {on: insert | update | delete | snapshot, statement}, \
             where {{column}} is a bound value",
        ))
}

/// Fails unless a strategy is the one that a call is for.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::InvalidConfig`].
pub fn expect(strategy: &str, expected: &str) -> Result<()> {
    match strategy == expected {
        true => Ok(()),
        false => Err(Error::config("strategy", format!("Strategy `{strategy}` is not `{expected}`"))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn manifest_does_not_contradict_itself() {
        super::spec().check().unwrap();
    }
}
