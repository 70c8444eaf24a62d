//! The rows of an XA transaction, read where it was prepared while the stream stands at its commit.

use std::time::Duration;

use hub_plugin_api::{Error, Result};
use tokio::{task::JoinHandle, time};

use super::{
    event::{self, code},
    follow::{Follower, Needed, xa_name},
    log::{Log, LogAccess},
    position::Place,
    server::{LogServer, lost},
};

/// Reads prepared transactions.
pub struct PreparedReader {
    access: LogAccess,
    state: State,
}

enum State {
    /// Nothing is read.
    None,
    /// The log is searched for where the transaction was prepared.
    Finding(Finding),
    /// Its rows come.
    Reading(Box<Log>),
}

/// A search on its way; given up with its owner.
struct Finding(JoinHandle<Result<(String, u64)>>);

impl Drop for Finding {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PreparedReader {
    /// Nothing is read yet.
    pub fn new(access: LogAccess) -> Self {
        Self { access, state: State::None }
    }

    /// Gives the follower rows that it needs; `false` when none came in time.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::PositionLost`] when the log does not hold them any more.
    pub async fn read(&mut self, follower: &mut Follower, max_wait: Duration) -> Result<bool> {
        let deadline = time::Instant::now() + max_wait;
        match &mut self.state {
            State::None => {
                self.state = match follower.needs() {
                    None => return Ok(true),
                    Some(Needed::At { file, offset }) => {
                        State::Reading(Box::new(self.access.open(&file, offset).await?))
                    }
                    // Prepared before the stream began, or on another server.
                    Some(Needed::Named { name, before }) => {
                        let access = self.access.clone();
                        State::Finding(Finding(tokio::spawn(async move {
                            access.find_prepared(&name, &before).await
                        })))
                    }
                };
                Ok(true)
            }
            State::Finding(Finding(task)) => {
                let Ok(found) = time::timeout_at(deadline, task).await else { return Ok(false) };
                let found = found.map_err(|_| Error::internal("The task that searches the log ended"))?;
                let (file, offset) = found?;
                self.state = State::Reading(Box::new(self.access.open(&file, offset).await?));
                Ok(true)
            }
            State::Reading(log) => {
                while let Ok(seen) = time::timeout_at(deadline, log.next()).await {
                    let seen = seen?.ok_or_else(|| gone("that is committed"))?;
                    if follower.apply_settled(seen.head, &seen.body)? {
                        self.state = State::None;
                        return Ok(true);
                    }
                    if follower.is_ready() {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

impl LogAccess {
    /// Where the last transaction of this name was prepared that stands before a place: file and byte.
    async fn find_prepared(&self, name: &str, before: &Place) -> Result<(String, u64)> {
        let mut server = LogServer::open(&self.settings, &self.context).await?;
        let mut files = server.files().await?;
        while let Some(file) = files.pop() {
            if Place::new(&file, 0) > *before {
                continue;
            }
            let mut log = self.open(&file, 4).await?;
            let (mut begun, mut found) = (4, None);
            while let Some(seen) = log.next().await? {
                match seen.head.code {
                    // The next file begins.
                    code::ROTATE if event::place(seen.head, &seen.body)?.0 != file => break,
                    _ if seen.head.next != 0 && Place::new(&file, seen.offset()) >= *before => break,
                    of if event::is_gtid(of) => {
                        begun = seen.offset();
                    }
                    // One that was committed in the same step is another.
                    code::XA_PREPARE if xa_name(&seen.body)? == (false, name.to_owned()) => {
                        found = Some(begun)
                    }
                    _ => {}
                }
            }
            if let Some(offset) = found {
                return Ok((file, offset));
            }
        }
        Err(gone(&format!("`{name}`")))
    }
}

fn gone(which: &str) -> Error {
    lost(format!(
        "The log does not hold the rows of XA transaction {which} any more, which was prepared long before"
    ))
}
