use std::sync::{Arc, Mutex, PoisonError};

use hub_plugin_api::{
    Canceller, CommitToken, FlushReport, Guarantee, Result, Rows, StreamId, StreamSchema, WriteMode, Writer,
    WriterRequest, WriterStart, async_trait,
};

use super::state::State;
use crate::{config::ConnectionConfig, connection::join, database::Interrupt};

/// Writes one lane. SQLite's calls block, so each runs on a thread for blocking work.
pub struct SqliteWriter {
    start: WriterStart,
    state: Arc<Mutex<State>>,
    interrupt: Arc<Interrupt>,
}

impl SqliteWriter {
    /// Opens the file and takes the lane.
    ///
    /// # Errors
    /// When the options do not fit, or the file cannot be written.
    pub fn open(config: &ConnectionConfig, request: &WriterRequest) -> Result<Self> {
        let interrupt = Arc::new(Interrupt::default());
        let state = State::open(config, request, Arc::clone(&interrupt))?;
        let start = WriterStart {
            last: state.lane.last.clone(),
            guarantee: Guarantee::EffectivelyOnce,
            reason: "Rows and commit token are stored in one transaction".into(),
            idempotent: matches!(
                state.mode(),
                WriteMode::Upsert | WriteMode::Replace | WriteMode::ApplyChanges
            ),
        };
        Ok(Self { start, state: Arc::new(Mutex::new(state)), interrupt })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let state = Arc::clone(&self.state);
        join(tokio::task::spawn_blocking(move || {
            work(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
        }))
        .await
    }
}

#[async_trait]
impl Writer for SqliteWriter {
    fn start(&self) -> WriterStart {
        self.start.clone()
    }

    async fn schema(&mut self, schema: &StreamSchema) -> Result<()> {
        let schema = schema.clone();
        self.blocking(move |state| state.schema(&schema)).await
    }

    async fn write(&mut self, rows: Rows) -> Result<()> {
        self.blocking(move |state| state.write(&rows)).await
    }

    async fn truncate(&mut self, streams: &[StreamId]) -> Result<()> {
        let streams = streams.to_vec();
        self.blocking(move |state| state.truncate(&streams)).await
    }

    async fn flush(&mut self) -> Result<FlushReport> {
        self.blocking(|state| Ok(state.flush())).await
    }

    async fn commit(&mut self, token: &CommitToken) -> Result<()> {
        let token = token.clone();
        self.blocking(move |state| state.commit(&token)).await
    }

    async fn finish(&mut self, token: &CommitToken) -> Result<()> {
        let token = token.clone();
        self.blocking(move |state| state.finish(&token)).await
    }

    fn canceller(&self) -> Canceller {
        let interrupt = Arc::clone(&self.interrupt);
        Canceller::new(move || interrupt.cancel())
    }
}

impl Drop for SqliteWriter {
    /// A call that was given up may still run: it stops, and its connection rolls back when it closes. Where none runs,
    /// the connection is not interrupted: SQLite would close it without moving its log into the file, and whoever then
    /// copies the file alone has nothing of what was written.
    fn drop(&mut self) {
        let idle = self.state.try_lock();
        if idle.is_ok() {
            self.interrupt.refuse();
        } else {
            self.interrupt.cancel();
        }
    }
}
