//! The declarations of tables at the place in the log that was read up to, kept with the pipeline.
//!
//! Each change has a number, and positions hold the number of the last one before them: after a restart from an
//! earlier position later changes are forgotten, and are read from the log again.

use hub_plugin_api::{Context, Result};
use serde::{Deserialize, Serialize};

use super::definition::{Definitions, Kind, TableDefinition};

/// What is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    /// The number of the last change that `tables` holds.
    base: u64,
    tables: Definitions,
    /// The changes behind it, in order.
    changes: Vec<Change>,
}

/// A table's new declaration, or that it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Change {
    number: u64,
    database: String,
    table: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    definition: Option<TableDefinition>,
}

/// The declarations as of now, and how they became so.
pub struct History {
    context: Context,
    name: String,
    stored: Stored,
    now: Definitions,
}

impl History {
    /// The blob of a generation of the pipeline.
    fn name(generation: u64) -> String {
        format!("binlog-tables-{generation}")
    }

    /// Stores the declarations that a pipeline starts with.
    ///
    /// # Errors
    /// When the host cannot store them.
    pub fn begin(context: &Context, generation: u64, tables: Definitions) -> Result<()> {
        let stored = Stored { base: 0, tables, changes: Vec::new() };
        context.host().state_put(&Self::name(generation), Some(&serde_json::to_string(&stored)?))
    }

    /// The declarations as of change `number`; what came later is forgotten.
    ///
    /// # Errors
    /// When the host cannot read or store them.
    pub fn open(context: &Context, generation: u64, number: u64) -> Result<Self> {
        let name = Self::name(generation);
        let mut stored = match context.host().state_get(&name)? {
            Some(text) => serde_json::from_str(&text)?,
            None => Stored::default(),
        };
        stored.changes.retain(|change: &Change| change.number <= number);
        let mut now = stored.tables.clone();
        stored.changes.iter().for_each(|change| apply(&mut now, change));
        Ok(Self { context: context.clone(), name, stored, now })
    }

    /// What is known under a name, whatever it is.
    pub fn named(&self, database: &str, table: &str) -> Option<&TableDefinition> {
        self.now.get(database)?.get(table)
    }

    /// A table's declaration.
    pub fn table(&self, database: &str, table: &str) -> Option<&TableDefinition> {
        self.named(database, table).filter(|table| table.kind != Kind::Gone)
    }

    /// The character set of a database's tables that name none.
    pub fn charset_of(&self, database: &str) -> Option<String> {
        self.named(database, "")?.charset.clone()
    }

    /// The tables of a database.
    pub fn tables_of(&self, database: &str) -> Vec<String> {
        let tables = self.now.get(database).into_iter().flatten();
        let there = tables.filter(|(name, table)| !name.is_empty() && table.kind != Kind::Gone);
        there.map(|(name, _)| name.clone()).collect()
    }

    /// Takes changes of declarations, of which the last gets `number`; durable on return.
    ///
    /// # Errors
    /// When the host cannot store them.
    pub fn change(
        &mut self,
        number: u64,
        changes: Vec<(String, String, Option<TableDefinition>)>,
    ) -> Result<()> {
        for (database, table, definition) in changes {
            let change = Change { number, database, table, definition };
            apply(&mut self.now, &change);
            self.stored.changes.push(change);
        }
        self.store()
    }

    /// Positions before change `number` will not be asked for again.
    ///
    /// # Errors
    /// When the host cannot store that.
    pub fn forget_before(&mut self, number: u64) -> Result<()> {
        if self.stored.changes.first().is_none_or(|change| change.number > number) {
            return Ok(());
        }
        let Stored { base, tables, changes } = &mut self.stored;
        for change in changes.extract_if(.., |change| change.number <= number) {
            *base = change.number;
            apply(tables, &change);
        }
        self.store()
    }

    fn store(&self) -> Result<()> {
        self.context.host().state_put(&self.name, Some(&serde_json::to_string(&self.stored)?))
    }
}

fn apply(tables: &mut Definitions, change: &Change) {
    let of_database = tables.entry(change.database.clone()).or_default();
    match &change.definition {
        Some(definition) => drop(of_database.insert(change.table.clone(), definition.clone())),
        None => drop(of_database.remove(&change.table)),
    }
}
