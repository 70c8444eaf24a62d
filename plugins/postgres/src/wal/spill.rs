//! Large transactions that come in parts before they are committed, in files of the host's.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::PathBuf,
};

use hub_plugin_api::{Context, Error, ErrorKind, Result, Spill};

/// Bytes that wait in memory for a file.
const BUFFER: usize = 256 << 10;

/// Transactions that are still open, each in a file of its own.
pub struct Spills {
    context: Context,
    place: Option<Spill>,
    open: HashMap<u32, Transaction>,
    bytes: u64,
    files: u64,
}

struct Transaction {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    /// Parts that were taken back.
    aborted: HashSet<u32>,
}

impl Spills {
    /// Nothing is made before it is needed.
    pub fn new(context: &Context) -> Self {
        Self { context: context.clone(), place: None, open: HashMap::new(), bytes: 0, files: 0 }
    }

    /// Keeps a message of an open transaction; `part` is the subtransaction that it belongs to.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceExhausted`] when there is no more room.
    pub fn keep(&mut self, xid: u32, part: u32, message: &[u8]) -> Result<()> {
        let place = match &self.place {
            Some(place) => place,
            None => self.place.insert(self.context.host().spill()?),
        };
        if self.bytes > place.quota_bytes {
            let message = format!(
                "Open transactions of the source need more than the `{}` bytes that may be spilled",
                place.quota_bytes
            );
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
        let transaction = match self.open.entry(xid) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                self.files += 1;
                let path = place.directory.join(format!("transaction-{}", self.files));
                let file = File::create_new(&path).map_err(|error| failed(&path, &error))?;
                entry.insert(Transaction {
                    file: BufWriter::with_capacity(BUFFER, file),
                    path,
                    bytes: 0,
                    aborted: HashSet::new(),
                })
            }
        };
        let length = u32::try_from(message.len()).map_err(|_| Error::internal("A message is too long"))?;
        let write = |file: &mut BufWriter<File>| {
            file.write_all(&part.to_le_bytes())?;
            file.write_all(&length.to_le_bytes())?;
            file.write_all(message)
        };
        write(&mut transaction.file).map_err(|error| failed(&transaction.path, &error))?;
        transaction.bytes += 8 + u64::from(length);
        self.bytes += 8 + u64::from(length);
        Ok(())
    }

    /// Takes a part of a transaction back, or the whole of it.
    pub fn abort(&mut self, xid: u32, part: u32) {
        if xid == part {
            if let Some(transaction) = self.open.remove(&xid) {
                self.bytes -= transaction.bytes;
                // The directory goes with the run; a file that stays until then does no harm.
                drop(std::fs::remove_file(&transaction.path));
            }
        } else if let Some(transaction) = self.open.get_mut(&xid) {
            transaction.aborted.insert(part);
        }
    }

    /// A transaction's messages, now that it is committed; none when nothing of it was sent.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn commit(&mut self, xid: u32) -> Result<Option<Replay>> {
        let Some(mut transaction) = self.open.remove(&xid) else { return Ok(None) };
        self.bytes -= transaction.bytes;
        let path = transaction.path;
        transaction.file.flush().map_err(|error| failed(&path, &error))?;
        let file = File::open(&path).map_err(|error| failed(&path, &error))?;
        Ok(Some(Replay {
            file: BufReader::with_capacity(BUFFER, file),
            left: transaction.bytes,
            path,
            aborted: transaction.aborted,
            message: Vec::new(),
        }))
    }
}

/// The messages of a committed transaction, in order.
pub struct Replay {
    path: PathBuf,
    file: BufReader<File>,
    left: u64,
    aborted: HashSet<u32>,
    message: Vec<u8>,
}

impl Replay {
    /// The next message that was not taken back.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            let (mut part, mut length) = ([0; 4], [0; 4]);
            let mut read = || {
                self.file.read_exact(&mut part)?;
                self.file.read_exact(&mut length)?;
                self.message.resize(u32::from_le_bytes(length) as usize, 0);
                self.file.read_exact(&mut self.message)
            };
            read().map_err(|error| failed(&self.path, &error))?;
            self.left -= 8 + self.message.len() as u64;
            if !self.aborted.contains(&u32::from_le_bytes(part)) {
                return Ok(Some(&self.message));
            }
        }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        // As above.
        drop(std::fs::remove_file(&self.path));
    }
}

fn failed(path: &std::path::Path, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::ResourceExhausted, "A large transaction could not be kept in a file")
        .with_context("file", path.display())
        .with_source(error)
        .with_hint("Make room on the disk that the hub's data lies on")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hub_plugin_api::testing::TestContext;

    use super::*;

    fn all(mut replay: Replay) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while let Some(message) = replay.next().unwrap() {
            messages.push(message.to_vec());
        }
        messages
    }

    #[test]
    fn transactions_come_back_in_order_without_what_was_taken_back() {
        let mut spills = Spills::new(&Arc::new(TestContext::new()).context());
        for number in 0..1000_u32 {
            spills.keep(7, 7 + number % 3, &number.to_be_bytes()).unwrap();
            spills.keep(9, 9, b"gone").unwrap();
        }
        spills.abort(7, 8);
        spills.abort(9, 9);
        let messages = all(spills.commit(7).unwrap().unwrap());
        let expected: Vec<_> = (0..1000_u32)
            .filter(|number| number % 3 != 1)
            .map(|number| number.to_be_bytes().to_vec())
            .collect();
        assert_eq!(messages, expected);
        assert!(spills.commit(9).unwrap().is_none());
        assert_eq!(spills.bytes, 0);
        let directory = spills.place.unwrap().directory;
        assert_eq!(std::fs::read_dir(directory).unwrap().count(), 0, "files go with their transactions");
    }
}
