//! Feature values as bytes: the column types a stored value may hold, their encoding, and the way from and to Arrow.

mod arrow;
pub mod calendar;
mod kind;
mod source;

pub use arrow::to_array;
pub use kind::{Column, Columns, Datum, Kind, list_items, map_entries, put_entries};
pub use source::Source;

#[cfg(test)]
mod tests;
