//! Strategy `notify`: what channels tell, and the rows of an outbox, which no disconnection makes it miss.

mod gaps;
mod link;
mod options;
mod outbox;
mod outbox_reader;
mod payloads;
mod plan;
mod reader;

pub use options::{NotifyOptions, OutboxOptions, parameters as options};
pub use outbox::Outbox;
pub use plan::{no_pooler, no_standby, plan};
