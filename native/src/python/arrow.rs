//! Arrow values across Python's door, without copies.

use arrow_array::{Array, ArrayRef, make_array};
use arrow_data::ArrayData;
use arrow_pyarrow::PyArrowType;

/// A pyarrow array as an argument.
pub type ArrayArg = PyArrowType<ArrayData>;

pub fn arrays(columns: Vec<ArrayArg>) -> Vec<ArrayRef> {
    columns.into_iter().map(|column| make_array(column.0)).collect()
}

pub fn returned(array: &dyn Array) -> ArrayArg {
    PyArrowType(array.to_data())
}
