//! Result columns: values go in one by one, an Arrow array comes out.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StringArray, StructArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields};

use crate::aggregates::value::{LaneType, Value, ValueRef};
use crate::error::{KernelError, Result};

/// The type of a feature's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputType {
    Scalar(LaneType),
    List(LaneType),
    Map { key: LaneType, value: LaneType },
}

impl OutputType {
    pub fn to_arrow(self) -> DataType {
        match self {
            Self::Scalar(lane) => lane.to_arrow(),
            Self::List(lane) => DataType::List(Arc::new(item_field(lane))),
            Self::Map { key, value } => DataType::Map(Arc::new(entries_field(key, value)), false),
        }
    }
}

fn item_field(lane: LaneType) -> Field {
    Field::new("item", lane.to_arrow(), true)
}

fn entry_fields(key: LaneType, value: LaneType) -> Fields {
    Fields::from(vec![Field::new("key", key.to_arrow(), false), Field::new("value", value.to_arrow(), true)])
}

fn entries_field(key: LaneType, value: LaneType) -> Field {
    Field::new("entries", DataType::Struct(entry_fields(key, value)), false)
}

/// Takes the values of one feature, each finalized from a state.
pub trait Sink {
    fn push_null(&mut self);
    fn push_float(&mut self, value: Option<f64>);
    fn push_int(&mut self, value: i64);
    fn push_decimal(&mut self, value: i128);
    fn push_value(&mut self, value: Option<ValueRef<'_>>);

    /// # Errors
    /// `Overflow` if the sink holds more than 2^31 items.
    fn push_list<'v>(&mut self, items: impl Iterator<Item = ValueRef<'v>>) -> Result<()>;

