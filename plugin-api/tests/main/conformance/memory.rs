//! A connector to tables in memory: right in everything, or broken in one way.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hub_plugin_api::{
    arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, RecordBatch, StringArray},
    arrow::{
        compute::concat_batches,
        datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, SchemaRef},
    },
    prelude::*,
    simple::{BatchSource, SingleSplit, batch_reader, bounded_batch_reader},
};

pub const PASSWORD: &str = "open sesame 42";

/// The one thing that a connector does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    ParameterForNoStrategy,
    CheckIsHappyWithAnything,
    CheckBlamesTheWrongField,
    LosesTheLastRowOfALargeBatch,
    EndsWithoutABoundary,
    ResumesOneRowTooEarly,
    ForgetsItsPositions,
    IgnoresBudgets,
    IgnoresTheValueBudget,
    BlocksItsThread,
    TakesAnyToken,
    LosesThePositionsOfTheToken,
    IgnoresTheFence,
    ReadsBackslashNAsNull,
    TakesADotForANamespace,
    StoresDecimalsAsFloats,
    RefusesATypeAfterTheFirstRow,
    RefusesAValueWithoutItsColumn,
    /// Not wrong: narrower than the table of types, and loud about it.
    Narrow,
    LogsThePassword,
    PutsThePasswordIntoErrors,
    CommitsOnDrop,
    CountsRefusedRowsFromOne,
}

#[derive(Default)]
struct Lane {
    fence: u64,
    last: Option<CommitToken>,
}

#[derive(Default)]
struct Tables {
    rows: BTreeMap<String, Vec<RecordBatch>>,
    lanes: BTreeMap<(String, u32), Lane>,
}

/// The "server": all connections of one connector see the same tables.
#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<Tables>>);

impl Store {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put(&self, name: &str, rows: Vec<RecordBatch>) {
        self.lock().rows.insert(name.into(), rows);
    }

    pub fn remove(&self, name: &str) {
        self.lock().rows.remove(name);
    }
}

#[derive(Clone)]
pub struct Memory {
    pub store: Store,
    pub fault: Fault,
}

#[async_trait]
impl Connector for Memory {
    fn spec(&self) -> ConnectorSpec {
        let host = Parameter::text("host", "Host").required();
        let host =
            if self.fault == Fault::ParameterForNoStrategy { host.applies_to(&["nowhere"]) } else { host };
        ConnectorSpec::new("memory", "Memory")
            .parameter(host)
            .parameter(Parameter::password("password", "Password").required())
            .strategy(
                Strategy::source("query", "By Query")
                    .option(Parameter::text("table", "Table").required())
                    .option(Parameter::number("sleep", "Sleep").default(0).range(0, 60)),
            )
            .strategy(
                Strategy::destination("write", "By Write Operation")
                    .guarantee(Guarantee::EffectivelyOnce)
                    .option(Parameter::text("table", "Table").required())
                    .option(Parameter::boolean("unique", "Unique").default(false)),
            )
    }

    async fn connect(&self, config: &Config, context: &Context) -> Result<Box<dyn Connection>> {
        let password =
            context.secret("password")?.map(|secret| secret.expose().to_owned()).unwrap_or_default();
        if self.fault == Fault::LogsThePassword {
            context.log(hub_plugin_api::Level::Debug, "memory", format!("Connecting with `{password}`"));
        }
        Ok(Box::new(MemoryConnection {
            store: self.store.clone(),
            fault: self.fault,
            host: config.required_text("host")?.into(),
            password,
        }))
    }
}

struct MemoryConnection {
    store: Store,
    fault: Fault,
    host: String,
    password: String,
}

