//! The types of stored feature values and the bytes of one value.
//!
//! Integers and times are zigzag varints, floats little-endian, bytes and lists length-prefixed. A list holds its item
//! count, one null bit per item, then the items that are not null. A map holds its entry count, one null bit per entry,
//! then per entry its key and, where it is not null, its value. Nulls outside lists are the container's business.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::error::{KernelError, Result};
use crate::wire::{Reader, damaged, put_bytes, put_signed, put_varint};

/// The type of a stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Float32,
    Float64,
    Decimal {
        scale: i8,
    },
    Utf8,
    Binary,
    Date,
    Timestamp,
    Duration,
    Time,
    List(Box<Kind>),
    /// Of keys to values; keys are never null.
    Map(Box<(Kind, Kind)>),
}

/// One value, borrowed. Times are microseconds, dates days since the epoch; a list or a map is its
/// encoded items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Datum<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Decimal(i128),
    Bytes(&'a [u8]),
    List(&'a [u8]),
}

impl Kind {
    /// # Errors
    /// `Type`, naming the column, for a type that cannot be stored.
    pub fn of(name: &str, data_type: &DataType) -> Result<Self> {
        let kind = match data_type {
            DataType::List(item) | DataType::FixedSizeList(item, _) => {
                Self::scalar(item.data_type()).map(|item| Self::List(Box::new(item)))
            }
            DataType::Map(entries, _) => Self::map(entries.data_type()),
            other => Self::scalar(other),
        };
        kind.ok_or_else(|| {
            KernelError::Type(format!(
                "Column '{name}' has type {data_type}, which cannot be stored. Cast it to bool, int8 to int64, uint8 to \
                 uint32, float32, float64, decimal128, string, binary, date32, timestamp(us, UTC), duration(us), \
                 time64(us), or a list or map of one of these."
            ))
        })
    }

    fn map(entries: &DataType) -> Option<Self> {
        let DataType::Struct(fields) = entries else { return None };
        let [key, value] = fields.as_ref() else { return None };
        Some(Self::Map(Box::new((Self::scalar(key.data_type())?, Self::scalar(value.data_type())?))))
    }

    fn scalar(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Self::Int,
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => Self::Int,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Decimal128(_, scale) if *scale >= 0 => Self::Decimal { scale: *scale },
            DataType::Utf8 => Self::Utf8,
            DataType::Binary => Self::Binary,
            DataType::Date32 => Self::Date,
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => Self::Timestamp,
            DataType::Duration(TimeUnit::Microsecond) => Self::Duration,
            DataType::Time64(TimeUnit::Microsecond) => Self::Time,
            _ => return None,
        })
    }

    /// A number that changes whenever stored bytes of this type change their meaning.
    fn tag(&self) -> u16 {
        match self {
            Self::Bool => 1,
            Self::Int => 2,
            Self::Float32 => 3,
            Self::Float64 => 4,
            Self::Decimal { scale } => 100 + *scale as u16,
            Self::Utf8 => 5,
            Self::Binary => 6,
            Self::Date => 7,
            Self::Timestamp => 8,
            Self::Duration => 9,
            Self::Time => 10,
            Self::List(item) => 1000 + item.tag(),
            Self::Map(kinds) => 2000 + 200 * kinds.0.tag() + kinds.1.tag(),
        }
    }

    #[inline]
    pub fn decode<'a>(&self, reader: &mut Reader<'a>) -> Result<Datum<'a>> {
        Ok(match self {
            Self::Bool => Datum::Bool(reader.byte()? != 0),
            Self::Int | Self::Date | Self::Timestamp | Self::Duration | Self::Time => Datum::Int(reader.signed()?),
            Self::Float64 => Datum::Float(f64::from_le_bytes(fixed(reader)?)),
            Self::Float32 => Datum::Float(f32::from_le_bytes(fixed(reader)?).into()),
            Self::Decimal { .. } => Datum::Decimal(reader.wide_signed()?),
            Self::Utf8 => Datum::Bytes(text(reader.bytes()?)?),
            Self::Binary => Datum::Bytes(reader.bytes()?),
            Self::List(item) => {
                let bytes = reader.bytes()?;
                list_items(item, bytes)?.try_for_each(|item| item.map(|_| ()))?;
                Datum::List(bytes)
            }
            Self::Map(kinds) => {
                let bytes = reader.bytes()?;
                map_entries(kinds, bytes)?.try_for_each(|entry| entry.map(|_| ()))?;
                Datum::List(bytes)
            }
        })
    }

    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>, datum: Datum<'_>) {
        match datum {
            Datum::Bool(value) => out.push(value.into()),
            Datum::Int(value) => put_signed(out, value.into()),
            Datum::Float(value) if *self == Self::Float32 => out.extend_from_slice(&(value as f32).to_le_bytes()),
            Datum::Float(value) => out.extend_from_slice(&value.to_le_bytes()),
            Datum::Decimal(value) => put_signed(out, value),
            Datum::Bytes(value) | Datum::List(value) => put_bytes(out, value),
        }
    }
}

