//! Finalized features as values of a block.

use crate::aggregates::value::{LaneType, Value, ValueRef};
use crate::block::RowBuilder;
use crate::error::{KernelError, Result};
use crate::output::{OutputType, Sink};
use crate::values::{Datum, Kind, put_entries};
use crate::wire::{damaged, put_varint};

/// Takes the value of one feature of one row.
pub struct CellSink<'a, 'row> {
    row: &'a mut RowBuilder<'row>,
    column: usize,
    output: OutputType,
    fault: Option<KernelError>,
}

impl<'a, 'row> CellSink<'a, 'row> {
    pub fn new(row: &'a mut RowBuilder<'row>, column: usize, output: OutputType) -> Self {
        Self { row, column, output, fault: None }
    }

    /// # Errors
    /// `Corrupt` if the value is text that is not UTF-8.
    pub fn finish(self) -> Result<()> {
        self.fault.map_or(Ok(()), Err)
    }
}

fn datum(lane: LaneType, value: ValueRef<'_>) -> Result<Datum<'_>> {
    Ok(match (lane, value) {
        (LaneType::Bool, ValueRef::Int(value)) => Datum::Bool(value != 0),
        (LaneType::Date32, ValueRef::Int(value)) if i32::try_from(value).is_err() => {
            return Err(damaged("a date is out of range"));
        }
        (_, ValueRef::Int(value)) => Datum::Int(value),
        (_, ValueRef::Float(value)) => Datum::Float(value),
        (_, ValueRef::Decimal(value)) => Datum::Decimal(value),
        (LaneType::Utf8, ValueRef::Bytes(bytes)) if std::str::from_utf8(bytes).is_err() => {
            return Err(damaged("a string is not UTF-8"));
        }
        (_, ValueRef::Bytes(bytes)) => Datum::Bytes(bytes),
    })
}

impl Sink for CellSink<'_, '_> {
    fn push_null(&mut self) {}

    #[inline]
    fn push_float(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.row.set(self.column, Datum::Float(value));
        }
    }

    #[inline]
    fn push_int(&mut self, value: i64) {
        self.row.set(self.column, Datum::Int(value));
    }

    fn push_decimal(&mut self, value: i128) {
        self.row.set(self.column, Datum::Decimal(value));
    }

    #[inline]
    fn push_value(&mut self, value: Option<ValueRef<'_>>) {
        let Some(value) = value else { return };
        let OutputType::Scalar(lane) = self.output else { unreachable!("a single value for a feature of many") };
        match datum(lane, value) {
            Ok(datum) => self.row.set(self.column, datum),
            Err(fault) => self.fault = Some(fault),
        }
    }

    fn push_list<'v>(&mut self, items: impl Iterator<Item = ValueRef<'v>>) -> Result<()> {
        let OutputType::List(lane) = self.output else { unreachable!("a list for a feature of single values") };
        let kind = Kind::of("item", &lane.to_arrow())?;
        let items = items.map(|item| datum(lane, item)).collect::<Result<Vec<_>>>()?;
        let mut bytes = Vec::new();
        put_varint(&mut bytes, items.len() as u128);
        bytes.resize(bytes.len() + items.len().div_ceil(8), 0);
        items.into_iter().for_each(|item| kind.encode(&mut bytes, item));
        self.row.set(self.column, Datum::List(&bytes));
        Ok(())
    }

    fn push_map(&mut self, entries: &[(ValueRef<'_>, Option<Value>)]) -> Result<()> {
        let OutputType::Map { key, value } = self.output else { unreachable!("a map for a feature of another kind") };
        let kinds = (Kind::of("key", &key.to_arrow())?, Kind::of("value", &value.to_arrow())?);
        let mut bytes = Vec::new();
        let typed = entries.iter().map(|(its_key, its_value)| {
            let its_value = its_value.as_ref().map(|v| datum(value, v.as_ref())).transpose()?;
            Ok((datum(key, *its_key)?, its_value))
        });
        put_entries(&mut bytes, (&kinds.0, &kinds.1), &typed.collect::<Result<Vec<_>>>()?);
        self.row.set(self.column, Datum::List(&bytes));
        Ok(())
    }
}
