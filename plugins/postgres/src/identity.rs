use hub_plugin_api::{ErrorKind, Result};

use crate::{config::Settings, connection::Session, error, sql::catalog};

/// What stored positions are bound to: the cluster's system identifier, its time line and the database. After a
/// failover that may have lost changes the time line is another one. A standby has lost nothing of its own when it is
/// promoted: where one is meant, the time line does not count. A server that keeps its control file to itself
/// is known by its address and the database's OID.
///
/// # Errors
/// When the server cannot be asked.
pub async fn identity(settings: &Settings, session: &Session) -> Result<String> {
    let failed = |error| error::from_driver("Could not ask the server for its identity", &error);
    let client = session.client();
    match session.work(client.query_one(catalog::SYSTEM, &[])).await.map_err(failed) {
        Ok(row) => {
            let system: String = row.try_get(0).map_err(failed)?;
            let timeline: i32 = row.try_get(1).map_err(failed)?;
            let line = if settings.connect_to_replica { "replica".into() } else { timeline.to_string() };
            Ok(format!("{system}/{line}/{}", settings.database))
        }
        Err(error) if matches!(error.kind, ErrorKind::PermissionDenied | ErrorKind::InvalidStatement) => {
            let row = session.work(client.query_one(catalog::DATABASE_OID, &[])).await.map_err(failed)?;
            let oid: u32 = row.try_get(0).map_err(failed)?;
            Ok(format!("{}:{}/{oid}/{}", settings.host, settings.port, settings.database))
        }
        Err(error) => Err(error),
    }
}
