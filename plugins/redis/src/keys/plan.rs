use std::sync::Arc;

use hub_plugin_api::{
    Error, Guarantee, OpenRequest, Plan, PlanDescription, PlanRequest, Reader, Result, Snapshot, Split,
    StreamId, async_trait, json,
};

use super::{
    fetch::Fetcher,
    options::KeysOptions,
    reader::{self, POSITION},
    scan::Scan,
    shape::Shaper,
    strings::Together,
};
use crate::{config::Deployment, connection::Server, types::Kind};

const REASON: &str = "Every key that is there throughout comes; after a restart, keys may come again";

/// Plans a read of keys: a split for each master.
///
/// # Errors
/// When the options do not fit, or the server refuses.
pub async fn plan(server: &Server, request: &PlanRequest) -> Result<Box<dyn Plan>> {
    let options = KeysOptions::read(&request.options)?;
    let description = match &request.interrupted {
        Some(interrupted) => PlanDescription { snapshot: Snapshot::New, ..interrupted.clone() },
        None => describe(server, request, &options).await?,
    };
    Ok(Box::new(KeysPlan { server: server.clone(), options, description }))
}

async fn describe(server: &Server, request: &PlanRequest, options: &KeysOptions) -> Result<PlanDescription> {
    let masters = server.masters().await?;
    let count = masters.len();
    let splits = masters.into_iter().enumerate().map(|(place, master)| Split {
        id: format!("keys-{}-{place}", request.run),
        streams: vec![StreamId::named(&options.stream)],
        bounded: true,
        after: Vec::new(),
        opaque: json!({ "slots": master.slots }),
        portable: true,
        estimated_rows: None,
    });
    let splits: Vec<Split> = splits.collect();
    if splits.is_empty() {
        return Err(Error::internal(format!("{count} masters make no split")));
    }
    Ok(PlanDescription {
        splits,
        snapshot: Snapshot::New,
        guarantee: Guarantee::AtLeastOnce,
        reason: REASON.into(),
        repeats_rows: true,
        carry: None,
    })
}

struct KeysPlan {
    server: Server,
    options: KeysOptions,
    description: PlanDescription,
}

#[async_trait]
impl Plan for KeysPlan {
    fn description(&self) -> PlanDescription {
        self.description.clone()
    }

    async fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        let slots = request.split.opaque.get("slots").cloned().unwrap_or_default();
        let slots: Vec<(u16, u16)> = serde_json::from_value(slots)?;
        let start = request.position.as_ref().map(|position| position.read(POSITION)).transpose()?;
        let settings = self.server.settings();
        let kind = self.options.kind();
        let filtered = kind.is_some() && self.options.keys.is_empty();
        // One command takes keys of one slot only in a cluster.
        let is_together =
            filtered && kind == Some(Kind::String) && settings.deployment != Deployment::Cluster;
        let scan = Scan {
            server: self.server.clone(),
            fetcher: Fetcher {
                filtered,
                only: kind,
                together: is_together.then(|| Arc::new(Together::new(settings.database_index))),
                ttl: self.options.ttl,
                max_value_bytes: request.budgets.max_value_bytes,
            },
            options: self.options.clone(),
            slots,
            start,
            count: self.options.scan_count.min(request.budgets.max_batch_rows.max(1)),
        };
        let shaper = Shaper::new(&self.options, request.budgets.max_value_bytes);
        Ok(reader::start(scan, shaper, StreamId::named(&self.options.stream), request.budgets))
    }
}
