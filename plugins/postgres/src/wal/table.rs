//! A table's columns as they cross the boundary, from the stream's description of it and the catalog.

use hub_plugin_api::{
    Error, ErrorKind, Result, StreamId,
    arrow::datatypes::SchemaRef,
    changes::{change_schema, row_schema},
    types::Column,
};
use tokio_postgres::types::Type;

use super::{
    message::{Relation, RelationColumn},
    options::AsText,
};
use crate::{
    connection::Session,
    error,
    sql::wal,
    types::{Cast, ENGINE, Reading, Wire, reading},
};

/// A table's columns.
#[derive(Clone, Debug)]
pub struct TableShape {
    /// Under which name its rows go.
    pub stream: StreamId,
    /// As the stream describes it.
    pub relation: Relation,
    /// In the relation's order.
    pub columns: Vec<TableColumn>,
    /// The row's columns and the change columns.
    pub changes: SchemaRef,
    /// The row's columns.
    pub row: SchemaRef,
}

/// A column.
#[derive(Clone, Debug)]
pub struct TableColumn {
    /// As it crosses the boundary.
    pub column: Column,
    /// How it is read.
    pub reading: Reading,
    /// Its type on the server.
    pub server_type: Type,
}

impl TableShape {
    /// Looks up what the stream does not say: declared types, NOT NULL, and the order of the key's columns. What the
    /// catalog no longer knows, because the stream is behind it, is left open.
    ///
    /// # Errors
    /// When the server cannot be asked, or a type is gone.
    pub async fn of(session: &Session, relation: Relation, as_text: &AsText) -> Result<Self> {
        let failed = |error| error::from_driver("Could not look up a table's columns", &error);
        let names: Vec<_> = relation.columns.iter().map(|column| column.name.as_str()).collect();
        let oids: Vec<_> = relation.columns.iter().map(|column| column.type_oid).collect();
        let modifiers: Vec<_> = relation.columns.iter().map(|column| column.modifier).collect();
        let by_index = relation.identity == b'i';
        let rows = session
            .work(
                session
                    .client()
                    .query(wal::RELATION_COLUMNS, &[&relation.oid, &by_index, &names, &oids, &modifiers]),
            )
            .await
            .map_err(failed)?;
        let mut declared = Vec::with_capacity(rows.len());
        for row in &rows {
            let place: Option<i32> = row.try_get(3).map_err(failed)?;
            let length: Option<i32> = row.try_get(4).map_err(failed)?;
            declared.push(Declared {
                name: row.try_get(0).map_err(failed)?,
                bare: row.try_get(1).map_err(failed)?,
                not_null: row.try_get(2).map_err(failed)?,
                place: place.and_then(|place| usize::try_from(place).ok()),
                key_length: length.and_then(|length| usize::try_from(length).ok()),
            });
        }
        let types = resolve(session, &relation, &declared).await?;
        Ok(Self::new(relation, declared, types, as_text))
    }

    fn new(relation: Relation, declared: Vec<Declared>, types: Vec<Type>, as_text: &AsText) -> Self {
        let key = key(&relation, &declared);
        let mut columns = Vec::with_capacity(types.len());
        for (place, ((described, declared), server_type)) in
            relation.columns.iter().zip(declared).zip(types).enumerate()
        {
            let reading = match as_text.names(&relation.schema, &relation.name, &described.name) {
                true => Reading::opaque(&server_type),
                false => reading(&server_type, described.modifier, as_text.decimals),
            };
            let mut column =
                Column::new(&described.name, reading.logical.clone()).declared(ENGINE, declared.name);
            column.infinity = reading.has_infinity();
            column.key = key.iter().position(|one| *one == place).and_then(|place| u32::try_from(place).ok());
            column.nullable = !declared.not_null && column.key.is_none();
            columns.push(TableColumn { column, reading, server_type });
        }
        let plain: Vec<_> = columns.iter().map(|column| column.column.clone()).collect();
        let changes = change_schema(&plain);
        Self {
            stream: StreamId::new([relation.schema.as_str()], relation.name.as_str()),
            row: row_schema(&changes),
            relation,
            columns,
            changes,
        }
    }

    /// How each column lies on the wire.
    pub fn wires(&self) -> Vec<Wire> {
        self.columns.iter().map(|column| column.reading.wire.clone()).collect()
    }

    /// Whether the server has to turn some of the values into another form.
    pub fn needs_conversion(&self) -> bool {
        self.columns.iter().any(|column| column.reading.cast != Cast::None)
    }

