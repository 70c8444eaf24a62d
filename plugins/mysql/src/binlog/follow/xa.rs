//! XA transactions: the log holds their rows where they are prepared, and later a word about what became of them.
//!
//! Rows of a prepared transaction are passed over, and its place is kept with the position. When it is committed its rows
//! are read from that place once more, as those of the transaction that commits them: nothing has to be held in
//! memory, and a transaction that is taken back leaves no trace. On MySQL one that is committed in a single step is
//! known for one only at its end, and goes the same way.

use std::collections::BTreeMap;

use hub_plugin_api::Result;
use serde::{Deserialize, Serialize};

use super::{Follower, Head, is_rows};
use crate::binlog::{
    cursor::{Cursor, malformed},
    event::{self, Gtid, code},
    position::Place,
};

/// Where the rows of a transaction lie that is prepared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// The server whose file it is.
    server: String,
    /// The file of the log; none for a transaction without rows of followed tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// A byte at or before the event that begins it.
    offset: u64,
    /// Its id, where the server counts transactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gtid: Option<String>,
}

/// Transactions that are prepared, by the name that statements call them: `x'6162',x'',1`.
pub type PreparedXa = BTreeMap<String, Prepared>;

/// Where rows are needed from.
pub enum Needed {
    /// From a byte of a file of this server's.
    At { file: String, offset: u64 },
    /// From where the transaction of this name was prepared, before a place.
    Named { name: String, before: Place },
}

/// A prepared transaction whose rows are read, and the event that committed it.
pub(super) struct Settling {
    /// Where it was prepared, if that is known.
    prepared: Option<Prepared>,
    name: String,
    committed: Head,
    /// Whether the stream of its rows has come to it.
    found: bool,
}

impl Follower {
    /// A transaction is prepared, or committed in one step.
    pub(super) fn xa_prepare(&mut self, head: Head, body: &[u8]) -> Result<()> {
        let (one_phase, name) = xa_name(body)?;
        let open = self.open(head);
        let (has_rows, gtid) = (open.has_prepared_rows, open.gtid.as_ref().and_then(Gtid::id_text));
        let prepared = Prepared {
            server: self.position.server.clone(),
            file: has_rows.then(|| self.position.file.clone()),
            offset: self.position.offset,
            gtid,
        };
        if one_phase {
            return self.settle(head, name, Some(prepared));
        }
        self.position.prepared.insert(name, prepared);
        self.end(head)
    }

    /// A prepared transaction is committed.
    pub(super) fn xa_commit(&mut self, head: Head, name: String) -> Result<()> {
        let prepared = self.position.prepared.remove(&name);
        self.settle(head, name, prepared)
    }

    /// A prepared transaction is taken back.
    pub(super) fn xa_rollback(&mut self, head: Head, name: &str) -> Result<()> {
        self.position.prepared.remove(name);
        self.end(head)
    }

    fn settle(&mut self, committed: Head, name: String, prepared: Option<Prepared>) -> Result<()> {
        if prepared.as_ref().is_some_and(|prepared| prepared.file.is_none()) {
            return self.end(committed);
        }
        // A place on another server says nothing on this one.
        let prepared = prepared.filter(|prepared| prepared.server == self.position.server);
        self.by_id.clear();
        self.settling = Some(Settling { prepared, name, committed, found: false });
        Ok(())
    }

    /// Where rows are needed from before the stream goes on.
    pub fn needs(&self) -> Option<Needed> {
        let settling = self.settling.as_ref()?;
        Some(match &settling.prepared {
            Some(Prepared { file: Some(file), offset, .. }) => {
                Needed::At { file: file.clone(), offset: *offset }
            }
            _ => Needed::Named { name: settling.name.clone(), before: self.position.place() },
        })
    }

    /// Whether rows are to be read from an earlier place before the stream goes on.
    pub fn is_settling(&self) -> bool {
        self.settling.is_some()
    }

    /// Takes one event from that place; `true` when all rows came, and the stream goes on.
    ///
    /// # Errors
    /// As [`Follower::apply`].
    pub fn apply_settled(&mut self, head: Head, body: &[u8]) -> Result<bool> {
        let Some(settling) = &mut self.settling else { return Ok(true) };
        match head.code {
            of if event::is_gtid(of) => {
                if settling.found {
                    return Err(malformed("A prepared transaction of the binary log does not end"));
                }
                let id = Gtid::parse(head, body)?.id_text();
                let wanted = settling.prepared.as_ref().and_then(|prepared| prepared.gtid.as_ref());
                settling.found = wanted.is_none() || id.as_ref() == wanted;
            }
            _ if !settling.found => {}
            code::TABLE_MAP => self.table_map(body)?,
            of if is_rows(of) => self.rows(of, body)?,
            code::TRANSACTION_PAYLOAD => {
                let mut done = false;
                event::each_of_payload(body, |event| {
                    let (head, body) = event::split(event)?;
                    done |= self.apply_settled(head, body)?;
                    Ok(())
                })?;
                return Ok(done);
            }
            code::XA_PREPARE => {
                let committed = settling.committed;
                self.settling = None;
                self.by_id.clear();
                self.end(committed)?;
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }
}

/// Whether a transaction is committed in one step, and what statements call it.
///
/// # Errors
/// For an event that is not as documented.
pub fn xa_name(body: &[u8]) -> Result<(bool, String)> {
    let mut cursor = Cursor(body);
    let one_phase = cursor.u8()? != 0;
    let format = cursor.u32()? as i32;
    let (global, branch) = (cursor.u32()? as usize, cursor.u32()? as usize);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (global, branch) = (hex(cursor.take(global)?), hex(cursor.take(branch)?));
    Ok((one_phase, format!("x'{global}',x'{branch}',{format}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepared_transaction_is_called_as_in_statements() {
        let body = [&[0, 7, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0][..], b"a\xffbq"].concat();
        assert_eq!(xa_name(&body).unwrap(), (false, "x'61ff62',x'71',7".to_owned()));
        assert_eq!(
            xa_name(&[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap(),
            (true, "x'',x'',1".to_owned())
        );
        assert!(xa_name(&body[..15]).is_err());
    }
}
