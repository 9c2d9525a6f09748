//! Input columns, and one key's values of a column laid out by position.

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, StringArray};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;

use super::bits::Bits;
use super::timeline::Timeline;
use crate::aggregates::moments::Moments;
use crate::aggregates::value::ValueRef;
use crate::error::{KernelError, Result};

/// A column of a type that plans accept.
#[derive(Debug)]
pub enum LaneColumn<'a> {
    Int(&'a [i64], Option<&'a NullBuffer>),
    Date(&'a [i32], Option<&'a NullBuffer>),
    Float(&'a [f64], Option<&'a NullBuffer>),
    Decimal(&'a [i128], Option<&'a NullBuffer>),
    Bool(&'a BooleanArray),
    Text(&'a StringArray),
    Binary(&'a BinaryArray),
}

impl<'a> LaneColumn<'a> {
    /// # Errors
    /// `Type` for a column that no plan accepts.
    pub fn new(array: &'a ArrayRef) -> Result<Self> {
        let nulls = array.nulls();
        Ok(match array.data_type() {
            DataType::Int64 => Self::Int(array.as_primitive::<Int64Type>().values(), nulls),
            DataType::Timestamp(..) => Self::Int(array.as_primitive::<TimestampMicrosecondType>().values(), nulls),
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>().values(), nulls),
            DataType::Float64 => Self::Float(array.as_primitive::<Float64Type>().values(), nulls),
            DataType::Decimal128(..) => Self::Decimal(array.as_primitive::<Decimal128Type>().values(), nulls),
            DataType::Boolean => Self::Bool(array.as_boolean()),
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::Binary => Self::Binary(array.as_binary()),
            other => return Err(KernelError::Type(format!("A column of type {other} cannot be aggregated."))),
        })
    }
}

impl<'a> LaneColumn<'a> {
    /// The value of a row; a null is none.
    #[inline]
    pub fn value(&self, row: usize) -> Option<ValueRef<'a>> {
        let there = |nulls: &Option<&NullBuffer>| nulls.is_none_or(|nulls| nulls.is_valid(row));
        match self {
            Self::Int(values, nulls) => there(nulls).then(|| ValueRef::Int(values[row])),
            Self::Date(values, nulls) => there(nulls).then(|| ValueRef::Int(values[row].into())),
            Self::Float(values, nulls) => there(nulls).then(|| ValueRef::Float(values[row])),
            Self::Decimal(values, nulls) => there(nulls).then(|| ValueRef::Decimal(values[row])),
            Self::Bool(array) => array.is_valid(row).then(|| ValueRef::Int(array.value(row).into())),
            Self::Text(array) => array.is_valid(row).then(|| ValueRef::Bytes(array.value(row).as_bytes())),
            Self::Binary(array) => array.is_valid(row).then(|| ValueRef::Bytes(array.value(row))),
        }
    }
}

/// A value as the sliding loops need it.
pub trait LaneValue: Copy {
    type Key: Ord + Copy;
    /// Orders like the value; `canonical` keys are equal for equal values (-0.0 and 0.0).
    fn key(self) -> Self::Key;
    fn canonical(self) -> Self;
    fn value(&self) -> ValueRef<'_>;
    fn add_to(self, moments: &mut Moments);
    fn remove_from(self, moments: &mut Moments);
}

impl LaneValue for i64 {
    type Key = i64;

    #[inline]
    fn key(self) -> i64 {
        self
    }

    fn canonical(self) -> Self {
        self
    }

    fn value(&self) -> ValueRef<'_> {
        ValueRef::Int(*self)
    }

    #[inline]
    fn add_to(self, moments: &mut Moments) {
        moments.add_int(self);
    }

    #[inline]
    fn remove_from(self, moments: &mut Moments) {
        moments.remove_int(self);
    }
}

impl LaneValue for f64 {
    type Key = i64;

    /// IEEE total order.
    #[inline]
    fn key(self) -> i64 {
        let bits = self.to_bits() as i64;
        bits ^ ((bits >> 63) as u64 >> 1) as i64
    }

    fn canonical(self) -> Self {
        self + 0.0
    }

    fn value(&self) -> ValueRef<'_> {
        ValueRef::Float(*self)
    }

    #[inline]
    fn add_to(self, moments: &mut Moments) {
        moments.add_float(self);
    }

    #[inline]
    fn remove_from(self, moments: &mut Moments) {
        moments.remove_float(self);
    }
}

impl LaneValue for i128 {
    type Key = i128;

    #[inline]
    fn key(self) -> i128 {
        self
    }

    fn canonical(self) -> Self {
        self
    }

    fn value(&self) -> ValueRef<'_> {
        ValueRef::Decimal(*self)
    }

    #[inline]
    fn add_to(self, moments: &mut Moments) {
        moments.add_decimal(self);
    }

    #[inline]
    fn remove_from(self, moments: &mut Moments) {
        moments.remove_decimal(self);
    }
}

