//! State views online: one packed value per entity that holds its newest row, and later ones that wait for their time.

mod build;
mod format;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;

pub use build::SourceRows;

use crate::block::{Block, BlockBuilder};
use crate::defaults::DefaultRow;
use crate::error::{KernelError, Result};
use crate::status;
use crate::values::Columns;
use format::{Version, versions};

/// What is needed to pack and read the rows of one state view.
pub struct RowPlan {
    columns: Arc<Columns>,
    ttl_us: Option<i64>,
    defaults: DefaultRow,
}

impl RowPlan {
    /// # Errors
    /// `Type` for a column that cannot be stored; `Invalid` for a negative ttl or defaults of unknown columns.
    pub fn new(schema: &Schema, ttl_us: Option<i64>, defaults: Option<&RecordBatch>) -> Result<Self> {
        if let Some(ttl) = ttl_us.filter(|ttl| *ttl < 0) {
            return Err(KernelError::Invalid(format!("a ttl cannot be negative, but this one is {ttl} us")));
        }
        let columns = Arc::new(Columns::new(schema)?);
        let defaults = DefaultRow::new(&columns, defaults)?;
        Ok(Self { columns, ttl_us, defaults })
    }

    /// The answers at `instant` from the packed values of n keys; None is a key without a value.
    ///
    /// # Errors
    /// `Corrupt` for bytes that this plan did not write.
    pub fn read<'a>(&self, values: impl ExactSizeIterator<Item = Option<&'a [u8]>>, instant: i64) -> Result<Block> {
        let mut block = BlockBuilder::new(&self.columns, &self.defaults, values.len());
        for value in values {
            match value {
                Some(bytes) => self.read_value(bytes, instant, &mut block)?,
                None => block.empty_row(status::MISSING, None),
            }
        }
        block.finish()
    }

    fn read_value(&self, bytes: &[u8], instant: i64, block: &mut BlockBuilder<'_>) -> Result<()> {
        for version in versions(bytes, &self.columns)? {
            let version = version?;
            if version.event_time <= instant && version.available_at <= instant {
                return self.read_version(&version, instant, block);
            }
        }
        block.empty_row(status::MISSING, None);
        Ok(())
    }

    fn read_version(&self, version: &Version<'_>, instant: i64, block: &mut BlockBuilder<'_>) -> Result<()> {
        let event_time = version.event_time;
        if version.deleted {
            block.empty_row(status::MISSING, None);
        } else if self.ttl_us.is_some_and(|ttl| instant.saturating_sub(event_time) > ttl) {
            block.empty_row(status::EXPIRED, Some(event_time));
        } else {
            version.values(&self.columns, &mut block.row(status::PRESENT, Some(event_time)))?;
        }
        Ok(())
    }

    /// The block of a read that failed: every value null or its default, with status `error`.
    pub fn failed(&self, rows: usize) -> Result<Block> {
        let mut block = BlockBuilder::new(&self.columns, &self.defaults, rows);
        (0..rows).for_each(|_| block.empty_row(status::ERROR, None));
        block.finish()
    }
}

#[cfg(test)]
mod tests;
