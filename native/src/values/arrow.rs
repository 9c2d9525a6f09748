//! Builds Arrow columns from stored values.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, BooleanBuilder, PrimitiveBuilder, StringBuilder};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, DurationMicrosecondType, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type,
    UInt32Type,
};
use arrow_array::{ArrayRef, FixedSizeListArray, ListArray, MapArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field};

use super::kind::{Datum, Kind, list_items, map_entries};
use crate::error::{KernelError, Result};
use crate::wire::damaged;

/// An Arrow array of `data_type` from values of its kind, None being null.
///
/// # Errors
/// `Corrupt` for a value that does not fit the type, `Type` for a type that cannot be stored.
pub fn to_array<'a>(data_type: &DataType, values: impl Iterator<Item = Option<Datum<'a>>>) -> Result<ArrayRef> {
    match data_type {
        DataType::Boolean => {
            let mut out = BooleanBuilder::new();
            for value in values {
                out.append_option(value.map(|value| matches!(value, Datum::Bool(true))));
            }
            Ok(Arc::new(out.finish()))
        }
        DataType::Int8 => ints::<Int8Type>(data_type, values),
        DataType::Int16 => ints::<Int16Type>(data_type, values),
        DataType::Int32 => ints::<Int32Type>(data_type, values),
        DataType::Int64 => ints::<Int64Type>(data_type, values),
        DataType::UInt8 => ints::<UInt8Type>(data_type, values),
        DataType::UInt16 => ints::<UInt16Type>(data_type, values),
        DataType::UInt32 => ints::<UInt32Type>(data_type, values),
        DataType::Date32 => ints::<Date32Type>(data_type, values),
        DataType::Timestamp(_, _) => ints::<TimestampMicrosecondType>(data_type, values),
        DataType::Duration(_) => ints::<DurationMicrosecondType>(data_type, values),
        DataType::Time64(_) => ints::<Time64MicrosecondType>(data_type, values),
        DataType::Float32 => primitive::<Float32Type>(data_type, values, |value| match value {
            Datum::Float(value) => Some(value as f32),
            _ => None,
        }),
        DataType::Float64 => primitive::<Float64Type>(data_type, values, |value| match value {
            Datum::Float(value) => Some(value),
            _ => None,
        }),
        DataType::Decimal128(_, _) => primitive::<Decimal128Type>(data_type, values, |value| match value {
            Datum::Decimal(value) => Some(value),
            _ => None,
        }),
        DataType::Utf8 => {
            let mut out = StringBuilder::new();
            for value in values {
                let text = value.map(|value| std::str::from_utf8(bytes(value)).map_err(|_| unfit(data_type)));
                out.append_option(text.transpose()?);
            }
            Ok(Arc::new(out.finish()))
        }
        DataType::Binary => {
            let mut out = BinaryBuilder::new();
            values.for_each(|value| out.append_option(value.map(bytes)));
            Ok(Arc::new(out.finish()))
        }
        DataType::List(item) => list(item, values),
        DataType::Map(entries, _) => maps(entries, values),
        DataType::FixedSizeList(item, size) => vectors(item, *size, values),
        other => Err(KernelError::Type(format!("values of type {other} cannot be stored"))),
    }
}

fn bytes(value: Datum<'_>) -> &[u8] {
    match value {
        Datum::Bytes(bytes) => bytes,
        _ => &[],
    }
}

fn unfit(data_type: &DataType) -> KernelError {
    damaged(&format!("a value does not fit {data_type}"))
}

fn ints<'a, T: ArrowPrimitiveType<Native: TryFrom<i64>>>(
    data_type: &DataType,
    values: impl Iterator<Item = Option<Datum<'a>>>,
) -> Result<ArrayRef> {
    primitive::<T>(data_type, values, |value| match value {
        Datum::Int(value) => value.try_into().ok(),
        _ => None,
    })
}

fn primitive<'a, T: ArrowPrimitiveType>(
    data_type: &DataType,
    values: impl Iterator<Item = Option<Datum<'a>>>,
    native: impl Fn(Datum<'a>) -> Option<T::Native>,
) -> Result<ArrayRef> {
    let mut out = PrimitiveBuilder::<T>::new();
    for value in values {
        out.append_option(value.map(|value| native(value).ok_or_else(|| unfit(data_type))).transpose()?);
    }
    Ok(Arc::new(out.finish().with_data_type(data_type.clone())))
}

fn list<'a>(item: &Arc<Field>, values: impl Iterator<Item = Option<Datum<'a>>>) -> Result<ArrayRef> {
    let kind = Kind::of(item.name(), item.data_type())?;
    let (mut items, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for value in values {
        let before = items.len();
        if let Some(Datum::List(bytes)) = value {
            items.extend(list_items(&kind, bytes)?.collect::<Result<Vec<_>>>()?);
        }
        lengths.push(items.len() - before);
        valid.push(value.is_some());
    }
    let items = to_array(item.data_type(), items.into_iter())?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(item.clone(), offsets, items, Some(NullBuffer::from(valid)))?))
}

fn maps<'a>(field: &Arc<Field>, values: impl Iterator<Item = Option<Datum<'a>>>) -> Result<ArrayRef> {
    let whole = DataType::Map(field.clone(), false);
    let (DataType::Struct(fields), Kind::Map(kinds)) = (field.data_type(), Kind::of(field.name(), &whole)?) else {
        return Err(unfit(&whole));
    };
    let (mut keys, mut items, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for value in values {
        let before = keys.len();
        if let Some(Datum::List(bytes)) = value {
            for entry in map_entries(&kinds, bytes)? {
                let (key, item) = entry?;
                keys.push(Some(key));
                items.push(item);
            }
        }
        lengths.push(keys.len() - before);
        valid.push(value.is_some());
    }
    let columns =
        vec![to_array(fields[0].data_type(), keys.into_iter())?, to_array(fields[1].data_type(), items.into_iter())?];
    let entries = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(MapArray::try_new(field.clone(), offsets, entries, Some(NullBuffer::from(valid)), false)?))
}

fn vectors<'a>(item: &Arc<Field>, size: i32, values: impl Iterator<Item = Option<Datum<'a>>>) -> Result<ArrayRef> {
    let kind = Kind::of(item.name(), item.data_type())?;
    let (mut items, mut valid) = (Vec::new(), Vec::new());
    for value in values {
        let before = items.len();
        if let Some(Datum::List(bytes)) = value {
            items.extend(list_items(&kind, bytes)?.collect::<Result<Vec<_>>>()?);
        } else {
            items.resize(before + size as usize, None);
        }
        if items.len() - before != size as usize {
            return Err(damaged(&format!("a vector has {} items, not {size}", items.len() - before)));
        }
        valid.push(value.is_some());
    }
    let (rows, items) = (valid.len(), to_array(item.data_type(), items.into_iter())?);
    let nulls = Some(NullBuffer::from(valid));
    Ok(Arc::new(FixedSizeListArray::try_new_with_length(item.clone(), size, items, nulls, rows)?))
}
