use hub_plugin_api::Result;

use super::slot;
use crate::{connection::Session, error, sql::wal};

/// Drops the slots and publications that plans of a pipeline made, of whatever generation.
///
/// # Errors
/// When the server refuses; the message says what is left.
pub async fn release(session: &Session, pipeline: &str) -> Result<()> {
    let prefix = wal::name_prefix(pipeline);
    let failed =
        |error| error::from_driver("Could not look for what the pipeline made on the server", &error);
    let slots = session.work(session.client().query(wal::SLOTS_OF, &[&prefix])).await.map_err(failed)?;
    for row in &slots {
        slot::drop_slot(session, row.try_get(0).map_err(failed)?).await?;
    }
    let found =
        session.work(session.client().query(wal::PUBLICATIONS_OF, &[&prefix])).await.map_err(failed)?;
    for row in &found {
        let name: &str = row.try_get(0).map_err(failed)?;
        session
            .run(&wal::drop_publication(name), &format!("Could not drop the publication `{name}`"))
            .await?;
    }
    Ok(())
}
