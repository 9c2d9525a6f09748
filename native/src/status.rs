//! Why a value is what it is: the statuses, and the one rule that gives a value its status from its row's.

use arrow_array::cast::AsArray;
use arrow_array::types::UInt8Type;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt8Array};
use arrow_schema::{DataType, Field, Schema};
use std::sync::Arc;

use crate::error::{KernelError, Result};

pub const PRESENT: u8 = 0;
pub const NULL: u8 = 1;
pub const MISSING: u8 = 2;
pub const EXPIRED: u8 = 3;
pub const STALE: u8 = 4;
pub const ERROR: u8 = 5;

/// The names of the statuses, by number.
pub const NAMES: [&str; 6] = ["present", "null", "missing", "expired", "stale", "error"];

/// The status of a value: its row's, unless the row is present and the value is null.
#[inline]
pub fn of_value(row: u8, is_null: bool) -> u8 {
    if row == PRESENT && is_null { NULL } else { row }
}

/// The status of every value of a batch (before defaults) whose rows have the given statuses; columns keep their names.
///
/// # Errors
/// `Type` or `Invalid` for row statuses that are no uint8, are null, unknown or not one per row.
pub fn of_batch(batch: &RecordBatch, rows: &ArrayRef) -> Result<RecordBatch> {
    let rows = row_statuses(rows, batch.num_rows())?;
    let statuses = |column: &ArrayRef| -> ArrayRef {
        let values = rows.values().iter().enumerate().map(|(i, row)| of_value(*row, column.is_null(i)));
        Arc::new(UInt8Array::from_iter_values(values))
    };
    let schema = batch.schema();
    let fields: Vec<_> = schema.fields().iter().map(|f| Field::new(f.name(), DataType::UInt8, false)).collect();
    let columns = batch.columns().iter().map(statuses).collect();
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

/// Row statuses as the kernel reads them: uint8, no nulls, one per row, each of them known.
pub fn row_statuses(rows: &ArrayRef, expected: usize) -> Result<&UInt8Array> {
    let typed = rows.as_primitive_opt::<UInt8Type>();
    let typed = typed.ok_or_else(|| KernelError::Type(format!("row statuses are {}, not uint8", rows.data_type())))?;
    if typed.len() != expected || typed.null_count() > 0 {
        return Err(KernelError::Invalid(format!("{expected} rows need {expected} row statuses without nulls")));
    }
    match typed.values().iter().find(|status| **status > ERROR) {
        Some(status) => Err(KernelError::Invalid(format!("{status} is no status; they go from 0 to {ERROR}"))),
        None => Ok(typed),
    }
}
