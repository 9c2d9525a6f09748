//! Defaults: what stands in for a null of any reason, offline and online.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, Scalar};
use arrow_buffer::BooleanBuffer;
use arrow_schema::Schema;
use arrow_select::zip::zip;

use crate::block::Cell;
use crate::error::{KernelError, Result};
use crate::values::{Columns, Source};
use crate::wire::Reader;

/// Replaces the nulls of each column that has a default; a default batch has one row and any of the columns.
///
/// # Errors
/// `Invalid` for defaults that are not one row or name an unknown column; `Type` for one of another type.
pub fn apply(batch: &RecordBatch, defaults: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    let chosen = by_column(&schema, defaults)?;
    let fill = |(column, default): (&ArrayRef, Option<ArrayRef>)| -> Result<ArrayRef> {
        let Some(default) = default.filter(|_| column.null_count() > 0) else { return Ok(column.clone()) };
        let nulls = BooleanBuffer::collect_bool(column.len(), |row| column.is_null(row)).into();
        Ok(zip(&nulls, &Scalar::new(default), column)?)
    };
    let columns = batch.columns().iter().zip(chosen).map(fill).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// The default of each field, where there is one that is not null.
fn by_column(schema: &Schema, defaults: &RecordBatch) -> Result<Vec<Option<ArrayRef>>> {
    if defaults.num_rows() != 1 {
        return Err(KernelError::Invalid(format!("defaults are one row, not {}", defaults.num_rows())));
    }
    let mut chosen = vec![None; schema.fields().len()];
    for (field, value) in defaults.schema().fields().iter().zip(defaults.columns()) {
        let name = field.name();
        let unknown = || KernelError::Invalid(format!("there is a default for '{name}', but no such column"));
        let (position, column) = schema.column_with_name(name).ok_or_else(unknown)?;
        if !column.data_type().equals_datatype(value.data_type()) {
            let (found, wanted) = (value.data_type(), column.data_type());
            return Err(KernelError::Type(format!("the default of '{name}' is {found}, but the column is {wanted}")));
        }
        chosen[position] = value.is_valid(0).then(|| value.clone());
    }
    Ok(chosen)
}

/// Defaults as cells of a block, with the bytes that they point into.
#[derive(Clone, Debug, Default)]
pub struct DefaultRow {
    pub cells: Vec<Cell>,
    pub arena: Vec<u8>,
}

impl DefaultRow {
    /// The default of every column; without a batch, none has one.
    pub fn new(columns: &Columns, defaults: Option<&RecordBatch>) -> Result<Self> {
        let mut row = Self { cells: vec![Cell::Null; columns.len()], arena: Vec::new() };
        let Some(defaults) = defaults else { return Ok(row) };
        let chosen = by_column(&columns.schema(), defaults)?;
        for ((column, default), cell) in columns.iter().zip(chosen).zip(&mut row.cells) {
            let Some(default) = default else { continue };
            let mut bytes = Vec::new();
            Source::new(&column.name, Arc::clone(&default))?.put(0, &mut bytes);
            *cell = Cell::store(column.kind.decode(&mut Reader::new(&bytes))?, &mut row.arena);
        }
        Ok(row)
    }
}
