//! A row's values as bound parameters.

use bytes::{BufMut as _, BytesMut};
use hub_plugin_api::{Error, ErrorKind, Result, arrow::array::RecordBatch};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use super::settle::reason;
use crate::wire::{encode::BoundRows, encode_plan::ColumnPlan};

/// A value in the form in which it goes over the wire.
#[derive(Clone, Debug)]
pub(super) struct BoundValue {
    bytes: Option<Vec<u8>>,
    as_text: bool,
}

impl ToSql for BoundValue {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match &self.bytes {
            Some(bytes) => {
                out.put_slice(bytes);
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    /// The statement's own types were asked for when the value was planned.
    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        if self.as_text { Format::Text } else { Format::Binary }
    }

    to_sql_checked!();
}

/// A row's values, in the order of its plan.
#[derive(Clone, Debug, Default)]
pub(super) struct BoundRow(Vec<BoundValue>);

impl BoundRow {
    /// Binds a row.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] for a value that does not fit.
    pub(super) fn new(plans: &[ColumnPlan], batch: &RecordBatch, row: usize) -> Result<Self> {
        Self::of(&BoundRows::bind(plans, batch)?, plans, row)
    }

    /// Binds a row of a batch that is bound to its plan.
    ///
    /// # Errors
    /// As [`BoundRow::new`].
    pub(super) fn of(bound: &BoundRows<'_>, plans: &[ColumnPlan], row: usize) -> Result<Self> {
        let mut values = Vec::with_capacity(plans.len());
        for column in 0..plans.len() {
            let mut bytes = Vec::new();
            bound
                .put_value(column, row, &mut bytes)
                .map_err(|error| Error::new(ErrorKind::InvalidData, reason(plans, error)))?;
            let value = (bytes[..4] != (-1_i32).to_be_bytes()).then(|| bytes.split_off(4));
            values.push(BoundValue { bytes: value, as_text: false });
        }
        Ok(Self(values))
    }

    /// The same values, those that the server casts from text in text form.
    #[must_use]
    pub(super) fn cast_by_server(mut self, plans: &[ColumnPlan]) -> Self {
        for (value, plan) in self.0.iter_mut().zip(plans) {
            value.as_text = plan.via_text.is_some();
        }
        self
    }

    /// These values and then others.
    #[must_use]
    pub(super) fn with(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).cloned().collect())
    }

    /// For the driver.
    pub(super) fn parameters(&self) -> &[BoundValue] {
        &self.0
    }
}