impl MemoryConnection {
    fn reach(&self) -> Result<()> {
        if self.host == "memory" {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Network, format!("There is no host `{}`", self.host)).with_field("host"))
    }

    fn log_in(&self) -> Result<()> {
        self.reach()?;
        if self.password == PASSWORD {
            return Ok(());
        }
        let message = match self.fault {
            Fault::PutsThePasswordIntoErrors => format!("The password `{}` is wrong", self.password),
            _ => "The password is wrong".into(),
        };
        Err(Error::new(ErrorKind::Authentication, message).with_field("password"))
    }

    fn rows_of(&self, name: &str) -> Result<Vec<RecordBatch>> {
        self.log_in()?;
        let tables = self.store.lock();
        let rows = tables.rows.get(name);
        rows.cloned().ok_or_else(|| Error::new(ErrorKind::NotFound, format!("There is no table `{name}`")))
    }
}

#[async_trait]
impl Connection for MemoryConnection {
    async fn identity(&self) -> Result<String> {
        self.log_in().map(|()| "memory".into())
    }

    async fn check(&self, _request: &CheckRequest, reporter: &CheckReporter) -> Result<()> {
        let happy = self.fault == Fault::CheckIsHappyWithAnything;
        let steps = [("network", self.reach()), ("authentication", self.log_in())];
        let mut failed = false;
        for (name, result) in steps {
            let step = match result {
                _ if failed => CheckStep::skipped(name, "An earlier step failed"),
                Ok(()) => CheckStep::passed(name, "As it should be"),
                Err(_) if happy => CheckStep::passed(name, "As it should be"),
                Err(error) => {
                    failed = true;
                    let step = CheckStep::failed(name, &error);
                    if self.fault == Fault::CheckBlamesTheWrongField { step.with_field("port") } else { step }
                }
            };
            reporter.report(step);
        }
        Ok(())
    }

