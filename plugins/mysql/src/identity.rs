use hub_plugin_api::{ErrorKind, Result};

use crate::{config::Settings, connection::Session, flavor::Vendor};

/// What stored positions are bound to: the server's UUID and the database. MariaDB has no UUID that outlives a restart
/// before 11; it is known by address and server id there. A group that the user names stands for all its servers.
///
/// # Errors
/// When the server cannot be asked.
pub async fn identity(settings: &Settings, session: &mut Session) -> Result<String> {
    const DOING: &str = "Could not ask the server for its identity";
    let database = &settings.database;
    if let Some(group) = &settings.server_group {
        return Ok(format!("group {group}/{database}"));
    }
    if session.server().vendor == Vendor::MySql {
        let answer = session.ask("SELECT @@GLOBAL.server_uuid", DOING).await?;
        if let Some(uuid) = answer.first() {
            return Ok(format!("{uuid}/{database}"));
        }
    }
    match session.ask("SELECT @@GLOBAL.server_id", DOING).await {
        Ok(answer) => {
            let id = answer.first().unwrap_or_default();
            Ok(format!("{}:{}/{id}/{database}", settings.host, settings.port))
        }
        Err(error) if error.kind == ErrorKind::PermissionDenied => {
            Ok(format!("{}:{}/{database}", settings.host, settings.port))
        }
        Err(error) => Err(error),
    }
}
