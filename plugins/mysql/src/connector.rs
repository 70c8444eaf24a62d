//! What the hub sees: the two connectors, and the connections that they make.

use hub_plugin_api::{
    CheckReporter, CheckRequest, Config, Connection, Connector, ConnectorSpec, Context, DiscoverRequest,
    Error, Guarantee, Plan, PlanRequest, Reader, Result, Statement, Strategy, StreamDescription, StreamId,
    StreamPage, Writer, WriterRequest, arrow::array::RecordBatch, async_trait,
};

use crate::{
    binlog, check,
    config::{self, Settings},
    connection::Session,
    discover,
    flavor::Vendor,
    identity::identity,
    query, write,
};

/// MySQL.
pub struct MySql;

/// MariaDB.
pub struct MariaDb;

fn spec(vendor: Vendor) -> ConnectorSpec {
    let mut query = Strategy::source("query", "By Query")
        .guarantee(Guarantee::AtLeastOnce)
        .describe("Reads the rows of a statement; with a cursor, later runs read only what is new");
    query.options = query::options();
    let mut write = Strategy::destination("write", "By Write Operation")
        .guarantee(Guarantee::EffectivelyOnce)
        .describe("Writes rows into tables, together with the commit token in one transaction");
    write.options = write::options();
    let mut spec = ConnectorSpec::new(vendor.engine(), vendor.name())
        .answers_queries()
        .strategy(query)
        .strategy(binlog::strategy())
        .strategy(write);
    spec.parameters = config::parameters();
    spec
}

fn connect(vendor: Vendor, config: &Config, context: &Context) -> Result<Box<dyn Connection>> {
    Ok(Box::new(ServerConnection { vendor, settings: Settings::read(config)?, context: context.clone() }))
}

#[async_trait]
impl Connector for MySql {
    fn spec(&self) -> ConnectorSpec {
        spec(Vendor::MySql)
    }

    async fn connect(&self, config: &Config, context: &Context) -> Result<Box<dyn Connection>> {
        connect(Vendor::MySql, config, context)
    }
}

#[async_trait]
impl Connector for MariaDb {
    fn spec(&self) -> ConnectorSpec {
        spec(Vendor::MariaDb)
    }

    async fn connect(&self, config: &Config, context: &Context) -> Result<Box<dyn Connection>> {
        connect(Vendor::MariaDb, config, context)
    }
}

/// A server that sessions are opened on when they are needed.
struct ServerConnection {
    /// Who the connector is made for; what answers may be the other.
    vendor: Vendor,
    settings: Settings,
    context: Context,
}

impl ServerConnection {
    async fn session(&self) -> Result<Session> {
        Session::open(&self.settings, &self.context).await
    }
}

#[async_trait]
impl Connection for ServerConnection {
    async fn identity(&self) -> Result<String> {
        identity(&self.settings, &mut self.session().await?).await
    }

    async fn check(&self, request: &CheckRequest, reporter: &CheckReporter) -> Result<()> {
        check::check(self.vendor, &self.settings, &self.context, request, reporter).await
    }

    async fn discover(&self, request: &DiscoverRequest) -> Result<StreamPage> {
        discover::discover(&mut self.session().await?, request).await
    }

    async fn describe(&self, streams: &[StreamId]) -> Result<Vec<StreamDescription>> {
        discover::describe(&self.settings, &self.context, streams).await
    }

    async fn query(&self, statement: &Statement, parameters: Option<RecordBatch>) -> Result<Box<dyn Reader>> {
        match statement {
            Statement::Text(text) => query::read_once(&self.settings, &self.context, text, parameters).await,
            Statement::Command(_) | Statement::Document(_) => {
                Err(Error::unsupported("A statement that is not text")
                    .with_hint("The servers' language is SQL"))
            }
        }
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Box<dyn Plan>> {
        match request.strategy.as_str() {
            "query" => query::plan(&self.settings, &self.context, request).await,
            "binlog" => binlog::plan(&self.settings, &self.context, request).await,
            other => Err(Error::unsupported(format_args!("Reading by strategy `{other}`"))),
        }
    }

    async fn writer(&self, request: &WriterRequest) -> Result<Box<dyn Writer>> {
        match request.strategy.as_str() {
            "write" => write::writer(&self.settings, &self.context, request).await,
            other => Err(Error::unsupported(format_args!("Writing by strategy `{other}`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::{Group, json};

    use super::*;

    #[test]
    fn manifests_are_valid_and_their_standard_parameters_are_those_of_a_form() {
        for connector in [&MySql as &dyn Connector, &MariaDb] {
            let spec = connector.spec();
            spec.check().unwrap();
            let standard = spec.parameters.iter().filter(|parameter| parameter.group == Group::Standard);
            let found: Vec<_> = standard.map(|one| (one.label.as_str(), one.default.clone())).collect();
            let expected = [
                ("Host", Some(json!("localhost"))),
                ("Port", Some(json!(3306))),
                ("Username", None),
                ("Password", None),
                ("Database", None),
                ("Server ID", Some(json!(1))),
            ];
            assert_eq!(found, expected);
            for parameter in &spec.parameters[..found.len()] {
                assert_eq!(parameter.id, parameter.label.to_lowercase().replace(' ', "_"));
            }
        }
    }
}
