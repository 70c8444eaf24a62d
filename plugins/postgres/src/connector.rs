//! What the hub sees: the connector, and the connections that it makes.

use hub_plugin_api::{
    CheckReporter, CheckRequest, Config, Connection, Connector, ConnectorSpec, Context, DiscoverRequest,
    Error, Guarantee, Plan, PlanRequest, Reader, Result, Statement, Strategy, StreamDescription, StreamId,
    StreamPage, Writer, WriterRequest, arrow::array::RecordBatch, async_trait,
};

use crate::{
    check,
    config::{self, Settings},
    connection::Session,
    discover,
    identity::identity,
    notify, query, wal, write,
};

/// PostgreSQL.
pub struct Postgres;

#[async_trait]
impl Connector for Postgres {
    fn spec(&self) -> ConnectorSpec {
        let mut query = Strategy::source("query", "By Query")
            .guarantee(Guarantee::AtLeastOnce)
            .describe("Reads the rows of a statement; with a cursor, later runs read only what is new");
        query.options = query::options();
        let mut notify = Strategy::source("notify", "By Notification Channel")
            .streaming()
            .guarantee(Guarantee::AtMostOnce)
            .describe("Listens on channels; with an outbox table, no row is missed while nobody listens");
        notify.options = notify::options();
        let mut wal = Strategy::source("wal", "By WAL")
            .streaming()
            .guarantee(Guarantee::EffectivelyOnce)
            .describe("Reads the rows of tables, then every change, transaction by transaction");
        wal.options = wal::options();
        let mut write = Strategy::destination("write", "By Write Operation")
            .guarantee(Guarantee::EffectivelyOnce)
            .describe("Writes rows into tables, together with the commit token in one transaction");
        write.options = write::options();
        let mut spec = ConnectorSpec::new("postgres", "PostgreSQL")
            .answers_queries()
            .strategy(query)
            .strategy(notify)
            .strategy(wal)
            .strategy(write);
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

impl PostgresConnection {
    async fn session(&self) -> Result<Session> {
        Session::open(&self.settings, &self.context).await
    }
}

#[async_trait]
impl Connection for PostgresConnection {
    async fn identity(&self) -> Result<String> {
        identity(&self.settings, &self.session().await?).await
    }

    async fn check(&self, request: &CheckRequest, reporter: &CheckReporter) -> Result<()> {
        check::check(&self.settings, &self.context, request, reporter).await
    }

    async fn discover(&self, request: &DiscoverRequest) -> Result<StreamPage> {
        discover::discover(&self.session().await?, request).await
    }

    async fn describe(&self, streams: &[StreamId]) -> Result<Vec<StreamDescription>> {
        discover::describe(&self.settings, &self.session().await?, streams).await
    }

    async fn query(&self, statement: &Statement, parameters: Option<RecordBatch>) -> Result<Box<dyn Reader>> {
        match statement {
            Statement::Text(text) => query::read_once(&self.settings, &self.context, text, parameters).await,
            Statement::Command(_) | Statement::Document(_) => {
                Err(Error::unsupported("A statement that is not text")
                    .with_hint("PostgreSQL's language is SQL"))
            }
        }
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Box<dyn Plan>> {
        match request.strategy.as_str() {
            "query" => query::plan(&self.settings, &self.context, request).await,
            "notify" => notify::plan(&self.settings, &self.context, request).await,
            "wal" => wal::plan(&self.settings, &self.context, request).await,
            other => Err(Error::unsupported(format_args!("Reading by strategy `{other}`"))),
        }
    }

    async fn release(&self, pipeline: &str) -> Result<()> {
        wal::release(&self.session().await?, pipeline).await
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
    use hub_plugin_api::{Group, ParameterKind, json};

    use super::*;

    #[test]
    fn manifest_is_valid_and_its_standard_parameters_are_those_of_a_form() {
        let spec = Postgres.spec();
        spec.check().unwrap();
        let standard = spec.parameters.iter().filter(|parameter| parameter.group == Group::Standard);
        let found: Vec<_> = standard.map(|one| (one.label.as_str(), one.default.clone())).collect();
        let expected = [
            ("Host", Some(json!("localhost"))),
            ("Port", Some(json!(5432))),
            ("Username", Some(json!("postgres"))),
            ("Password", None),
            ("Database", Some(json!("postgres"))),
            ("SSL Mode", Some(json!("disable"))),
            ("Connect To Replica", Some(json!(false))),
        ];
        assert_eq!(found, expected);
        for parameter in &spec.parameters[..found.len()] {
            assert_eq!(parameter.id, parameter.label.to_lowercase().replace(' ', "_"));
        }
        let ParameterKind::Dropdown(modes) = &spec.parameters[5].kind else {
            panic!("SSL Mode is a dropdown")
        };
        let labels: Vec<_> = modes.iter().map(|(id, label)| (id.as_str(), label.as_str())).collect();
        assert_eq!(labels, [("disable", "Disable"), ("require", "Require"), ("verify-full", "Verify Full")]);
    }
}
