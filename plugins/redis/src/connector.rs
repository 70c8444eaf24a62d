//! What the hub sees: the connector, and the connections that it makes.

use hub_plugin_api::{
    CheckReporter, CheckRequest, Config, Connection, Connector, ConnectorKind, ConnectorSpec, Context, Error,
    Guarantee, Plan, PlanRequest, Reader, Result, Statement, Strategy, Writer, WriterRequest,
    arrow::array::RecordBatch, async_trait,
};

use crate::{
    check,
    config::{self, Settings},
    connection::Server,
    keys, keyspace, query, streams, write,
};

/// Redis.
pub struct Redis;

#[async_trait]
impl Connector for Redis {
    fn spec(&self) -> ConnectorSpec {
        let mut keys = Strategy::source("keys", "By Keys")
            .guarantee(Guarantee::AtLeastOnce)
            .describe("Reads the values of keys that are named or that patterns find");
        keys.options = keys::options();
        let mut streams = Strategy::source("streams", "By Streams")
            .streaming()
            .guarantee(Guarantee::AtLeastOnce)
            .describe("Follows the entries of streams, with a consumer group or without");
        streams.options = streams::options();
        let mut keyspace = Strategy::source("keyspace", "By Keyspace")
            .streaming()
            .guarantee(Guarantee::AtMostOnce)
            .describe("Hears what happens to keys, on every master of a cluster");
        keyspace.options = keyspace::options();
        let mut write = Strategy::destination("write", "By Write Operation")
            .guarantee(Guarantee::AtLeastOnce)
            .describe("Writes rows as values, on one node together with the commit token in one transaction");
        write.options = write::options();
        let mut spec = ConnectorSpec::new("redis", "Redis")
            .kind(ConnectorKind::NonRelational)
            .answers_queries()
            .strategy(keys)
            .strategy(streams)
            .strategy(keyspace)
            .strategy(write);
        spec.parameters = config::parameters();
        spec
    }

    async fn connect(&self, config: &Config, context: &Context) -> Result<Box<dyn Connection>> {
        Ok(Box::new(RedisConnection { server: Server::new(Settings::read(config)?, context)? }))
    }
}

/// A server that sessions are opened on when they are needed.
struct RedisConnection {
    server: Server,
}

#[async_trait]
impl Connection for RedisConnection {
    async fn identity(&self) -> Result<String> {
        // So that a server that is not there is found out now.
        self.server.masters().await?;
        Ok(self.server.settings().identity())
    }

    async fn check(&self, request: &CheckRequest, reporter: &CheckReporter) -> Result<()> {
        check::check(&self.server, request, reporter).await
    }

    async fn query(&self, statement: &Statement, parameters: Option<RecordBatch>) -> Result<Box<dyn Reader>> {
        match statement {
            Statement::Command(command) => query::run(&self.server, command, parameters).await,
            Statement::Text(_) | Statement::Document(_) => {
                Err(Error::unsupported("A statement that is not a command")
                    .with_hint("Redis takes a command as a list: its name and its arguments"))
            }
        }
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Box<dyn Plan>> {
        match request.strategy.as_str() {
            "keys" => keys::plan(&self.server, request).await,
            "keyspace" => keyspace::plan(&self.server, request),
            "streams" => streams::plan(&self.server, request).await,
            other => Err(Error::unsupported(format_args!("Reading by strategy `{other}`"))),
        }
    }

    async fn release(&self, pipeline: &str) -> Result<()> {
        streams::release(&self.server, pipeline).await
    }

    async fn writer(&self, request: &WriterRequest) -> Result<Box<dyn Writer>> {
        match request.strategy.as_str() {
            "write" => write::writer(&self.server, request).await,
            other => Err(Error::unsupported(format_args!("Writing by strategy `{other}`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::{Group, json};

    use super::*;

    #[test]
    fn manifest_is_valid_and_its_standard_parameters_are_those_of_a_form() {
        let spec = Redis.spec();
        spec.check().unwrap();
        let standard = spec.parameters.iter().filter(|parameter| parameter.group == Group::Standard);
        let found: Vec<_> = standard.map(|one| (one.label.as_str(), one.default.clone())).collect();
        let expected = [
            ("Host", Some(json!("localhost"))),
            ("Port", Some(json!(6379))),
            ("Username", None),
            ("Password", None),
            ("Database Index", Some(json!(0))),
        ];
        assert_eq!(found, expected);
        for parameter in &spec.parameters[..found.len()] {
            assert_eq!(parameter.id, parameter.label.to_lowercase().replace(' ', "_"));
        }
        assert_eq!((spec.parameters[4].min, spec.parameters[4].max), (Some(0), Some(15)));
        assert_eq!(spec.default_strategy(hub_plugin_api::Role::Source).unwrap().label, "By Keys");
    }
}
