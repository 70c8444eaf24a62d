//! The connection test.

use hub_plugin_api::{CheckReporter, CheckRequest};

use crate::{config::ConnectionConfig, database::Interrupt};

pub fn run(_: &ConnectionConfig, _: &CheckRequest, _: &CheckReporter, _: &Interrupt) {}
