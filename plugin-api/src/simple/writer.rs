use async_trait::async_trait;

use crate::{
    Canceller, CommitToken, Error, ErrorKind, Result, Rows, StreamId, StreamSchema, Writer, WriterStart,
};

/// A destination that takes batches, and stores them with a token in one step.
#[async_trait]
pub trait BatchSink: Send {
    /// A stream's shape, before its first rows and before each new shape.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedType`] or [`ErrorKind::SchemaMismatch`].
    async fn schema(&mut self, schema: &StreamSchema) -> Result<()>;

    /// Keeps rows until the next commit: nothing of them may be visible before it.
    ///
    /// # Errors
    /// When the destination fails.
    async fn write(&mut self, rows: Rows) -> Result<()>;

    /// Makes the rows since the last commit, and the token, durable together. The token is known to be the next one.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] when another writer has taken the lane since, and when the destination fails.
    async fn commit(&mut self, token: &CommitToken) -> Result<()>;

    /// Makes a blocked call return; see [`Canceller`].
    fn canceller(&self) -> Canceller {
        Canceller::none()
    }
}

/// A writer made of a [`BatchSink`] whose lane was taken: it lets through only rows whose shape came before, and only
/// the token that follows the last one.
pub fn batch_writer(start: WriterStart, sink: impl BatchSink + 'static) -> Box<dyn Writer> {
    Box::new(BatchWriter { start, sink: Box::new(sink), shapes: Vec::new() })
}

struct BatchWriter {
    start: WriterStart,
    sink: Box<dyn BatchSink>,
    shapes: Vec<(StreamId, u32)>,
}

#[async_trait]
impl Writer for BatchWriter {
    fn start(&self) -> WriterStart {
        self.start.clone()
    }

    async fn schema(&mut self, schema: &StreamSchema) -> Result<()> {
        self.sink.schema(schema).await?;
        self.shapes.retain(|(stream, _)| *stream != schema.stream);
        self.shapes.push((schema.stream.clone(), schema.id));
        Ok(())
    }

    async fn write(&mut self, rows: Rows) -> Result<()> {
        if !self.shapes.iter().any(|(stream, id)| *stream == rows.stream && *id == rows.schema_id) {
            let message = format!("Rows of `{}` came before their schema", rows.stream);
            return Err(Error::new(ErrorKind::Protocol, message));
        }
        self.sink.write(rows).await
    }

    async fn commit(&mut self, token: &CommitToken) -> Result<()> {
        token.check_follows(self.start.last.as_ref())?;
        self.sink.commit(token).await?;
        self.start.last = Some(token.clone());
        Ok(())
    }

    fn canceller(&self) -> Canceller {
        self.sink.canceller()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::{
        Guarantee,
        arrow::array::RecordBatch,
        testing::block_on,
        types::{Column, LogicalType, schema_of},
    };

    /// What was committed: the number of each token, and how many batches came with it.
    #[derive(Default)]
    struct Shelf {
        waiting: usize,
        committed: Arc<Mutex<Vec<(u64, usize)>>>,
    }

    #[async_trait]
    impl BatchSink for Shelf {
        async fn schema(&mut self, _schema: &StreamSchema) -> Result<()> {
            Ok(())
        }

        async fn write(&mut self, _rows: Rows) -> Result<()> {
            self.waiting += 1;
            Ok(())
        }

        async fn commit(&mut self, token: &CommitToken) -> Result<()> {
            self.committed.lock().unwrap().push((token.n, std::mem::take(&mut self.waiting)));
            Ok(())
        }
    }

    fn token(n: u64) -> CommitToken {
        let pipeline = "p".into();
        CommitToken {
            pipeline,
            lane: 0,
            generation: 1,
            run: 1,
            n,
            splits: BTreeMap::new(),
            applied_seq: None,
        }
    }

    #[test]
    fn only_known_shapes_and_the_next_token_come_through() {
        let shelf = Shelf::default();
        let committed = Arc::clone(&shelf.committed);
        let reason = "Tokens lie beside the rows".into();
        let last = Some(token(6));
        let start = WriterStart { last, guarantee: Guarantee::EffectivelyOnce, reason, idempotent: false };
        let mut writer = batch_writer(start, shelf);
        let schema = schema_of(&[Column::new("id", LogicalType::Int64)]);
        let rows = |schema_id| {
            let batch = RecordBatch::new_empty(schema.clone());
            Rows { stream: StreamId::named("t"), schema_id, batch }
        };
        assert_eq!(block_on(writer.write(rows(1))).unwrap_err().kind, ErrorKind::Protocol);
        block_on(writer.schema(&StreamSchema::new(StreamId::named("t"), 1, schema.clone()))).unwrap();
        block_on(writer.write(rows(1))).unwrap();
        assert_eq!(block_on(writer.write(rows(0))).unwrap_err().kind, ErrorKind::Protocol);
        for wrong in [6, 8] {
            assert_eq!(block_on(writer.commit(&token(wrong))).unwrap_err().kind, ErrorKind::TokenConflict);
        }
        block_on(writer.commit(&token(7))).unwrap();
        assert_eq!(writer.start().last, Some(token(7)));
        block_on(writer.commit(&token(8))).unwrap();
        assert_eq!(*committed.lock().unwrap(), [(7, 1), (8, 0)]);
    }
}
