//! Join-key columns as the kernel reads them: typed, of equal length, one canonical form per type.

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};

use super::hash::{combine, hash_bytes, mix64};
use crate::error::KernelError;

/// The type of one join-key column. Its discriminant is the type tag in canonical key bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyType {
    Int64 = 1,
    Utf8 = 2,
    Binary = 3,
    Bool = 4,
    Date32 = 5,
    Timestamp = 6,
}

impl KeyType {
    pub const NAMES: &str = "int64, string, binary, bool, date, timestamp(us, UTC)";

    /// The key type of an Arrow type; `position` names the column in the error.
    pub fn of(data_type: &DataType, position: usize) -> Result<Self, KernelError> {
        match data_type {
            DataType::Int64 => Ok(Self::Int64),
            DataType::Utf8 => Ok(Self::Utf8),
            DataType::Binary => Ok(Self::Binary),
            DataType::Boolean => Ok(Self::Bool),
            DataType::Date32 => Ok(Self::Date32),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(Self::Timestamp),
            other => Err(unsupported(&other.to_string(), position)),
        }
    }

    /// The key type of a name as Python spells it: `int64`, `string`, `binary`, `bool`, `date`, `timestamp`.
    pub fn named(name: &str, position: usize) -> Result<Self, KernelError> {
        match name {
            "int64" => Ok(Self::Int64),
            "string" => Ok(Self::Utf8),
            "binary" => Ok(Self::Binary),
            "bool" => Ok(Self::Bool),
            "date" => Ok(Self::Date32),
            "timestamp" => Ok(Self::Timestamp),
            other => Err(unsupported(other, position)),
        }
    }
}

fn unsupported(name: &str, position: usize) -> KernelError {
    KernelError::Type(format!("join key {position}: type {name} cannot be a key; cast it to one of {}", KeyType::NAMES))
}

/// One part of a key, borrowed from its column.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

/// One to n join-key columns of equal length.
pub struct KeyColumns {
    columns: Vec<(KeyType, ArrayRef)>,
    len: usize,
}

impl KeyColumns {
    /// Fails when there is no column, when lengths differ, or when a type cannot be a key.
    pub fn new(columns: Vec<ArrayRef>) -> Result<Self, KernelError> {
        let len = columns.first().ok_or_else(|| KernelError::Invalid("a key needs at least one column".into()))?.len();
        if let Some(position) = columns.iter().position(|column| column.len() != len) {
            let found = columns[position].len();
            return Err(KernelError::Invalid(format!(
                "join key {position} has {found} rows, but join key 0 has {len}"
            )));
        }
        let typed = columns.into_iter().enumerate();
        let columns =
            typed.map(|(i, c)| Ok((KeyType::of(c.data_type(), i)?, c))).collect::<Result<_, KernelError>>()?;
        Ok(Self { columns, len })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn types(&self) -> impl Iterator<Item = KeyType> + '_ {
        self.columns.iter().map(|(key_type, _)| *key_type)
    }

    /// The only column, when there is just one.
    pub fn single(&self) -> Option<(KeyType, &ArrayRef)> {
        match self.columns.as_slice() {
            [(key_type, column)] => Some((*key_type, column)),
            _ => None,
        }
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.columns.iter().any(|(_, column)| column.is_null(row))
    }

    /// The typed parts of a row that is not null.
    pub fn parts(&self, row: usize) -> impl Iterator<Item = (KeyType, Part<'_>)> {
        self.columns.iter().map(move |(key_type, column)| (*key_type, part(*key_type, column, row)))
    }

    /// The stable hash of a row that is not null.
    pub fn hash(&self, row: usize) -> u64 {
        self.columns.iter().fold(0, |state, (key_type, column)| match part(*key_type, column, row) {
            Part::Int(value) => combine(state, mix64(value as u64)),
            Part::Bytes(bytes) => combine(state, hash_bytes(bytes)),
        })
    }
}

fn part(key_type: KeyType, column: &ArrayRef, row: usize) -> Part<'_> {
    match key_type {
        KeyType::Int64 => Part::Int(column.as_primitive::<Int64Type>().value(row)),
        KeyType::Timestamp => Part::Int(column.as_primitive::<TimestampMicrosecondType>().value(row)),
        KeyType::Date32 => Part::Int(column.as_primitive::<Date32Type>().value(row).into()),
        KeyType::Bool => Part::Int(column.as_boolean().value(row).into()),
        KeyType::Utf8 => Part::Bytes(column.as_string::<i32>().value(row).as_bytes()),
        KeyType::Binary => Part::Bytes(column.as_binary::<i32>().value(row)),
    }
}
