//! Arrow arguments from Python, checked and named in errors.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{ArrayRef, BooleanArray, Int32Array, Int64Array, make_array};

use super::arrow::ArrayArg;
use crate::error::{KernelError, Result};

fn array_of(name: &str, array: ArrayArg, may_be_null: bool) -> Result<ArrayRef> {
    let array = make_array(array.0);
    if !may_be_null && array.null_count() > 0 {
        return Err(KernelError::Invalid(format!("{name} has {} nulls; fill or drop them first.", array.null_count())));
    }
    Ok(array)
}

fn wrong_type(name: &str, expected: &str, array: &ArrayRef) -> KernelError {
    KernelError::Type(format!("{name} must be {expected}, not {}. Cast it.", array.data_type()))
}

pub fn int32(name: &str, array: ArrayArg) -> Result<Int32Array> {
    let array = array_of(name, array, false)?;
    array.as_primitive_opt::<Int32Type>().cloned().ok_or_else(|| wrong_type(name, "int32", &array))
}

pub fn int64(name: &str, array: ArrayArg) -> Result<Int64Array> {
    let array = array_of(name, array, false)?;
    array.as_primitive_opt::<Int64Type>().cloned().ok_or_else(|| wrong_type(name, "int64", &array))
}

pub fn nullable_int64(name: &str, array: ArrayArg) -> Result<Int64Array> {
    let array = array_of(name, array, true)?;
    array.as_primitive_opt::<Int64Type>().cloned().ok_or_else(|| wrong_type(name, "int64", &array))
}

pub fn nullable_bool(name: &str, array: ArrayArg) -> Result<BooleanArray> {
    let array = array_of(name, array, true)?;
    array.as_boolean_opt().cloned().ok_or_else(|| wrong_type(name, "bool", &array))
}
