//! What the hub sees: the connector, and the connections that it makes.

use hub_plugin_api::{
    CheckReporter, CheckRequest, Config, Connection, Connector, ConnectorSpec, Context, DiscoverRequest, Error,
    Guarantee, Plan, PlanRequest, Reader, Result, Statement, Strategy, StreamDescription, StreamId, StreamPage,
    Writer, WriterRequest, arrow::array::RecordBatch, async_trait,
};

use crate::{
    config::{self, Settings},
    query, write,
};

/// PostgreSQL.
pub struct Postgres;

#[async_trait]
impl Connector for Postgres {
    fn spec(&self) -> ConnectorSpec {
        let mut query = Strategy::source("query", "By Query")
            .guarantee(Guarantee::AtLeastOnce)
            .describe("Reads the rows of a statement; with a cursor, later runs read only what is new");
        query.options = query::parameters();
        let mut write = Strategy::destination("write", "By Write Operation")
            .guarantee(Guarantee::EffectivelyOnce)
            .describe("Writes rows through COPY BINARY, in one transaction with the token of their commit");
        write.options = write::options();
        let mut spec = ConnectorSpec::new("postgres", "PostgreSQL").strategy(query).strategy(write);
        spec.parameters = config::parameters();
        spec
    }

    async fn connect(&self, config: &Config, context: &Context) -> Result<Box<dyn Connection>> {
        Ok(Box::new(PostgresConnection { settings: Settings::read(config)?, context: context.clone() }))
    }
}

/// A server that sessions are opened on when they are needed.
struct PostgresConnection {
    settings: Settings,
    context: Context,
}

#[async_trait]
impl Connection for PostgresConnection {
    async fn identity(&self) -> Result<String> {
        Err(Error::unsupported("x"))
    }

    async fn check(&self, request: &CheckRequest, reporter: &CheckReporter) -> Result<()> {
        Ok(())
    }

    async fn writer(&self, request: &WriterRequest) -> Result<Box<dyn Writer>> {
        match request.strategy.as_str() {
            "write" => write::writer(&self.settings, &self.context, request).await,
            other => Err(Error::unsupported(format_args!("Strategy `{other}` of PostgreSQL"))),
        }
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Box<dyn Plan>> {
        match request.strategy.as_str() {
            "query" => query::plan(&self.settings, &self.context, request).await,
            other => Err(Error::unsupported(format_args!("Strategy `{other}` of PostgreSQL"))),
        }
    }
}
