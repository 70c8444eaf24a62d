//! Which tables are captured.

use hub_plugin_api::{Error, ErrorKind, Result};

use super::{
    message::{Relation, RelationColumn},
    options::WalOptions,
    pattern::TablePattern,
};
use crate::{
    connection::Session,
    error,
    sql::wal::{self, Table},
};

/// A table to capture.
#[derive(Clone, Debug)]
pub struct Captured {
    /// Schema and name.
    pub table: Table,
    /// Its OID.
    pub oid: u32,
    /// The server's estimate.
    pub estimated_rows: Option<u64>,
    /// Updates and deletes can be sent.
    pub has_identity: bool,
    /// OIDs of the tables whose rows must be there before this one's, as foreign keys say.
    pub after: Vec<u32>,
}

/// The tables among those that can be captured, or that a publication has, which the options name.
///
/// # Errors
/// [`ErrorKind::NotFound`] for a name without a table, [`ErrorKind::InvalidConfig`] when none is left.
pub async fn select(session: &Session, options: &WalOptions, own: bool) -> Result<Vec<Captured>> {
    let failed = |error| error::from_driver("Could not list the tables", &error);
    let parse = |field: &str, patterns: &[String]| {
        patterns.iter().map(|text| TablePattern::parse(field, text)).collect::<Result<Vec<_>>>()
    };
    let (wanted, unwanted) = (parse("tables", &options.tables)?, parse("exclude", &options.exclude)?);
    let client = session.client();
    let rows = match &options.publication {
        Some(publication) if !own => session.work(client.query(wal::PUBLISHED, &[publication])).await,
        _ => session.work(client.query(wal::CAPTURABLE, &[])).await,
    };
    let mut found: Vec<Table> = Vec::new();
    for row in &rows.map_err(failed)? {
        found.push((row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?));
    }
    for (pattern, text) in wanted.iter().zip(&options.tables) {
        if pattern.is_exact() && !found.iter().any(|(schema, name)| pattern.matches(schema, name)) {
            return Err(match &options.publication {
                Some(publication) if !own => lacks(publication, text),
                _ => Error::new(ErrorKind::NotFound, format!("There is no table `{text}` to capture"))
                    .with_field("tables")
                    .with_hint("Views, temporary and unlogged tables leave no changes in the WAL"),
            });
        }
    }
    let any = |patterns: &[TablePattern], (schema, name): &Table| {
        patterns.iter().any(|pattern| pattern.matches(schema, name))
    };
    found.retain(|table| (wanted.is_empty() || any(&wanted, table)) && !any(&unwanted, table));
    if found.is_empty() {
        return Err(Error::config("tables", "There is no table to capture"));
    }
    let mut captured = Vec::with_capacity(found.len());
    for table in found {
        captured.push(look_up(session, table).await?);
    }
    let mut references: Vec<(u32, u32)> = Vec::new();
    for row in &session.work(client.query(wal::REFERENCES, &[])).await.map_err(failed)? {
        references.push((row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?));
    }
    Ok(in_order(captured, &references))
}

/// Tables in an order in which each comes after those that it refers to. Where they refer to each other in a circle,
/// one of them comes first.
fn in_order(mut left: Vec<Captured>, references: &[(u32, u32)]) -> Vec<Captured> {
    let mut ordered: Vec<Captured> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waits = |one: &Captured| {
            references.iter().any(|(from, to)| *from == one.oid && left.iter().any(|other| other.oid == *to))
        };
        let next = left.iter().position(|one| !waits(one)).unwrap_or(0);
        let mut next = left.remove(next);
        let refers = |to: u32| references.iter().any(|(from, other)| *from == next.oid && *other == to);
        next.after = ordered.iter().map(|one| one.oid).filter(|oid| refers(*oid)).collect();
        ordered.push(next);
    }
    ordered
}

/// The error of a publication without a table.
pub fn lacks(publication: &str, table: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("Publication `{publication}` does not have table `{table}`"))
        .with_field("tables")
        .with_hint(format!(
            "Add it with `ALTER PUBLICATION {} ADD TABLE …`; changes since it was taken out are missing, so read it \
             again",
            crate::sql::identifier(publication)
        ))
}

async fn look_up(session: &Session, table: Table) -> Result<Captured> {
    let failed = |error| error::from_driver("Could not look a table up", &error);
    let row = session.work(session.client().query_one(wal::TABLE, &[&table.0, &table.1])).await;
    let row = row.map_err(failed)?;
    let rows: i64 = row.try_get(2).map_err(failed)?;
    Ok(Captured {
        oid: row.try_get(0).map_err(failed)?,
        estimated_rows: u64::try_from(rows).ok(),
        has_identity: row.try_get(3).map_err(failed)?,
        after: Vec::new(),
        table,
    })
}

