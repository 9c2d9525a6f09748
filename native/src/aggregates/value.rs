//! Single values of a lane: their types, their order and their bytes.

use std::cmp::Ordering;

use arrow_schema::{DataType, TimeUnit};

use super::float::{put_float, read_float};
use crate::error::{KernelError, Result};
use crate::wire::{Reader, put_bytes, put_signed};

/// The column types that aggregates take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaneType {
    Int64,
    Float64,
    Decimal { precision: u8, scale: i8 },
    Bool,
    Utf8,
    Binary,
    Timestamp,
    Date32,
}

/// How values of a lane are held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Int,
    Float,
    Decimal,
    Bytes,
}

impl LaneType {
    /// # Errors
    /// `Type` for anything but int64, float64, decimal128, bool, utf8, binary, timestamp(us, UTC), date32.
    pub fn from_arrow(name: &str, data_type: &DataType) -> Result<Self> {
        Ok(match data_type {
            DataType::Int64 => Self::Int64,
            DataType::Float64 => Self::Float64,
            DataType::Decimal128(precision, scale) if *scale >= 0 => {
                Self::Decimal { precision: *precision, scale: *scale }
            }
            DataType::Boolean => Self::Bool,
            DataType::Utf8 => Self::Utf8,
            DataType::Binary => Self::Binary,
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => Self::Timestamp,
            DataType::Date32 => Self::Date32,
            other => {
                return Err(KernelError::Type(format!(
                    "Column '{name}' has type {other}, which the kernel does not take. Cast it to one of int64, float64, \
                     decimal128, bool, utf8, binary, timestamp(us, UTC), date32."
                )));
            }
        })
    }

    pub fn to_arrow(self) -> DataType {
        match self {
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
            Self::Bool => DataType::Boolean,
            Self::Utf8 => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Date32 => DataType::Date32,
        }
    }

    pub fn shape(self) -> Shape {
        match self {
            Self::Int64 | Self::Bool | Self::Timestamp | Self::Date32 => Shape::Int,
            Self::Float64 => Shape::Float,
            Self::Decimal { .. } => Shape::Decimal,
            Self::Utf8 | Self::Binary => Shape::Bytes,
        }
    }

    /// Decimal digits after the point; 0 for everything that is no decimal.
    pub fn scale(self) -> i8 {
        match self {
            Self::Decimal { scale, .. } => scale,
            _ => 0,
        }
    }

    /// Whether sums make sense.
    pub fn is_numeric(self) -> bool {
        matches!(self, Self::Int64 | Self::Float64 | Self::Decimal { .. } | Self::Bool)
    }
}

/// A borrowed value. Booleans, timestamps and dates are `Int`; decimals are unscaled.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    Int(i64),
    Float(f64),
    Decimal(i128),
    Bytes(&'a [u8]),
}

/// An owned value with the total order of its lane: numbers by size with -0.0 below 0.0, bytes lexicographic.
#[derive(Clone, Debug)]
pub enum Value {
    Int(i64),
    Float(f64),
    Decimal(i128),
    Bytes(Box<[u8]>),
}

impl ValueRef<'_> {
    pub fn to_owned(self) -> Value {
        match self {
            Self::Int(v) => Value::Int(v),
            Self::Float(v) => Value::Float(v),
            Self::Decimal(v) => Value::Decimal(v),
            Self::Bytes(v) => Value::Bytes(v.into()),
        }
    }

    /// NaN is null, so an aggregate never sees it.
    pub fn is_nan(self) -> bool {
        matches!(self, Self::Float(v) if v.is_nan())
    }

    /// The value that stands for all values equal to it: -0.0 becomes 0.0.
    pub fn canonical(self) -> Self {
        match self {
            Self::Float(v) => Self::Float(v + 0.0),
            other => other,
        }
    }

    pub fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Int(v) => put_signed(out, v.into()),
            Self::Float(v) => put_float(out, v),
            Self::Decimal(v) => put_signed(out, v),
            Self::Bytes(v) => put_bytes(out, v),
        }
    }
}

impl<'a> ValueRef<'a> {
    /// # Errors
    /// `Corrupt` if the bytes are damaged.
    #[inline]
    pub fn decode(shape: Shape, reader: &mut Reader<'a>) -> Result<Self> {
        Ok(match shape {
            Shape::Int => Self::Int(reader.signed()?),
            Shape::Float => Self::Float(read_float(reader)?),
            Shape::Decimal => Self::Decimal(reader.wide_signed()?),
            Shape::Bytes => Self::Bytes(reader.bytes()?),
        })
    }
}

impl Ord for ValueRef<'_> {
    /// Values of one lane share a shape; different shapes never meet, and then order by shape.
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Decimal(a), Self::Decimal(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl ValueRef<'_> {
    fn rank(self) -> u8 {
        match self {
            Self::Int(_) => 0,
            Self::Float(_) => 1,
            Self::Decimal(_) => 2,
            Self::Bytes(_) => 3,
        }
    }
}

impl PartialOrd for ValueRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ValueRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ValueRef<'_> {}

impl Value {
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Int(v) => ValueRef::Int(*v),
            Self::Float(v) => ValueRef::Float(*v),
            Self::Decimal(v) => ValueRef::Decimal(*v),
            Self::Bytes(v) => ValueRef::Bytes(v),
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_ref().cmp(&other.as_ref())
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}