    /// Takes a map as its entries, ascending by key.
    ///
    /// # Errors
    /// `Overflow` if the sink holds more than 2^31 entries or bytes of text.
    fn push_map(&mut self, entries: &[(ValueRef<'_>, Option<Value>)]) -> Result<()>;
}

/// Takes one value without nesting and keeps it: what an entry of a map holds.
#[derive(Debug, Default)]
pub struct OneValue(pub Option<Value>);

impl Sink for OneValue {
    fn push_null(&mut self) {
        self.0 = None;
    }

    fn push_float(&mut self, value: Option<f64>) {
        self.0 = value.map(Value::Float);
    }

    fn push_int(&mut self, value: i64) {
        self.0 = Some(Value::Int(value));
    }

    fn push_decimal(&mut self, value: i128) {
        self.0 = Some(Value::Decimal(value));
    }

    fn push_value(&mut self, value: Option<ValueRef<'_>>) {
        self.0 = value.map(ValueRef::to_owned);
    }

    fn push_list<'v>(&mut self, _: impl Iterator<Item = ValueRef<'v>>) -> Result<()> {
        unreachable!("an entry of a map is a single value")
    }

    fn push_map(&mut self, _: &[(ValueRef<'_>, Option<Value>)]) -> Result<()> {
        unreachable!("an entry of a map is a single value")
    }
}

/// Grows one result column.
#[derive(Debug)]
pub enum OutputColumn {
    Scalar(ScalarColumn),
    List { item: LaneType, offsets: Vec<i32>, valid: NullBufferBuilder, values: ScalarColumn },
    Map(Box<MapColumn>),
}

/// Grows a column of maps.
#[derive(Debug)]
pub struct MapColumn {
    key: LaneType,
    value: LaneType,
    offsets: Vec<i32>,
    valid: NullBufferBuilder,
    keys: ScalarColumn,
    values: ScalarColumn,
    /// Of the keys' and values' texts together: each column of them holds less than 2^31.
    bytes: usize,
}

impl OutputColumn {
    pub fn new(output: OutputType, capacity: usize) -> Self {
        match output {
            OutputType::Scalar(lane) => Self::Scalar(ScalarColumn::new(lane, capacity)),
            OutputType::List(item) => {
                let mut offsets = Vec::with_capacity(capacity + 1);
                offsets.push(0);
                Self::List {
                    item,
                    offsets,
                    valid: NullBufferBuilder::new(capacity),
                    values: ScalarColumn::new(item, capacity),
                }
            }
            OutputType::Map { key, value } => Self::Map(Box::new(MapColumn {
                key,
                value,
                offsets: vec![0],
                valid: NullBufferBuilder::new(capacity),
                keys: ScalarColumn::new(key, capacity),
                values: ScalarColumn::new(value, capacity),
                bytes: 0,
            })),
        }
    }

    /// # Errors
    /// `Corrupt` if text from stored bytes is not UTF-8.
    pub fn finish(self) -> Result<ArrayRef> {
        match self {
            Self::Scalar(column) => column.finish(),
            Self::List { item, offsets, mut valid, values } => {
                let offsets = OffsetBuffer::new(offsets.into());
                let list = ListArray::try_new(Arc::new(item_field(item)), offsets, values.finish()?, valid.finish())?;
                Ok(Arc::new(list))
            }
            Self::Map(map) => map.finish(),
        }
    }
}

impl Sink for OutputColumn {
    fn push_null(&mut self) {
        match self {
            Self::Scalar(column) => column.push_null(),
            Self::List { offsets, valid, .. } => {
                offsets.push(offsets[offsets.len() - 1]);
                valid.append_null();
            }
            Self::Map(map) => {
                map.offsets.push(map.offsets[map.offsets.len() - 1]);
                map.valid.append_null();
            }
        }
    }

    #[inline]
    fn push_float(&mut self, value: Option<f64>) {
        match self {
            Self::Scalar(ScalarColumn::Float64(builder)) => builder.append_option(value),
            other => unreachable!("float value for {other:?}"),
        }
    }

    #[inline]
    fn push_int(&mut self, value: i64) {
        match self {
            Self::Scalar(ScalarColumn::Int64(builder)) => builder.append_value(value),
            other => unreachable!("integer value for {other:?}"),
        }
    }

    fn push_decimal(&mut self, value: i128) {
        match self {
            Self::Scalar(ScalarColumn::Decimal(builder)) => builder.append_value(value),
            other => unreachable!("decimal value for {other:?}"),
        }
    }

    #[inline]
    fn push_value(&mut self, value: Option<ValueRef<'_>>) {
        match (self, value) {
            (Self::Scalar(column), Some(value)) => column.push(value),
            (column, None) => column.push_null(),
            (other, value) => unreachable!("{value:?} for {other:?}"),
        }
    }

    fn push_list<'v>(&mut self, items: impl Iterator<Item = ValueRef<'v>>) -> Result<()> {
        let Self::List { offsets, valid, values, .. } = self else { unreachable!("list for a scalar column") };
        let mut end = offsets[offsets.len() - 1];
        for item in items {
            values.push(item);
            end = end.checked_add(1).ok_or_else(too_many)?;
        }
        offsets.push(end);
        valid.append_non_null();
        Ok(())
    }

    fn push_map(&mut self, entries: &[(ValueRef<'_>, Option<Value>)]) -> Result<()> {
        let Self::Map(map) = self else { unreachable!("map for a column of another kind") };
        let end = map.offsets[map.offsets.len() - 1];
        let more = i32::try_from(entries.len()).map_err(|_| too_many())?;
        let length = |value: Option<ValueRef<'_>>| match value {
            Some(ValueRef::Bytes(bytes)) => bytes.len(),
            _ => 0,
        };
        let lengths = entries.iter().map(|(k, v)| length(Some(*k)) + length(v.as_ref().map(Value::as_ref)));
        map.bytes += lengths.sum::<usize>();
        if map.bytes > i32::MAX as usize {
            return Err(too_many());
        }
        for (key, value) in entries {
            map.keys.push(*key);
            match value {
                Some(value) => map.values.push(value.as_ref()),
                None => map.values.push_null(),
            }
        }
        map.offsets.push(end.checked_add(more).ok_or_else(too_many)?);
        map.valid.append_non_null();
        Ok(())
    }
}

impl MapColumn {
    fn finish(mut self) -> Result<ArrayRef> {
        let columns = vec![self.keys.finish()?, self.values.finish()?];
        let entries = StructArray::try_new(entry_fields(self.key, self.value), columns, None)?;
        let field = Arc::new(entries_field(self.key, self.value));
        let offsets = OffsetBuffer::new(self.offsets.into());
        Ok(Arc::new(MapArray::try_new(field, offsets, entries, self.valid.finish(), false)?))
    }
}

#[cold]
fn too_many() -> KernelError {
    KernelError::Overflow(
        "A column holds more than 2^31 items or bytes of lists or maps. Ask for fewer rows at a time.".into(),
    )
}

/// Grows one column without nesting.
#[derive(Debug)]
pub enum ScalarColumn {
    Int64(Int64Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder),
    Bool(BooleanBuilder),
    Utf8(BinaryBuilder),
    Binary(BinaryBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Date32(Date32Builder),
}

impl ScalarColumn {
    pub fn new(lane: LaneType, capacity: usize) -> Self {
        match lane {
            LaneType::Int64 => Self::Int64(Int64Builder::with_capacity(capacity)),
            LaneType::Float64 => Self::Float64(Float64Builder::with_capacity(capacity)),
            LaneType::Decimal { .. } => {
                Self::Decimal(Decimal128Builder::with_capacity(capacity).with_data_type(lane.to_arrow()))
            }
            LaneType::Bool => Self::Bool(BooleanBuilder::with_capacity(capacity)),
            LaneType::Utf8 => Self::Utf8(BinaryBuilder::with_capacity(capacity, 0)),
            LaneType::Binary => Self::Binary(BinaryBuilder::with_capacity(capacity, 0)),
            LaneType::Timestamp => {
                let builder = TimestampMicrosecondBuilder::with_capacity(capacity);
                Self::Timestamp(builder.with_data_type(lane.to_arrow()))
            }
            LaneType::Date32 => Self::Date32(Date32Builder::with_capacity(capacity)),
        }
    }

    #[inline]
    pub fn push(&mut self, value: ValueRef<'_>) {
        match (self, value) {
            (Self::Int64(builder), ValueRef::Int(v)) => builder.append_value(v),
            (Self::Float64(builder), ValueRef::Float(v)) => builder.append_value(v),
            (Self::Decimal(builder), ValueRef::Decimal(v)) => builder.append_value(v),
            (Self::Bool(builder), ValueRef::Int(v)) => builder.append_value(v != 0),
            (Self::Utf8(builder) | Self::Binary(builder), ValueRef::Bytes(v)) => builder.append_value(v),
            (Self::Timestamp(builder), ValueRef::Int(v)) => builder.append_value(v),
            (Self::Date32(builder), ValueRef::Int(v)) => builder.append_value(v as i32),
            (column, value) => unreachable!("{value:?} for {column:?}"),
        }
    }

    pub fn push_null(&mut self) {
        match self {
            Self::Int64(builder) => builder.append_null(),
            Self::Float64(builder) => builder.append_null(),
            Self::Decimal(builder) => builder.append_null(),
            Self::Bool(builder) => builder.append_null(),
            Self::Utf8(builder) | Self::Binary(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Date32(builder) => builder.append_null(),
        }
    }

    fn finish(self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Int64(mut builder) => Arc::new(builder.finish()),
            Self::Float64(mut builder) => Arc::new(builder.finish()),
            Self::Decimal(mut builder) => Arc::new(builder.finish()),
            Self::Bool(mut builder) => Arc::new(builder.finish()),
            Self::Binary(mut builder) => Arc::new(builder.finish()),
            Self::Utf8(mut builder) => {
                let (offsets, bytes, nulls) = builder.finish().into_parts();
                let text = StringArray::try_new(offsets, bytes, nulls)
                    .map_err(|e| KernelError::Corrupt(format!("Stored text is not UTF-8: {e}")))?;
                Arc::new(text) as Arc<dyn Array>
            }
            Self::Timestamp(mut builder) => Arc::new(builder.finish()),
            Self::Date32(mut builder) => Arc::new(builder.finish()),
        })
    }
}