#[inline]
fn fixed<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N]> {
    Ok(reader.take(N)?.try_into().expect("take gives N bytes"))
}

fn text(bytes: &[u8]) -> Result<&[u8]> {
    std::str::from_utf8(bytes).map_err(|_| damaged("a string is not UTF-8"))?;
    Ok(bytes)
}

/// The items of an encoded list, in order; None is a null item.
pub fn list_items<'a>(item: &Kind, bytes: &'a [u8]) -> Result<impl Iterator<Item = Result<Option<Datum<'a>>>>> {
    let mut reader = Reader::new(bytes);
    let count = reader.varint()?;
    if count > bytes.len() as u64 * 8 {
        return Err(damaged("a list is longer than its bytes"));
    }
    let nulls = reader.take(count.div_ceil(8) as usize)?;
    Ok((0..count as usize)
        .map(move |i| if nulls[i / 8] >> (i % 8) & 1 == 1 { Ok(None) } else { item.decode(&mut reader).map(Some) }))
}

/// Appends an encoded map; its entries are ascending by key.
pub fn put_entries(out: &mut Vec<u8>, kinds: (&Kind, &Kind), entries: &[(Datum<'_>, Option<Datum<'_>>)]) {
    put_varint(out, entries.len() as u128);
    let nulls = out.len();
    out.resize(nulls + entries.len().div_ceil(8), 0);
    for (i, (key, value)) in entries.iter().enumerate() {
        kinds.0.encode(out, *key);
        match value {
            Some(value) => kinds.1.encode(out, *value),
            None => out[nulls + i / 8] |= 1 << (i % 8),
        }
    }
}

/// One entry of a map.
type Entry<'a> = (Datum<'a>, Option<Datum<'a>>);

/// The entries of an encoded map, in order; None is a null value.
pub fn map_entries<'a>(kinds: &(Kind, Kind), bytes: &'a [u8]) -> Result<impl Iterator<Item = Result<Entry<'a>>>> {
    let mut reader = Reader::new(bytes);
    let count = reader.length()?;
    let nulls = reader.take(count.div_ceil(8))?;
    Ok((0..count).map(move |i| {
        let key = kinds.0.decode(&mut reader)?;
        let is_null = nulls[i / 8] >> (i % 8) & 1 == 1;
        Ok((key, if is_null { None } else { Some(kinds.1.decode(&mut reader)?) }))
    }))
}

/// A named, typed column of stored values.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub data_type: DataType,
}

/// The columns of a stored row, and the fingerprint that its bytes carry.
#[derive(Clone, Debug)]
pub struct Columns {
    columns: Vec<Column>,
    fingerprint: u16,
}

impl Columns {
    pub fn new(schema: &Schema) -> Result<Self> {
        let typed = |field: &Arc<Field>| {
            let (name, data_type) = (field.name().clone(), nullable_items(field.data_type()));
            Ok(Column { kind: Kind::of(&name, &data_type)?, name, data_type })
        };
        let columns: Vec<_> = schema.fields().iter().map(typed).collect::<Result<_>>()?;
        let mixed = columns
            .iter()
            .fold(columns.len() as u16, |state, column| state.rotate_left(5).wrapping_mul(0x6255) ^ column.kind.tag());
        Ok(Self { columns, fingerprint: mixed })
    }

    /// A number that differs when the kinds of the columns differ (with a chance of 1 in 65,536 that it does not).
    pub fn fingerprint(&self) -> u16 {
        self.fingerprint
    }

    pub fn schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|column| Field::new(&column.name, column.data_type.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// A vector type whose items may be null, as those of a null vector are.
fn nullable_items(data_type: &DataType) -> DataType {
    match data_type {
        DataType::FixedSizeList(item, size) => {
            DataType::FixedSizeList(Arc::new(item.as_ref().clone().with_nullable(true)), *size)
        }
        other => other.clone(),
    }
}

impl std::ops::Deref for Columns {
    type Target = [Column];

    fn deref(&self) -> &[Column] {
        &self.columns
    }
}
