//! The result of an online read of one view: the values, statuses and event times of n keys, row by row.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{
    Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt8Array,
};
use arrow_schema::{DataType, Field, Schema};

use crate::defaults::DefaultRow;
use crate::error::{KernelError, Result};
use crate::status;
use crate::values::{Columns, Datum, Source, to_array};
use crate::wire::Reader;

/// Set in a mark, beside the status, where the value is the default.
const DEFAULTED: u8 = 0x80;

/// One value of a block; bytes and lists point into the block's arena.
#[derive(Clone, Copy, Debug)]
pub enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Decimal([u8; 16]),
    Bytes { start: u32, end: u32 },
    List { start: u32, end: u32 },
}

impl Cell {
    /// The cell of a value, whose bytes go into the arena.
    #[inline]
    pub fn store(datum: Datum<'_>, arena: &mut Vec<u8>) -> Self {
        let mut keep = |bytes: &[u8]| {
            let start = arena.len() as u32;
            arena.extend_from_slice(bytes);
            (start, arena.len() as u32)
        };
        match datum {
            Datum::Bool(value) => Self::Bool(value),
            Datum::Int(value) => Self::Int(value),
            Datum::Float(value) => Self::Float(value),
            Datum::Decimal(value) => Self::Decimal(value.to_le_bytes()),
            Datum::Bytes(bytes) => {
                let (start, end) = keep(bytes);
                Self::Bytes { start, end }
            }
            Datum::List(bytes) => {
                let (start, end) = keep(bytes);
                Self::List { start, end }
            }
        }
    }

    #[inline]
    fn load(self, arena: &[u8]) -> Option<Datum<'_>> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(value) => Datum::Bool(value),
            Self::Int(value) => Datum::Int(value),
            Self::Float(value) => Datum::Float(value),
            Self::Decimal(value) => Datum::Decimal(i128::from_le_bytes(value)),
            Self::Bytes { start, end } => Datum::Bytes(&arena[start as usize..end as usize]),
            Self::List { start, end } => Datum::List(&arena[start as usize..end as usize]),
        })
    }
}

/// The values of one view for n keys, in the order of the keys.
#[derive(Clone, Debug)]
pub struct Block {
    columns: Arc<Columns>,
    cells: Vec<Cell>,
    marks: Vec<u8>,
    arena: Vec<u8>,
    event_times: Vec<Option<i64>>,
}

impl Block {
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    pub fn rows(&self) -> usize {
        self.event_times.len()
    }

    /// The value after defaults.
    #[inline]
    pub fn value(&self, row: usize, column: usize) -> Option<Datum<'_>> {
        self.cells[row * self.columns.len() + column].load(&self.arena)
    }

    /// The value before defaults.
    pub fn known(&self, row: usize, column: usize) -> Option<Datum<'_>> {
        let defaulted = self.marks[row * self.columns.len() + column] & DEFAULTED != 0;
        if defaulted { None } else { self.value(row, column) }
    }

    #[inline]
    pub fn status(&self, row: usize, column: usize) -> u8 {
        self.marks[row * self.columns.len() + column] & !DEFAULTED
    }

    #[inline]
    pub fn event_time(&self, row: usize) -> Option<i64> {
        self.event_times[row]
    }

    /// The same block from a view that is older than its freshness objective: whatever it says is stale, since what is
    /// missing or expired in it may be there by now, too.
    pub fn stale(&self) -> Self {
        let mut block = self.clone();
        for mark in &mut block.marks {
            if *mark & !DEFAULTED != status::ERROR {
                *mark = (*mark & DEFAULTED) | status::STALE;
            }
        }
        block
    }

    /// One column as an Arrow array, after defaults or as known.
    pub fn array(&self, column: usize, defaults: bool) -> Result<ArrayRef> {
        let value = |row| if defaults { self.value(row, column) } else { self.known(row, column) };
        to_array(&self.columns[column].data_type, (0..self.rows()).map(value))
    }

    /// All columns as Arrow, after defaults or as known.
    pub fn batch(&self, defaults: bool) -> Result<RecordBatch> {
        let columns = (0..self.columns.len()).map(|column| self.array(column, defaults)).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows()));
        Ok(RecordBatch::try_new_with_options(self.columns.schema(), columns, &options)?)
    }

    /// The status of every value, uint8, under the names of the columns.
    pub fn status_batch(&self) -> Result<RecordBatch> {
        let (fields, columns): (Vec<_>, Vec<ArrayRef>) = (0..self.columns.len())
            .map(|column| {
                let statuses = UInt8Array::from_iter_values((0..self.rows()).map(|row| self.status(row, column)));
                let field = Field::new(&self.columns[column].name, DataType::UInt8, false);
                (field, Arc::new(statuses) as ArrayRef)
            })
            .unzip();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows()));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
    }

    /// The event times as timestamps.
    pub fn event_time_array(&self) -> TimestampMicrosecondArray {
        TimestampMicrosecondArray::from(self.event_times.clone()).with_timezone("UTC")
    }

    /// A block of columns computed elsewhere. Without row statuses every row is present, without event times none has one.
    pub fn from_batch(batch: &RecordBatch, rows: Option<&ArrayRef>, times: Option<&ArrayRef>) -> Result<Self> {
        let columns = Arc::new(Columns::new(&batch.schema())?);
        let rows = rows.map(|rows| status::row_statuses(rows, batch.num_rows())).transpose()?;
        let times = times.map(|times| event_times(times, batch.num_rows())).transpose()?;
        let names = columns.iter().map(|column| column.name.as_str());
        let sources: Vec<_> =
            names.zip(batch.columns()).map(|(name, array)| Source::new(name, array.clone())).collect::<Result<_>>()?;
        let none = DefaultRow::new(&columns, None)?;
        let mut block = BlockBuilder::new(&columns, &none, batch.num_rows());
        let mut bytes = Vec::new();
        for row in 0..batch.num_rows() {
            let time = times.and_then(|times| times.is_valid(row).then(|| times.value(row)));
            let mut out = block.row(rows.map_or(status::PRESENT, |rows| rows.value(row)), time);
            for (i, source) in sources.iter().enumerate().filter(|(_, source)| !source.is_null(row)) {
                bytes.clear();
                source.put(row, &mut bytes);
                out.set(i, columns[i].kind.decode(&mut Reader::new(&bytes))?);
            }
        }
        block.finish()
    }
}

