//! What a function may call: its connection and the log. Nothing else is there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hub_plugin_api::{
    Connection, Context, Error, ErrorKind, Event, Level, Reader, Result, Statement,
    arrow::array::RecordBatch, simple::HOW_TO_GRANT,
};
use pollster::block_on;
use wasmtime::component::Resource;
use wasmtime_wasi::{WasiCtxView, WasiView};

use super::{
    bindings::connector_hub::plugin::{
        connection::{self, Encoding},
        log,
        types::{self as wit, Batch, Failure, Value},
    },
    ipc, parameters,
    rows_out::{export_columns, export_rows},
    shell::{HasShell, Shell},
};

/// The longest that a cursor waits before it looks whether it was cancelled or is out of time.
const STEP: Duration = Duration::from_secs(1);

/// A statement's rows on their way to the function.
pub struct Cursor {
    reader: Box<dyn Reader>,
    encoding: Encoding,
    deadline: Instant,
}

/// What one function has while it runs.
pub(super) struct Guest {
    pub(super) shell: Shell,
    pub(super) connection: Arc<dyn Connection>,
    pub(super) context: Context,
}

impl HasShell for Guest {
    fn shell(&self) -> &Shell {
        &self.shell
    }

    fn shell_mut(&mut self) -> &mut Shell {
        &mut self.shell
    }
}

impl Guest {
    fn query(
        &mut self,
        statement: connection::Statement,
        values: Vec<Value>,
        encoding: Encoding,
    ) -> Result<Cursor> {
        let statement = match statement {
            connection::Statement::Text(text) => Statement::Text(text),
            connection::Statement::Command(values) => Statement::Command(parameters::to_json(values)?),
            connection::Statement::Document(text) => {
                Statement::Document(serde_json::from_str(&text).map_err(|error| {
                    Error::new(ErrorKind::InvalidStatement, "The query document is not JSON")
                        .with_source(&error)
                })?)
            }
        };
        let deadline = Instant::now() + self.shell.limits.query_time;
        let values = parameters::to_batch(values)?;
        let (interrupt, connection) = (&self.shell.interrupt, &self.connection);
        let reader = interrupt
            .during(connection.canceller(), || block_on(connection.query(&statement, values)))
            .map_err(|error| self.read_only_hint(error))?;
        Ok(Cursor { reader, encoding, deadline })
    }

    /// Says what grants a statement that a read-only session refused.
    fn read_only_hint(&self, error: Error) -> Error {
        let is_refused = matches!(error.kind, ErrorKind::PermissionDenied | ErrorKind::Unsupported);
        if error.hint.is_some() || !is_refused || self.context.queries_may_write() {
            return error;
        }
        error.with_hint(HOW_TO_GRANT)
    }

    fn next_batch(&mut self, cursor: &Resource<Cursor>) -> Result<Option<RecordBatch>> {
        let limit = self.shell.limits.query_time;
        let interrupt = self.shell.interrupt.clone();
        let cursor = self.shell.table.get_mut(cursor).map_err(|error| Error::internal(error.to_string()))?;
        let canceller = cursor.reader.canceller();
        interrupt.during(canceller, || {
            loop {
                if interrupt.is_cancelled() {
                    return Err(Error::new(ErrorKind::Cancelled, "The function was cancelled"));
                }
                let left = cursor.deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    let message = format!("The statement took longer than {} s", limit.as_secs_f64());
                    return Err(Error::new(ErrorKind::ResourceExhausted, message)
                        .with_hint("Make it faster, or raise the option `query_seconds`"));
                }
                match block_on(cursor.reader.next(left.min(STEP)))? {
                    Event::Rows(rows) if rows.batch.num_rows() > 0 => return Ok(Some(rows.batch)),
                    Event::End => return Ok(None),
                    Event::Rejected(rejected) => {
                        return Err(Error::new(ErrorKind::InvalidData, rejected.reason));
                    }
                    _ => {}
                }
            }
        })
    }
}

fn failure(error: &Error) -> Failure {
    Failure {
        kind: error.kind.to_string(),
        message: error.to_string(),
        hint: error.hint.clone(),
        retryable: error.kind.is_retryable(),
    }
}

impl wit::Host for Guest {}

impl connection::Host for Guest {
    fn query(
        &mut self,
        statement: connection::Statement,
        values: Vec<Value>,
        encoding: Encoding,
    ) -> wasmtime::Result<Result<Resource<Cursor>, Failure>> {
        let made = self.outside(|guest| guest.query(statement, values, encoding));
        Ok(match made {
            Ok(cursor) => Ok(self.shell.table.push(cursor)?),
            Err(error) => Err(failure(&error)),
        })
    }
}

impl connection::HostCursor for Guest {
    fn next(&mut self, cursor: Resource<Cursor>) -> wasmtime::Result<Result<Option<Batch>, Failure>> {
        let encoding = self.shell.table.get(&cursor)?.encoding;
        let batch = self.outside(|guest| {
            let batch = guest.next_batch(&cursor)?;
            let encoded = batch.map(|batch| match encoding {
                Encoding::Rows => export_rows(&batch).map(Batch::Rows),
                Encoding::Columns => export_columns(&batch).map(Batch::Columns),
                Encoding::ArrowIpc => ipc::export(&batch).map(Batch::ArrowIpc),
            });
            encoded.transpose()
        });
        Ok(batch.map_err(|error| failure(&error)))
    }

    fn drop(&mut self, cursor: Resource<Cursor>) -> wasmtime::Result<()> {
        let cursor = self.shell.table.delete(cursor)?;
        self.outside(|_| std::mem::drop(cursor));
        Ok(())
    }
}

impl log::Host for Guest {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Error => Level::Error,
            log::Level::Warn => Level::Warn,
            log::Level::Info => Level::Info,
            log::Level::Debug => Level::Debug,
            log::Level::Trace => Level::Trace,
        };
        self.shell.budget.log(&self.context, level, message);
        Ok(())
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.shell.wasi()
    }
}
