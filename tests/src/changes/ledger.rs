use std::collections::BTreeMap;

/// What a table holds, in few numbers: written by the workload from what it knows, and by a query from the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableState {
    /// Rows.
    pub rows: u64,
    /// The sum of the keys.
    pub keys: u128,
    /// The sum of the versions, each of which a change has for itself.
    pub versions: u128,
    /// The sum of key times version: which key has which version.
    pub pairs: u128,
    /// The sum of key times the number that the large text was made from.
    pub fillings: u128,
}

impl TableState {
    /// Puts a row in.
    pub fn add(&mut self, id: u64, version: u64, filling: u64) {
        let (id, version, filling) = (u128::from(id), u128::from(version), u128::from(filling));
        self.rows += 1;
        self.keys += id;
        self.versions += version;
        self.pairs += id * version;
        self.fillings += id * filling;
    }

    /// Takes a row out that is in.
    pub fn remove(&mut self, id: u64, version: u64, filling: u64) {
        let (id, version, filling) = (u128::from(id), u128::from(version), u128::from(filling));
        self.rows -= 1;
        self.keys -= id;
        self.versions -= version;
        self.pairs -= id * version;
        self.fillings -= id * filling;
    }

    /// As it stands in the ledger, and as the dialects' queries write it.
    pub fn to_text(self) -> String {
        let Self { rows, keys, versions, pairs, fillings } = self;
        format!("{rows},{keys},{versions},{pairs},{fillings}")
    }
}

/// A row of the ledger: the tables after a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The states of all tables, in the order of the workload's tables.
    pub state: String,
    /// The changes so far, the ledger's own rows included: what a reader has counted that began before the first.
    pub changes: u64,
}

/// The ledger by transaction.
pub type Ledger = BTreeMap<u64, Entry>;

/// The states of several tables as one text.
pub fn join(states: impl IntoIterator<Item = String>) -> String {
    states.into_iter().collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_of_rows_that_went_is_that_of_those_that_never_were() {
        let (mut all, mut some) = (TableState::default(), TableState::default());
        for id in 1..50 {
            all.add(id, id * 7, id % 5);
            some.add(id, id * 7, id % 5);
        }
        all.add(99, 1000, 3);
        assert_ne!(all, some);
        all.remove(99, 1000, 3);
        assert_eq!(all.to_text(), some.to_text());
    }
}