fn event_times(times: &ArrayRef, rows: usize) -> Result<&Int64Array> {
    let wrong = || KernelError::Type("event times are an int64 array with one entry per row".into());
    times.as_primitive_opt::<Int64Type>().filter(|times| times.len() == rows).ok_or_else(wrong)
}

/// Fills a block row by row, and each row value by value, replacing nulls by defaults.
pub struct BlockBuilder<'a> {
    defaults: &'a DefaultRow,
    block: Block,
}

impl<'a> BlockBuilder<'a> {
    pub fn new(columns: &Arc<Columns>, defaults: &'a DefaultRow, rows: usize) -> Self {
        let values = rows * columns.len();
        let block = Block {
            columns: columns.clone(),
            cells: Vec::with_capacity(values),
            marks: Vec::with_capacity(values),
            arena: defaults.arena.clone(),
            event_times: Vec::with_capacity(rows),
        };
        Self { defaults, block }
    }

    /// Begins a row of the given status; what is not set in it stays null, or its default.
    #[inline]
    pub fn row(&mut self, status: u8, event_time: Option<i64>) -> RowBuilder<'_> {
        let block = &mut self.block;
        let start = block.cells.len();
        block.cells.extend_from_slice(&self.defaults.cells);
        block.marks.extend(
            self.defaults.cells.iter().map(|default| {
                status::of_value(status, true) | if matches!(default, Cell::Null) { 0 } else { DEFAULTED }
            }),
        );
        block.event_times.push(event_time);
        RowBuilder {
            cells: &mut block.cells[start..],
            marks: &mut block.marks[start..],
            arena: &mut block.arena,
            status,
        }
    }

    /// A row without values: missing, expired or failed.
    pub fn empty_row(&mut self, status: u8, event_time: Option<i64>) {
        self.row(status, event_time);
    }

    /// # Errors
    /// `Invalid` if strings and lists pass 4 GiB.
    pub fn finish(self) -> Result<Block> {
        if u32::try_from(self.block.arena.len()).is_err() {
            return Err(KernelError::Invalid("one read returns more than 4 GiB; read fewer keys at a time".into()));
        }
        Ok(self.block)
    }
}

/// One row in the making.
pub struct RowBuilder<'a> {
    cells: &'a mut [Cell],
    marks: &'a mut [u8],
    arena: &'a mut Vec<u8>,
    status: u8,
}

impl RowBuilder<'_> {
    /// Gives a column a value that is not null; each column at most once.
    #[inline]
    pub fn set(&mut self, column: usize, value: Datum<'_>) {
        self.cells[column] = Cell::store(value, self.arena);
        self.marks[column] = status::of_value(self.status, false);
    }
}