impl<'a> LaneValue for &'a [u8] {
    type Key = &'a [u8];

    fn key(self) -> &'a [u8] {
        self
    }

    fn canonical(self) -> Self {
        self
    }

    fn value(&self) -> ValueRef<'_> {
        ValueRef::Bytes(self)
    }

    #[inline]
    fn add_to(self, moments: &mut Moments) {
        moments.count += 1;
    }

    #[inline]
    fn remove_from(self, moments: &mut Moments) {
        moments.count -= 1;
    }
}

/// Values by position, and which of them are there at all: nulls and NaN are not.
#[derive(Debug)]
pub struct Local<T> {
    pub values: Vec<T>,
    valid: Bits,
    all_valid: bool,
    initial: Bits,
    present: Bits,
}

impl<T> Default for Local<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            valid: Bits::default(),
            all_valid: true,
            initial: Bits::default(),
            present: Bits::default(),
        }
    }
}

impl<T: LaneValue> Local<T> {
    fn load(&mut self, timeline: &Timeline, nulls: Option<&NullBuffer>, get: impl Fn(usize) -> T) {
        self.values.clear();
        self.values.extend(timeline.rows.iter().map(|&row| get(row as usize)));
        let values = &self.values;
        self.all_valid = match nulls {
            Some(nulls) => {
                let rows = &timeline.rows;
                self.valid.fill(rows.len(), |i| nulls.is_valid(rows[i] as usize) && !values[i].value().is_nan())
            }
            None => self.valid.fill(values.len(), |i| !values[i].value().is_nan()),
        };
        if let Some(visible) = timeline.initial() {
            self.initial.intersect(values.len(), &self.valid, visible);
        }
    }

    /// The positions that count before any toggle, to be changed as toggles fall due; `None` is all of them.
    pub fn split(&mut self, timeline: &Timeline) -> (&[T], &Bits, Option<&mut Bits>) {
        if timeline.initial().is_some() {
            self.present.copy_from(&self.initial);
            return (&self.values, &self.valid, Some(&mut self.present));
        }
        if self.all_valid {
            return (&self.values, &self.valid, None);
        }
        self.present.copy_from(&self.valid);
        (&self.values, &self.valid, Some(&mut self.present))
    }

    /// [`Local::split`] for structures that search the set itself.
    pub fn split_set(&mut self, timeline: &Timeline) -> (&[T], &Bits, &mut Bits) {
        let start = if timeline.initial().is_some() { &self.initial } else { &self.valid };
        self.present.copy_from(start);
        (&self.values, &self.valid, &mut self.present)
    }

    pub fn valid(&self) -> &Bits {
        &self.valid
    }
}

/// Buffers for one key's values, one per shape.
#[derive(Debug, Default)]
pub struct Locals<'a> {
    pub ints: Local<i64>,
    pub floats: Local<f64>,
    pub decimals: Local<i128>,
    pub bytes: Local<&'a [u8]>,
}

/// Which buffer a column was loaded into.
pub enum Loaded<'l, 'a> {
    Ints(&'l mut Local<i64>),
    Floats(&'l mut Local<f64>),
    Decimals(&'l mut Local<i128>),
    Bytes(&'l mut Local<&'a [u8]>),
}

impl<'a> Locals<'a> {
    /// Loads one key's values of `column`; no column stands for a value per event.
    pub fn load(&mut self, column: Option<&LaneColumn<'a>>, timeline: &Timeline) -> Loaded<'_, 'a> {
        match column {
            None => {
                self.ints.load(timeline, None, |_| 0);
                Loaded::Ints(&mut self.ints)
            }
            Some(LaneColumn::Int(values, nulls)) => {
                self.ints.load(timeline, *nulls, |row| values[row]);
                Loaded::Ints(&mut self.ints)
            }
            Some(LaneColumn::Date(values, nulls)) => {
                self.ints.load(timeline, *nulls, |row| values[row].into());
                Loaded::Ints(&mut self.ints)
            }
            Some(LaneColumn::Bool(array)) => {
                self.ints.load(timeline, array.nulls(), |row| array.value(row).into());
                Loaded::Ints(&mut self.ints)
            }
            Some(LaneColumn::Float(values, nulls)) => {
                self.floats.load(timeline, *nulls, |row| values[row]);
                Loaded::Floats(&mut self.floats)
            }
            Some(LaneColumn::Decimal(values, nulls)) => {
                self.decimals.load(timeline, *nulls, |row| values[row]);
                Loaded::Decimals(&mut self.decimals)
            }
            Some(LaneColumn::Text(array)) => {
                self.bytes.load(timeline, array.nulls(), |row| array.value(row).as_bytes());
                Loaded::Bytes(&mut self.bytes)
            }
            Some(LaneColumn::Binary(array)) => {
                self.bytes.load(timeline, array.nulls(), |row| array.value(row));
                Loaded::Bytes(&mut self.bytes)
            }
        }
    }
}
