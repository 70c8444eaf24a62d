//! Sessions that see one state of the database.

use std::sync::{Arc, Mutex, PoisonError};

use hub_plugin_api::{Context, Result};

use super::shape::Shape;
use crate::{
    config::Settings,
    connection::Session,
    raw::RawSession,
    sql::{qualified, read},
};

const STARTING: &str = "Could not start reading";

/// Opens a session that sees the state of now throughout.
///
/// # Errors
/// When it cannot be opened.
pub async fn open_now(settings: &Settings, context: &Context, lock_timeout_ms: u64) -> Result<RawSession> {
    let mut session = prepared(settings, context, lock_timeout_ms).await?;
    session.run(read::BEGIN_SNAPSHOT, STARTING).await?;
    Ok(session)
}

async fn prepared(settings: &Settings, context: &Context, lock_timeout_ms: u64) -> Result<RawSession> {
    let mut session = RawSession::open(settings, context).await?;
    session.run(&read::lock_timeout(lock_timeout_ms), STARTING).await?;
    Ok(session)
}

/// Sessions for the readers of a plan, taken and given back.
#[derive(Clone, Default)]
pub struct Pool(Arc<Mutex<Vec<RawSession>>>);

impl Pool {
    /// One that nobody reads in.
    pub fn take(&self) -> Option<RawSession> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Takes one back, for the next reader.
    pub fn give_back(&self, session: RawSession) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }
}

/// Why several sessions see the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// There is one.
    One,
    /// Nothing was committed while they began.
    Locked,
    /// The account may lock nothing: each sees the state of its own beginning.
    None,
}

/// Opens sessions that see the same state: their transactions begin while a lock holds commits up. `first` is one of
/// them, and has begun when `count` is 1.
///
/// # Errors
/// When one cannot be opened.
pub async fn open_together(
    settings: &Settings,
    context: &Context,
    shape: &Shape,
    first: RawSession,
    count: u32,
    lock_timeout_ms: u64,
) -> Result<(Pool, Agreement)> {
    let pool = Pool::default();
    let mut sessions = vec![first];
    for _ in 1..count {
        sessions.push(prepared(settings, context, lock_timeout_ms).await?);
    }
    let lock = if count > 1 { lock(settings, context, shape, lock_timeout_ms).await } else { None };
    let agreement = match (count, &lock) {
        (0 | 1, _) => Agreement::One,
        (_, Some(_)) => Agreement::Locked,
        (_, None) => Agreement::None,
    };
    for session in &mut sessions {
        session.run(read::BEGIN_SNAPSHOT, STARTING).await?;
    }
    if let Some(mut lock) = lock {
        lock.run(read::UNLOCK, "Could not release the lock").await?;
    }
    for session in sessions {
        pool.give_back(session);
    }
    Ok((pool, agreement))
}

/// A session that holds commits up: everywhere, or of the one table that is read. `None` where the account may do
/// neither, or another session has been at work for too long.
async fn lock(
    settings: &Settings,
    context: &Context,
    shape: &Shape,
    lock_timeout_ms: u64,
) -> Option<Session> {
    const DOING: &str = "Could not hold commits up";
    let mut session = Session::open(settings, context).await.ok()?;
    session.run(&read::lock_timeout(lock_timeout_ms), DOING).await.ok()?;
    if session.run(read::LOCK_ALL, DOING).await.is_ok() {
        return Some(session);
    }
    let table = shape.table.as_ref()?;
    let name = qualified(table.namespace.first().map(String::as_str), &table.name);
    session.run(&read::lock_table(&name), DOING).await.ok()?;
    Some(session)
}
