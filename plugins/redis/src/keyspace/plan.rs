use hub_plugin_api::{
    Error, Guarantee, OpenRequest, Plan, PlanDescription, PlanRequest, Reader, Result, Snapshot, Split,
    StartAt, StreamId, Value, async_trait,
};

use super::{
    options::KeyspaceOptions,
    reader::{self, POSITION},
};
use crate::connection::Server;

const REASON: &str =
    "Servers publish what happens to a key once, to whoever listens then, and it is not kept";

/// Plans to listen.
///
/// # Errors
/// When the options do not fit.
pub fn plan(server: &Server, request: &PlanRequest) -> Result<Box<dyn Plan>> {
    let options = KeyspaceOptions::read(&request.options)?;
    if matches!(request.start_at, Some(StartAt::Earliest | StartAt::Time(_) | StartAt::Position(_))) {
        return Err(Error::unsupported("A start in the past")
            .with_hint("Events of keys are not kept: only `latest` is there"));
    }
    let description = PlanDescription {
        splits: vec![Split {
            id: "keyspace".into(),
            streams: vec![StreamId::named(&options.stream)],
            bounded: false,
            after: Vec::new(),
            opaque: Value::Null,
            portable: true,
            estimated_rows: None,
        }],
        snapshot: Snapshot::New,
        guarantee: Guarantee::AtMostOnce,
        reason: REASON.into(),
        repeats_rows: false,
        carry: None,
    };
    Ok(Box::new(KeyspacePlan { server: server.clone(), options, description }))
}

struct KeyspacePlan {
    server: Server,
    options: KeyspaceOptions,
    description: PlanDescription,
}

#[async_trait]
impl Plan for KeyspacePlan {
    fn description(&self) -> PlanDescription {
        self.description.clone()
    }

    async fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        let position = request.position.as_ref().map(|position| position.read(POSITION)).transpose()?;
        Ok(reader::start(self.server.clone(), self.options.clone(), position, request.budgets))
    }
}