    async fn query(
        &self,
        statement: &Statement,
        _parameters: Option<RecordBatch>,
    ) -> Result<Box<dyn Reader>> {
        let Statement::Text(name) = statement else {
            return Err(Error::unsupported("This kind of statement"));
        };
        let batches = self.rows_of(name)?;
        let schema = batches.first().map(RecordBatch::schema).ok_or_else(|| Error::internal("No schema"))?;
        let rows = concat_batches(&schema, &batches)?;
        let source = Slices { rows, at: 0, step: usize::MAX, fault: Fault::None, sleep: Duration::ZERO };
        Ok(batch_reader(StreamId::named(name), source))
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Box<dyn Plan>> {
        let name = request.options.required_text("table")?.to_owned();
        let batches = self.rows_of(&name)?;
        let rows = concat_batches(&batches[0].schema(), &batches)?;
        let sleep = Duration::from_secs(request.options.integer("sleep").unwrap_or(0).unsigned_abs());
        let fault = self.fault;
        let stream = StreamId::named(name);
        Ok(Box::new(SingleSplit::new(request.run, stream.clone(), move |open| {
            let at = match &open.position {
                Some(position) => position.read::<At>(1)?.row,
                None => 0,
            };
            let budget = usize::try_from(open.budgets.max_batch_rows).unwrap_or(usize::MAX);
            let step = if fault == Fault::IgnoresBudgets { usize::MAX } else { budget };
            let source = Slices { rows: rows.clone(), at, step, fault, sleep };
            Ok(match fault {
                Fault::IgnoresBudgets => {
                    // Values are looked at, rows are not counted.
                    let budgets =
                        Budgets { max_batch_rows: u64::MAX, max_batch_bytes: u64::MAX, ..open.budgets };
                    bounded_batch_reader(stream.clone(), source, budgets)
                }
                Fault::IgnoresTheValueBudget => {
                    let budgets = Budgets { max_value_bytes: u64::MAX, ..open.budgets };
                    bounded_batch_reader(stream.clone(), source, budgets)
                }
                Fault::EndsWithoutABoundary => Box::new(WithoutLastBoundary {
                    inner: bounded_batch_reader(stream.clone(), source, open.budgets),
                    empty: rows.num_rows() == 0,
                }),
                _ => bounded_batch_reader(stream.clone(), source, open.budgets),
            })
        })))
    }

    async fn writer(&self, request: &WriterRequest) -> Result<Box<dyn Writer>> {
        self.log_in()?;
        let mut table = request.options.required_text("table")?;
        if self.fault == Fault::TakesADotForANamespace {
            table = table.rsplit('.').next().unwrap_or(table);
        }
        let mut tables = self.store.lock();
        let key = (request.pipeline.clone(), request.lane);
        let lane = tables.lanes.entry(key.clone()).or_default();
        lane.fence += 1;
        let start = WriterStart {
            last: lane.last.clone(),
            guarantee: Guarantee::EffectivelyOnce,
            reason: "Rows and token are stored in one step".into(),
            idempotent: false,
        };
        Ok(Box::new(MemoryWriter {
            start,
            fence: lane.fence,
            store: self.store.clone(),
            fault: self.fault,
            key,
            table: table.into(),
            unique: request.options.boolean("unique"),
            pending: Vec::new(),
            written: Vec::new(),
            failed: false,
        }))
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct At {
    row: usize,
}

/// The rows of a table, `step` at a time.
struct Slices {
    rows: RecordBatch,
    at: usize,
    step: usize,
    fault: Fault,
    sleep: Duration,
}

#[async_trait]
impl BatchSource for Slices {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    async fn next_batch(&mut self) -> Result<Option<(RecordBatch, Option<Position>)>> {
        if !self.sleep.is_zero() {
            match self.fault {
                Fault::BlocksItsThread => std::thread::sleep(self.sleep.min(Duration::from_secs(4))),
                _ => tokio::time::sleep(self.sleep).await,
            }
        }
        let length = self.step.min(self.rows.num_rows() - self.at);
        if length == 0 {
            return Ok(None);
        }
        let mut slice = self.rows.slice(self.at, length);
        self.at += length;
        let row = if self.fault == Fault::ResumesOneRowTooEarly { self.at - 1 } else { self.at };
        if self.fault == Fault::LosesTheLastRowOfALargeBatch && length > 900 {
            slice = slice.slice(0, length - 1);
        }
        let position = Position::new(1, &At { row })?;
        Ok(Some((slice, Some(position).filter(|_| self.fault != Fault::ForgetsItsPositions))))
    }
}

/// Leaves out the boundary before the end.
struct WithoutLastBoundary {
    inner: Box<dyn Reader>,
    empty: bool,
}

#[async_trait]
impl Reader for WithoutLastBoundary {
    async fn next(&mut self, max_wait: Duration) -> Result<Event> {
        match self.inner.next(max_wait).await? {
            // The split with no rows is where authors forget it.
            Event::Boundary(boundary) if self.empty && boundary.position.is_none() => {
                self.inner.next(max_wait).await
            }
            event => Ok(event),
        }
    }
}

struct MemoryWriter {
    start: WriterStart,
    fence: u64,
    store: Store,
    fault: Fault,
    key: (String, u32),
    table: String,
    unique: bool,
    /// Since the last flush.
    pending: Vec<Rows>,
    /// To be committed.
    written: Vec<RecordBatch>,
    failed: bool,
}

impl MemoryWriter {
    fn store_rows(&mut self, tables: &mut Tables) {
        tables.rows.entry(self.table.clone()).or_default().append(&mut self.written);
    }

    fn changed(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = batch.columns().iter().map(|array| match self.fault {
            Fault::ReadsBackslashNAsNull => without_backslash_n(array),
            Fault::StoresDecimalsAsFloats => rounded(array),
            _ => array.clone(),
        });
        Ok(RecordBatch::try_new(batch.schema(), columns.collect())?)
    }
}

fn without_backslash_n(array: &ArrayRef) -> ArrayRef {
    match array.as_string_opt::<i32>() {
        Some(texts) if array.data_type() == &DataType::Utf8 => {
            Arc::new(StringArray::from_iter(texts.iter().map(|text| text.filter(|text| *text != "\\N"))))
        }
        _ => array.clone(),
    }
}

fn rounded(array: &ArrayRef) -> ArrayRef {
    let DataType::Decimal128(precision, scale) = *array.data_type() else { return array.clone() };
    let numbers = array.as_primitive::<Decimal128Type>();
    let rounded: Decimal128Array = numbers.unary(|number| number as f64 as i128);
    Arc::new(rounded.with_precision_and_scale(precision, scale).unwrap())
}

#[async_trait]
impl Writer for MemoryWriter {
    fn start(&self) -> WriterStart {
        self.start.clone()
    }

    async fn schema(&mut self, schema: &StreamSchema) -> Result<()> {
        let interval =
            schema.arrow.fields().iter().find(|field| matches!(field.data_type(), DataType::Interval(_)));
        match interval.filter(|_| self.fault == Fault::Narrow) {
            Some(field) => {
                let message = format!("Column `{}` is an interval", field.name());
                Err(Error::new(ErrorKind::UnsupportedType, message))
            }
            None => Ok(()),
        }
    }

    async fn write(&mut self, rows: Rows) -> Result<()> {
        let interval = |data_type: &DataType| matches!(data_type, DataType::Interval(_));
        if self.fault == Fault::RefusesATypeAfterTheFirstRow
            && rows.batch.columns().iter().any(|column| interval(column.data_type()))
        {
            self.failed = true;
            return Err(Error::new(ErrorKind::UnsupportedType, "Column `edge_value` is an interval"));
        }
        let not_a_number = |array: &ArrayRef| {
            array
                .as_primitive_opt::<Float64Type>()
                .is_some_and(|array| array.iter().flatten().any(f64::is_nan))
        };
        let place = rows.batch.columns().iter().position(not_a_number);
        match (place, self.fault) {
            (Some(place), Fault::Narrow) => {
                let message = format!("Column `{}` has NaN", rows.batch.schema_ref().field(place).name());
                return Err(Error::new(ErrorKind::InvalidData, message));
            }
            (Some(_), Fault::RefusesAValueWithoutItsColumn) => {
                return Err(Error::new(ErrorKind::InvalidData, "A value is not a number"));
            }
            _ => self.pending.push(rows),
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<FlushReport> {
        let mut report = FlushReport::default();
        let (mut ids, mut row) = (Vec::new(), 0);
        for rows in std::mem::take(&mut self.pending) {
            let batch = self.changed(&rows.batch)?;
            if !self.unique {
                self.written.push(batch);
                continue;
            }
            for index in 0..batch.num_rows() {
                let id = batch.column(0).as_primitive::<Int64Type>().value(index);
                if ids.contains(&id) {
                    report.rejected.push(RejectedRow {
                        stream: rows.stream.clone(),
                        row: row + u64::from(self.fault == Fault::CountsRefusedRowsFromOne),
                        kind: ErrorKind::ConstraintViolated,
                        reason: format!("There is a row with `id` {id}"),
                    });
                } else {
                    self.written.push(batch.slice(index, 1));
                }
                ids.push(id);
                row += 1;
            }
        }
        Ok(report)
    }

    async fn commit(&mut self, token: &CommitToken) -> Result<()> {
        self.flush().await?;
        let store = self.store.clone();
        let mut tables = store.lock();
        let lane = tables.lanes.entry(self.key.clone()).or_default();
        let result = if lane.fence != self.fence && self.fault != Fault::IgnoresTheFence {
            Err(Error::new(ErrorKind::Fenced, "Another writer has taken the lane"))
        } else if self.fault == Fault::TakesAnyToken {
            Ok(())
        } else {
            token.check_follows(self.start.last.as_ref())
        };
        self.failed = result.is_err();
        result?;
        lane.last = Some(token.clone());
        if let (Fault::LosesThePositionsOfTheToken, Some(last)) = (self.fault, &mut lane.last) {
            last.splits.clear();
        }
        self.start.last = Some(token.clone());
        self.store_rows(&mut tables);
        Ok(())
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        if self.fault == Fault::CommitsOnDrop && !self.failed {
            let store = self.store.clone();
            self.store_rows(&mut store.lock());
        }
    }
}
