use std::time::Duration;

use hub_plugin_api::{Error, ErrorKind, Result};

use crate::{connection::Session, error, sql::wal};

/// What logical decoding needs to know of the server.
#[derive(Clone, Debug)]
pub struct Facts {
    /// As `server_version_num` has it.
    pub version: u32,
    /// It replays another server's changes.
    pub is_standby: bool,
    /// How much the WAL says.
    pub wal_level: String,
    /// The longest silence that the server bears; none: any.
    pub sender_timeout: Option<Duration>,
    /// The role may open replication sessions.
    pub may_replicate: bool,
}

impl Facts {
    /// Asks a session's server.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn of(session: &Session) -> Result<Self> {
        let failed = |error| error::from_driver("Could not ask the server what it can decode", &error);
        let row = session.work(session.client().query_one(wal::FACTS, &[])).await.map_err(failed)?;
        let version: i32 = row.try_get(0).map_err(failed)?;
        let timeout: Option<i64> = row.try_get(3).map_err(failed)?;
        let timeout = timeout.and_then(|timeout| u64::try_from(timeout).ok()).filter(|timeout| *timeout > 0);
        Ok(Self {
            version: u32::try_from(version).unwrap_or_default(),
            is_standby: row.try_get(1).map_err(failed)?,
            wal_level: row.try_get(2).map_err(failed)?,
            sender_timeout: timeout.map(Duration::from_millis),
            may_replicate: row.try_get::<_, Option<bool>>(4).map_err(failed)?.unwrap_or_default(),
        })
    }

    /// Fails unless changes can be decoded here.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] or [`ErrorKind::PermissionDenied`], with what to change.
    pub fn check(&self) -> Result<()> {
        let version = self.version / 10_000;
        if version < 14 {
            return Err(Error::unsupported(format_args!("Strategy By WAL on PostgreSQL {version}"))
                .with_hint("It needs version 14 or newer; read by query, or upgrade the server"));
        }
        if self.is_standby && version < 16 {
            return Err(Error::unsupported(format_args!(
                "Strategy By WAL on a standby of PostgreSQL {version}"
            ))
            .with_field("connect_to_replica")
            .with_hint("Standbys decode from version 16 on: connect to the primary"));
        }
        if self.wal_level != "logical" {
            let message = format!("The server's `wal_level` is `{}`, which says too little", self.wal_level);
            return Err(Error::new(ErrorKind::Unsupported, message).with_hint(
                "Run `ALTER SYSTEM SET wal_level = logical` and restart the server; on a standby its primary too",
            ));
        }
        if !self.may_replicate {
            return Err(Error::new(ErrorKind::PermissionDenied, "The role may not read the WAL")
                .with_field("username")
                .with_hint("Grant it: `ALTER ROLE … REPLICATION`"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_that_cannot_decode_is_refused_with_what_to_change() {
        let facts = |version, is_standby, wal_level: &str, may_replicate| Facts {
            version,
            is_standby,
            wal_level: wal_level.into(),
            sender_timeout: None,
            may_replicate,
        };
        facts(150_000, false, "logical", true).check().unwrap();
        facts(160_000, true, "logical", true).check().unwrap();
        for (facts, words) in [
            (facts(130_000, false, "logical", true), "version 14"),
            (facts(150_000, true, "logical", true), "primary"),
            (facts(150_000, false, "replica", true), "wal_level = logical"),
            (facts(150_000, false, "logical", false), "REPLICATION"),
        ] {
            let hint = facts.check().unwrap_err().hint.unwrap();
            assert!(hint.contains(words), "{hint}");
        }
    }
}