/// Fails when a table would refuse updates and deletes once it is published, or they could not be sent.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] with the statement that helps.
pub fn check_identities(tables: &[Captured]) -> Result<()> {
    let Some(first) = tables.iter().find(|table| !table.has_identity) else { return Ok(()) };
    let (schema, name) = &first.table;
    let message = format!(
        "Table `{schema}.{name}` has no replica identity: the server would refuse every update and delete of it"
    );
    Err(Error::config("tables", message).with_hint(format!(
        "Give it a primary key, or run `{}`; or leave it out with `exclude`",
        wal::identity_full(&first.table)
    )))
}

/// A table as the stream will describe it, and the rows that are sent of it; with the columns that are not.
pub struct Published {
    /// The columns that are sent.
    pub relation: Relation,
    /// The condition of the rows that are sent.
    pub filter: Option<String>,
    /// The columns that the server computes, and does not send.
    pub generated: Vec<String>,
    /// Its rows are those of its partitions.
    pub is_partitioned: bool,
}

/// Looks up what a publication sends of a table; without one, everything.
///
/// # Errors
/// When the server cannot be asked, or the table is gone.
pub async fn published(
    session: &Session,
    publication: Option<&str>,
    table: &Table,
    version: u32,
) -> Result<Published> {
    let failed = |error| error::from_driver("Could not look a table's columns up", &error);
    let client = session.client();
    let row = session.work(client.query_opt(wal::TABLE, &[&table.0, &table.1])).await.map_err(failed)?;
    let Some(row) = row else {
        let message = format!("Table `{}.{}` does not exist any more", table.0, table.1);
        return Err(Error::new(ErrorKind::NotFound, message).with_field("tables"));
    };
    let oid: u32 = row.try_get(0).map_err(failed)?;
    let identity: String = row.try_get(1).map_err(failed)?;
    let is_partitioned: bool = row.try_get(4).map_err(failed)?;
    let (mut only, mut filter) = (None, None);
    if let (Some(publication), true) = (publication, version >= 150_000) {
        let part = session
            .work(client.query_opt(wal::PUBLISHED_PART, &[&publication, &table.0, &table.1]))
            .await
            .map_err(failed)?;
        let Some(part) = part else {
            return Err(lacks(publication, &format!("{}.{}", table.0, table.1)));
        };
        only = part.try_get::<_, Option<Vec<String>>>(0).map_err(failed)?;
        filter = part.try_get::<_, Option<String>>(1).map_err(failed)?;
    }
    let (mut columns, mut generated) = (Vec::new(), Vec::new());
    for row in session.work(client.query(wal::TABLE_COLUMNS, &[&oid])).await.map_err(failed)? {
        let name: String = row.try_get(0).map_err(failed)?;
        let computed: bool = row.try_get(3).map_err(failed)?;
        // Before version 18 the view names columns that are never sent.
        let may_be_sent = !computed || version >= 180_000;
        let sent = only.as_ref().map_or(!computed, |only| only.contains(&name)) && may_be_sent;
        if !sent {
            if computed {
                generated.push(name);
            }
            continue;
        }
        columns.push(RelationColumn {
            name,
            type_oid: row.try_get(1).map_err(failed)?,
            modifier: row.try_get(2).map_err(failed)?,
            in_identity: identity == "f" || row.try_get(4).map_err(failed)?,
        });
    }
    let relation = Relation {
        oid,
        schema: table.0.clone(),
        name: table.1.clone(),
        identity: identity.bytes().next().unwrap_or(b'd'),
        columns,
    };
    Ok(Published { relation, filter, generated, is_partitioned })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_after_those_that_they_refer_to_also_in_circles() {
        let table = |oid: u32| Captured {
            table: ("s".into(), oid.to_string()),
            oid,
            estimated_rows: None,
            has_identity: true,
            after: Vec::new(),
        };
        let order = |references: &[(u32, u32)]| {
            let ordered = in_order(vec![table(1), table(2), table(3)], references);
            ordered.into_iter().map(|one| (one.oid, one.after)).collect::<Vec<_>>()
        };
        assert_eq!(order(&[(1, 2), (2, 3)]), [(3, vec![]), (2, vec![3]), (1, vec![2])]);
        assert_eq!(order(&[(1, 2), (2, 1), (3, 9)]), [(3, vec![]), (1, vec![]), (2, vec![1])]);
    }
}
