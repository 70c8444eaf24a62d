//! Which values of a column are null.

use hub_plugin_api::arrow::{array::NullBufferBuilder, buffer::NullBuffer};

/// Marks a value at a time. Values that are not null are only counted until a null comes: most columns have none.
pub(super) struct Nulls {
    marked: NullBufferBuilder,
    /// Values behind the marked ones, none of them null.
    counted: usize,
}

impl Nulls {
    pub(super) fn new() -> Self {
        Self { marked: NullBufferBuilder::new(0), counted: 0 }
    }

    #[inline]
    pub(super) fn append_non_null(&mut self) {
        self.counted += 1;
    }

    pub(super) fn append_null(&mut self) {
        self.mark_counted();
        self.marked.append_null();
    }

    /// Drops all marks but the first `length`.
    pub(super) fn truncate(&mut self, length: usize) {
        self.mark_counted();
        self.marked.truncate(length);
    }

    /// The marks, where there is a null; empty afterwards.
    pub(super) fn finish(&mut self) -> Option<NullBuffer> {
        self.mark_counted();
        self.marked.finish()
    }

    fn mark_counted(&mut self) {
        self.marked.append_n_non_nulls(self.counted);
        self.counted = 0;
    }
}
