//! The connection test: access, permissions, and for a destination whether it can be written.

use hub_plugin_api::{CheckReporter, CheckRequest, CheckStep, Error, ErrorKind, Result};
use rusqlite::Connection;

use crate::{
    config::ConnectionConfig,
    database::{self, Interrupt, retry_busy},
    error::map,
    manifest,
    read::{self, Parameters, QueryOptions},
    write::WriteOptions,
};

type Step<'a> = (&'static str, Box<dyn FnOnce() -> Result<String> + 'a>);

/// Runs the steps of a strategy and reports each as it ends; behind a failed one the others are skipped.
pub fn run(
    config: &ConnectionConfig,
    request: &CheckRequest,
    reporter: &CheckReporter,
    interrupt: &Interrupt,
) {
    let steps: Vec<Step<'_>> = if request.strategy == manifest::WRITE {
        vec![
            ("access", Box::new(|| access_for_writing(config, interrupt))),
            ("permissions", Box::new(|| permissions_for_writing(config, request))),
            ("write-probe", Box::new(|| probe(config, interrupt))),
        ]
    } else {
        vec![
            ("access", Box::new(|| access_for_reading(config, interrupt))),
            ("permissions", Box::new(|| permissions_for_reading(config, request, interrupt))),
        ]
    };
    let mut failed_step = None;
    for (name, step) in steps {
        reporter.report(match failed_step {
            Some(failed) => CheckStep::skipped(name, format!("Step `{failed}` failed")),
            None => match step() {
                Ok(message) => CheckStep::passed(name, message),
                Err(error) => {
                    failed_step = Some(name);
                    CheckStep::failed(name, &error)
                }
            },
        });
    }
}

fn tables(connection: &Connection) -> Result<i64> {
    let text = "SELECT count(*) FROM sqlite_schema WHERE type IN ('table', 'view')";
    connection
        .query_row(text, [], |row| row.get(0))
        .map_err(|error| map("The tables could not be counted", error))
}

fn access_for_reading(config: &ConnectionConfig, interrupt: &Interrupt) -> Result<String> {
    let connection = database::open_read(config)?;
    interrupt.watch(&connection);
    let tables = match tables(&connection)? {
        1 => "1 table or view".to_owned(),
        count => format!("{count} tables and views"),
    };
    Ok(format!("`{}` is a database with {tables}", config.file.display()))
}

fn permissions_for_reading(
    config: &ConnectionConfig,
    request: &CheckRequest,
    interrupt: &Interrupt,
) -> Result<String> {
    // Before a user has written the statement there is nothing to try.
    if request.options.text("statement").is_none() && request.options.text("table").is_none() {
        return Ok("The file can be read".into());
    }
    let options = QueryOptions::new(&request.options)?;
    let connection = database::open_read(config)?;
    interrupt.watch(&connection);
    let resolved =
        read::resolve(&connection, options.sql(), &Parameters::of_json(options.parameters.as_ref())?)?;
    read::check_cursor(&options, &resolved)?;
    Ok(match resolved.columns.len() {
        1 => "The statement returns 1 column".to_owned(),
        count => format!("The statement returns {count} columns"),
    })
}

fn access_for_writing(config: &ConnectionConfig, interrupt: &Interrupt) -> Result<String> {
    if config.file.exists() {
        return access_for_reading(config, interrupt);
    }
    let directory = directory(config);
    match directory.is_dir() {
        true => Ok(format!("`{}` is not there yet and will be made", config.file.display())),
        false => {
            Err(Error::new(ErrorKind::NotFound, format!("There is no directory `{}`", directory.display()))
                .with_field("file")
                .with_hint("Make the directory, or give another path"))
        }
    }
}

fn directory(config: &ConnectionConfig) -> std::path::PathBuf {
    let canonical = config.canonical();
    canonical.parent().map_or_else(|| ".".into(), std::path::Path::to_path_buf)
}

fn permissions_for_writing(config: &ConnectionConfig, request: &CheckRequest) -> Result<String> {
    WriteOptions::new(&request.options)?;
    let denied = |what: String| {
        Error::new(ErrorKind::PermissionDenied, what)
            .with_field("file")
            .with_hint("The user that runs the hub must be able to write the file and its directory")
    };
    // SQLite needs the directory too: its journal lies beside the file.
    let probe = directory(config).join(format!(".hub-probe-{}", std::process::id()));
    std::fs::write(&probe, "").and_then(|()| std::fs::remove_file(&probe)).map_err(|error| {
        denied(format!("`{}` cannot be written", directory(config).display())).with_source(&error)
    })?;
    if config.file.metadata().is_ok_and(|metadata| metadata.permissions().readonly()) {
        return Err(denied(format!("`{}` is read-only", config.file.display())));
    }
    Ok("The file and its directory can be written".into())
}

/// Writes and takes it back; a file that is not there yet is not made.
fn probe(config: &ConnectionConfig, interrupt: &Interrupt) -> Result<String> {
    if !config.file.exists() {
        return Ok("There is nothing to lock yet".into());
    }
    let connection = database::open_write(config)?;
    interrupt.watch(&connection);
    let failed = |error| map("The file could not be written", error).with_field("file");
    retry_busy(config.busy_timeout(), interrupt, || connection.execute_batch("BEGIN IMMEDIATE"))
        .map_err(failed)?;
    connection.execute_batch("CREATE TABLE \"__hub_probe\" (a); ROLLBACK").map_err(failed)?;
    Ok("A table was made and taken back".into())
}
