use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use super::{
    TestContext, block_on,
    report::{Stop, failed},
    subject::{Source, Subject, Table},
};
use crate::{
    Config, Connection, Connector, ConnectorSpec, ParameterKind, PlanDescription, PlanRequest, Role,
    types::{Column, LogicalType, schema_of},
};

/// What every rule works with.
pub(super) struct Run {
    pub(super) subject: Arc<dyn Subject>,
    pub(super) connector: Arc<dyn Connector>,
    pub(super) spec: ConnectorSpec,
    pipelines: AtomicU64,
}

/// A connection.
pub(super) struct Session {
    pub(super) connection: Box<dyn Connection>,
    /// The host's side, whose directories go with it.
    _host: Arc<TestContext>,
}

impl Run {
    pub(super) fn new(subject: Arc<dyn Subject>, connector: Arc<dyn Connector>) -> Self {
        let spec = connector.spec();
        Self { subject, connector, spec, pipelines: AtomicU64::new(0) }
    }

    /// Ends a rule about a role that the manifest has no strategy of.
    pub(super) fn needs(&self, role: Role) -> Result<(), Stop> {
        if self.spec.strategies.iter().any(|strategy| strategy.role == role) {
            return Ok(());
        }
        let what = if role == Role::Source { "reads" } else { "writes" };
        Err(Stop::NotApplicable(format!("The manifest has no strategy that {what}")))
    }

    /// A pipeline id that no earlier run of the suite had: its token may still be at the destination.
    pub(super) fn pipeline(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        format!("conformance-{}-{now}-{}", process::id(), self.pipelines.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn connect(&self) -> Result<Session, Stop> {
        self.connect_with(&self.subject.config(), &self.subject.secrets())
            .map_err(|stop| stop.during("Connecting"))
    }

    /// As the host connects: checked against the manifest, defaults filled in, passwords kept back.
    pub(super) fn connect_with(
        &self,
        config: &Config,
        secrets: &[(String, String)],
    ) -> Result<Session, Stop> {
        let host = secrets.iter().fold(TestContext::new(), |host, (id, secret)| host.with_secret(id, secret));
        let host = Arc::new(host);
        let connection = self.try_connect(config, secrets, &host)?;
        Ok(Session { connection, _host: host })
    }

    pub(super) fn try_connect(
        &self,
        config: &Config,
        secrets: &[(String, String)],
        host: &Arc<TestContext>,
    ) -> crate::Result<Box<dyn Connection>> {
        let marked = secrets.iter().fold(config.clone(), |config, (id, _)| config.with(id, true));
        let checked = self.spec.validate(&marked, None)?;
        let secret = |id: &str| {
            self.spec.parameters.iter().any(|one| one.id == id && one.kind == ParameterKind::Password)
        };
        let public = checked.iter().filter(|(id, _)| !secret(id));
        let config: Config = public.map(|(id, value)| (id.clone(), value.clone())).collect();
        block_on(self.connector.connect(&config, &host.context()))
    }

    /// A strategy's options as the host hands them over.
    pub(super) fn options(&self, strategy: &str, options: &Config) -> Result<Config, Stop> {
        Ok(self.spec.find_strategy(strategy)?.validate(options)?)
    }

    pub(super) fn plan_request(
        &self,
        source: &Source,
        pipeline: &str,
        interrupted: Option<PlanDescription>,
    ) -> Result<PlanRequest, Stop> {
        Ok(PlanRequest {
            pipeline: pipeline.into(),
            generation: 1,
            run: 1,
            strategy: source.strategy.clone(),
            options: self.options(&source.strategy, &source.options)?,
            parallel: 1,
            start_at: None,
            carry: None,
            interrupted,
            peek: false,
        })
    }

    /// Has the subject make a table at the source.
    pub(super) fn source(&self, table: &Table) -> Result<Source, Stop> {
        let source = self.subject.source(table).map_err(|error| {
            Stop::from(error).during(format!("`Subject::source` for the table `{}`", table.name))
        })?;
        match self.spec.find_strategy(&source.strategy)?.role {
            Role::Source => Ok(source),
            Role::Destination => {
                failed(format!("Strategy `{}` of `Subject::source` does not read", source.strategy))
            }
        }
    }
}

/// A table of `id` and `note`, with notes of about `width` bytes, some null, some beyond ASCII.
pub(super) fn plain_table(name: &str, rows: std::ops::Range<i64>, width: usize) -> Table {
    let note = |id: i64| match id % 7 {
        3 => None,
        5 => Some(format!("Größe {id} ✓ {}", "ü".repeat(width / 2))),
        _ => Some(format!("note {id} {}", "x".repeat(width))),
    };
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.clone()));
    table(
        name,
        vec![Column::new("note", LogicalType::Text)],
        ids,
        vec![Arc::new(StringArray::from_iter(rows.map(note)))],
    )
}

/// A table of `id` and more columns.
pub(super) fn table(name: &str, columns: Vec<Column>, ids: ArrayRef, values: Vec<ArrayRef>) -> Table {
    let id = Column::new("id", LogicalType::Int64).not_null().key(0);
    let columns: Vec<_> = std::iter::once(id).chain(columns).collect();
    let arrays = std::iter::once(ids).chain(values).collect();
    let rows = RecordBatch::try_new(schema_of(&columns), arrays);
    Table { name: name.into(), columns, rows: rows.unwrap_or_else(|error| unreachable!("{error}")) }
}

impl Table {
    /// The columns' names.
    pub fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }
}
