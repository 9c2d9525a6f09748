//! Reads values out of Arrow columns, one row at a time, as stored bytes.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, DurationMicrosecondType, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type,
    UInt32Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::kind::{Datum, Kind, put_entries};
use crate::error::Result;
use crate::wire::{put_bytes, put_varint};

/// One Arrow column and the kind its values are stored as.
pub struct Source {
    kind: Kind,
    array: ArrayRef,
    items: Option<Box<Source>>,
    /// Of a map: its keys and values.
    entries: Option<Box<(Source, Source)>>,
}

impl Source {
    /// # Errors
    /// `Type`, naming the column, for a type that cannot be stored.
    pub fn new(name: &str, array: ArrayRef) -> Result<Self> {
        let kind = Kind::of(name, array.data_type())?;
        let items = match array.data_type() {
            DataType::List(_) => Some(array.as_list::<i32>().values().clone()),
            DataType::FixedSizeList(_, _) => Some(array.as_fixed_size_list().values().clone()),
            _ => None,
        };
        let items = items.map(|items| Self::new(name, items).map(Box::new)).transpose()?;
        let entries = match array.data_type() {
            DataType::Map(_, _) => {
                let map = array.as_map();
                let (keys, values) = (map.keys().clone(), map.values().clone());
                Some(Box::new((Self::new(name, keys)?, Self::new(name, values)?)))
            }
            _ => None,
        };
        Ok(Self { kind, array, items, entries })
    }

    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether a row is null. A NaN is a value here: only aggregates ignore it.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    /// Appends the bytes of a row that is not null.
    pub fn put(&self, row: usize, out: &mut Vec<u8>) {
        match (&self.items, &self.entries) {
            (Some(items), _) => self.put_list(items, row, out),
            (_, Some(entries)) => self.put_map(entries, row, out),
            _ => self.kind.encode(out, self.datum(row)),
        }
    }

    fn put_list(&self, items: &Source, row: usize, out: &mut Vec<u8>) {
        let (start, end) = match self.array.data_type() {
            DataType::FixedSizeList(_, _) => {
                let list = self.array.as_fixed_size_list();
                let start = list.value_offset_at(row);
                (start, start + list.value_length() as usize)
            }
            _ => {
                let offsets = self.array.as_list::<i32>().value_offsets();
                (offsets[row] as usize, offsets[row + 1] as usize)
            }
        };
        let mut list = Vec::with_capacity((end - start) * 9 + 8);
        put_varint(&mut list, (end - start) as u128);
        let nulls = list.len();
        list.resize(nulls + (end - start).div_ceil(8), 0);
        for (i, item) in (start..end).enumerate() {
            if items.is_null(item) {
                list[nulls + i / 8] |= 1 << (i % 8);
            } else {
                items.put(item, &mut list);
            }
        }
        put_bytes(out, &list);
    }

    fn put_map(&self, (keys, values): &(Source, Source), row: usize, out: &mut Vec<u8>) {
        let offsets = self.array.as_map().value_offsets();
        let range = offsets[row] as usize..offsets[row + 1] as usize;
        let value = |i: usize| (!values.is_null(i)).then(|| values.datum(i));
        let entries: Vec<_> = range.map(|i| (keys.datum(i), value(i))).collect();
        let mut map = Vec::new();
        put_entries(&mut map, (&keys.kind, &values.kind), &entries);
        put_bytes(out, &map);
    }

    fn datum(&self, row: usize) -> Datum<'_> {
        match self.array.data_type() {
            DataType::Boolean => Datum::Bool(self.array.as_boolean().value(row)),
            DataType::Int8 => self.int::<Int8Type>(row),
            DataType::Int16 => self.int::<Int16Type>(row),
            DataType::Int32 => self.int::<Int32Type>(row),
            DataType::Int64 => self.int::<Int64Type>(row),
            DataType::UInt8 => self.int::<UInt8Type>(row),
            DataType::UInt16 => self.int::<UInt16Type>(row),
            DataType::UInt32 => self.int::<UInt32Type>(row),
            DataType::Date32 => self.int::<Date32Type>(row),
            DataType::Timestamp(_, _) => self.int::<TimestampMicrosecondType>(row),
            DataType::Duration(_) => self.int::<DurationMicrosecondType>(row),
            DataType::Time64(_) => self.int::<Time64MicrosecondType>(row),
            DataType::Float32 => Datum::Float(self.array.as_primitive::<Float32Type>().value(row).into()),
            DataType::Float64 => Datum::Float(self.array.as_primitive::<Float64Type>().value(row)),
            DataType::Decimal128(_, _) => Datum::Decimal(self.array.as_primitive::<Decimal128Type>().value(row)),
            DataType::Utf8 => Datum::Bytes(self.array.as_string::<i32>().value(row).as_bytes()),
            DataType::Binary => Datum::Bytes(self.array.as_binary::<i32>().value(row)),
            other => unreachable!("{other} has no stored kind, so there is no source of it"),
        }
    }

    #[inline]
    fn int<T: ArrowPrimitiveType<Native: Into<i64>>>(&self, row: usize) -> Datum<'_> {
        Datum::Int(self.array.as_primitive::<T>().value(row).into())
    }
}
