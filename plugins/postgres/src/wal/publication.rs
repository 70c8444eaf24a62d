//! Publications: made, looked at, taken away.

use std::collections::BTreeSet;

use hub_plugin_api::{Error, ErrorKind, Result};

use super::{
    facts::Facts,
    tables::{self, Captured},
};
use crate::{
    connection::Session,
    error,
    sql::wal::{self, Table},
};

/// Makes the pipeline's publication anew.
///
/// # Errors
/// When the role does not own the tables, or the server is a standby.
pub async fn make(session: &Session, facts: &Facts, name: &str, tables: &[Table]) -> Result<()> {
    let create = wal::create_publication(name, tables);
    check_writable(facts, &create)?;
    let statements = format!("BEGIN; {}; {create}; COMMIT", wal::drop_publication(name));
    change(session, name, &statements, &create).await
}

/// Adds tables to the pipeline's publication.
///
/// # Errors
/// As [`make`].
pub async fn add(session: &Session, facts: &Facts, name: &str, tables: &[Table]) -> Result<()> {
    let published = published(session, name).await?;
    let missing: Vec<_> = tables.iter().filter(|table| !published.contains(*table)).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let statement = wal::add_to_publication(name, &missing);
    check_writable(facts, &statement)?;
    change(session, name, &statement, &statement).await
}

async fn change(session: &Session, name: &str, statements: &str, fix: &str) -> Result<()> {
    let changed = session.run(statements, &format!("Could not make the publication `{name}`")).await;
    let Err(error) = changed else { return Ok(()) };
    // The transaction has failed; the error that it failed with is the one that tells.
    drop(session.run("ROLLBACK", "Could not end the transaction").await);
    Err(match error.kind {
        ErrorKind::PermissionDenied => error.with_field("publication").with_hint(format!(
            "Let an owner of the tables, who may CREATE in the database, run `{fix}`, and name the publication in \
             `publication`"
        )),
        _ => error,
    })
}

fn check_writable(facts: &Facts, statement: &str) -> Result<()> {
    if !facts.is_standby {
        return Ok(());
    }
    Err(Error::config("publication", "A standby takes no publication: it comes from the primary")
        .with_hint(format!("Run `{statement}` on the primary, and name the publication in `publication`")))
}

async fn published(session: &Session, name: &str) -> Result<BTreeSet<Table>> {
    let failed = |error| error::from_driver("Could not look at the publication", &error);
    let rows = session.work(session.client().query(wal::PUBLISHED, &[&name])).await.map_err(failed)?;
    rows.iter().map(|row| Ok((row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?))).collect()
}

/// Whether a publication sends updates or deletes.
///
/// # Errors
/// [`ErrorKind::NotFound`] when it does not exist.
pub async fn find(session: &Session, name: &str) -> Result<bool> {
    let failed = |error| error::from_driver("Could not look at the publication", &error);
    let row = session.work(session.client().query_opt(wal::PUBLICATION, &[&name])).await.map_err(failed)?;
    let Some(row) = row else {
        return Err(Error::new(ErrorKind::NotFound, format!("Publication `{name}` does not exist"))
            .with_field("publication")
            .with_hint(
                "Make it with `CREATE PUBLICATION … FOR TABLE … WITH (publish_via_partition_root = true)`, or leave \
                 `publication` out to have one made; what was changed while it was gone is missing, so read everything \
                 again with `--from-scratch`",
            ));
    };
    let (updates, deletes): (bool, bool) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
    Ok(updates || deletes)
}

/// Fails unless a publication sends everything of these tables.
///
/// # Errors
/// [`ErrorKind::NotFound`] when it is gone or lacks a table, [`ErrorKind::InvalidConfig`] when the server would refuse
/// changes of one.
pub async fn check(session: &Session, name: &str, captured: &[Captured]) -> Result<()> {
    if find(session, name).await? {
        tables::check_identities(captured)?;
    }
    let published = published(session, name).await?;
    match captured.iter().find(|one| !published.contains(&one.table)) {
        Some(one) => Err(tables::lacks(name, &format!("{}.{}", one.table.0, one.table.1))),
        None => Ok(()),
    }
}
