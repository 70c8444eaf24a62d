//! Sessions that see one state of the database throughout.

use hub_plugin_api::{Context, Error, ErrorKind, Result};

use super::prepare::ServerInfo;
use crate::{
    config::Settings,
    connection::Session,
    raw::{RawMode, RawSession},
    sql::read::begin_snapshot,
};

const STARTING: &str = "Could not start reading";

/// Opens a session of its own that sees the state of now.
///
/// # Errors
/// When the session cannot be opened.
pub async fn open_now(settings: &Settings, context: &Context, lock_timeout_ms: u64) -> Result<Session> {
    let session = Session::open(settings, context).await?;
    let version = ServerInfo::of(&session).await?.version;
    session.run(&begin_snapshot(None, lock_timeout_ms, version), STARTING).await?;
    Ok(session)
}

/// What the sessions of a plan's readers have in common.
#[derive(Clone, Debug)]
pub struct ReaderSessions {
    /// The exported state; without one each session sees the state of when it was opened.
    pub snapshot: Option<String>,
    /// Milliseconds that a lock is waited for.
    pub lock_timeout_ms: u64,
    /// The server's version, as `server_version_num` has it.
    pub version: u32,
}

impl ReaderSessions {
    /// Opens one to copy rows out of.
    ///
    /// # Errors
    /// When the session cannot be opened, or [`ErrorKind::SnapshotLost`] when the snapshot is gone.
    pub async fn open_raw(&self, settings: &Settings, context: &Context) -> Result<RawSession> {
        let mut session = RawSession::open(settings, context, RawMode::Query).await?;
        session.run(&self.begin(), STARTING).await.map_err(|error| self.lost(error))?;
        Ok(session)
    }

    /// Opens one of the driver's.
    ///
    /// # Errors
    /// As [`ReaderSessions::open_raw`].
    pub async fn open(&self, settings: &Settings, context: &Context) -> Result<Session> {
        let session = Session::open(settings, context).await?;
        session.run(&self.begin(), STARTING).await.map_err(|error| self.lost(error))?;
        Ok(session)
    }

    fn begin(&self) -> String {
        begin_snapshot(self.snapshot.as_deref(), self.lock_timeout_ms, self.version)
    }

    fn lost(&self, error: Error) -> Error {
        // An unknown snapshot, or one whose session has ended.
        if self.snapshot.is_some() && matches!(error.code.as_deref(), Some("22023" | "42704" | "55000")) {
            return Error {
                kind: ErrorKind::SnapshotLost,
                message: "The plan's snapshot is gone".into(),
                ..error
            };
        }
        error
    }
}