    /// What differs from an earlier shape, in words.
    pub fn difference(&self, earlier: &Self) -> Option<String> {
        let (old, new) = (&earlier.relation.columns, &self.relation.columns);
        let find = |columns: &[RelationColumn], name: &str| columns.iter().position(|one| one.name == name);
        let mut words = Vec::new();
        let renamed = |place: usize| {
            let (was, is) = (old.get(place)?, new.get(place)?);
            let same = (was.type_oid, was.modifier) == (is.type_oid, is.modifier) && old.len() == new.len();
            (same && find(new, &was.name).is_none() && find(old, &is.name).is_none()).then_some((was, is))
        };
        for (place, column) in new.iter().enumerate() {
            if let Some((was, is)) = renamed(place) {
                words.push(format!("column `{}` is now `{}`", was.name, is.name));
                continue;
            }
            match find(old, &column.name) {
                None => words.push(format!("column `{}` was added", column.name)),
                Some(at) if (old[at].type_oid, old[at].modifier) != (column.type_oid, column.modifier) => {
                    words.push(format!("column `{}` has another type", column.name));
                }
                Some(_) => {}
            }
        }
        for (place, column) in old.iter().enumerate() {
            if find(new, &column.name).is_none() && renamed(place).is_none() {
                words.push(format!("column `{}` was dropped", column.name));
            }
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// What the catalog says of a column.
struct Declared {
    name: String,
    bare: String,
    not_null: bool,
    place: Option<usize>,
    key_length: Option<usize>,
}

/// The columns that identify a row: those of the replica identity; where that is every column, the primary key's.
fn key(relation: &Relation, declared: &[Declared]) -> Vec<usize> {
    let mut key: Vec<usize> = match relation.identity {
        b'd' | b'i' => (0..declared.len()).filter(|place| relation.columns[*place].in_identity).collect(),
        _ => (0..declared.len()).filter(|place| declared[*place].place.is_some()).collect(),
    };
    let whole = key.first().and_then(|place| declared[*place].key_length).unwrap_or(key.len());
    if matches!(relation.identity, b'f' | b'n') && key.len() != whole {
        key.clear();
    }
    key.sort_by_key(|place| (declared[*place].place.unwrap_or(usize::MAX), *place));
    key
}

/// The driver's types: those of the server itself by their OID, all others by a statement that has them.
async fn resolve(session: &Session, relation: &Relation, declared: &[Declared]) -> Result<Vec<Type>> {
    let known: Vec<_> = relation.columns.iter().map(|column| Type::from_oid(column.type_oid)).collect();
    let missing: Vec<_> = (0..known.len()).filter(|place| known[*place].is_none()).collect();
    let mut found = Vec::new();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|place| declared[*place].bare.clone()).collect();
        let statement = session.work(session.client().prepare(&wal::null_of_each(&names))).await;
        let statement = statement.map_err(|error| {
            error::from_driver(
                &format!("Could not look up the types of `{}.{}`", relation.schema, relation.name),
                &error,
            )
            .with_hint(
                "A type that was dropped after the change was made cannot be read: take a new snapshot",
            )
        })?;
        found.extend(statement.columns().iter().map(|column| column.type_().clone()));
    }
    let mut found = found.into_iter();
    let types = known.into_iter().map(|known| known.or_else(|| found.next()));
    types.collect::<Option<Vec<_>>>().ok_or_else(|| {
        Error::new(ErrorKind::Protocol, "The server described fewer columns than were asked for")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(identity: u8, columns: &[(&str, bool, Option<usize>)]) -> TableShape {
        let length = columns.iter().filter(|(_, _, place)| place.is_some()).count();
        let described = columns.iter().map(|(name, in_identity, _)| RelationColumn {
            name: (*name).into(),
            in_identity: *in_identity,
            type_oid: 23,
            modifier: -1,
        });
        let declared = columns.iter().map(|(_, _, place)| Declared {
            name: "integer".into(),
            bare: "integer".into(),
            not_null: false,
            place: *place,
            key_length: (length > 0).then_some(length),
        });
        let relation =
            Relation { oid: 1, schema: "s".into(), name: "t".into(), identity, columns: described.collect() };
        TableShape::new(relation, declared.collect(), vec![Type::INT4; columns.len()], &AsText::default())
    }

    fn key_of(shape: &TableShape) -> Vec<String> {
        hub_plugin_api::types::key_columns(&shape.changes).into_iter().map(String::from).collect()
    }

    #[test]
    fn key_is_the_replica_identity_in_the_order_of_its_index() {
        let of = |identity| {
            let columns = [("a", true, Some(1)), ("b", false, None), ("c", true, Some(0))];
            key_of(&shape(identity, &columns))
        };
        assert_eq!(of(b'd'), ["c", "a"]);
        assert_eq!(of(b'f'), ["c", "a"]);
        // The stream is behind the catalog: the index has other columns by now.
        assert_eq!(key_of(&shape(b'd', &[("a", true, None), ("b", false, None)])), ["a"]);
        assert!(key_of(&shape(b'f', &[("a", true, None), ("b", true, None)])).is_empty());
    }

    #[test]
    fn difference_is_said_in_words() {
        let old = shape(b'd', &[("id", true, Some(0)), ("a", false, None), ("b", false, None)]);
        let renamed = shape(b'd', &[("id", true, Some(0)), ("x", false, None), ("b", false, None)]);
        assert_eq!(renamed.difference(&old).as_deref(), Some("column `a` is now `x`"));
        let other =
            shape(b'd', &[("id", true, Some(0)), ("b", false, None), ("c", false, None), ("d", false, None)]);
        let words = "column `c` was added, column `d` was added, column `a` was dropped";
        assert_eq!(other.difference(&old).as_deref(), Some(words));
        assert_eq!(old.difference(&old), None);
    }
}
