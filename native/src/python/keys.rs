//! Python's door to entity keys.

use arrow_array::Int32Array;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyList, PyString};

use super::arrow::{ArrayArg, arrays, returned};
use crate::keys::{self, KeyColumns, KeyEncoder, KeyType, Part};

#[pyfunction]
pub fn encode_keys(py: Python<'_>, columns: Vec<ArrayArg>) -> PyResult<ArrayArg> {
    let columns = KeyColumns::new(arrays(columns))?;
    Ok(returned(&py.detach(|| keys::encode_keys(&columns))))
}

#[pyfunction]
pub fn partition(py: Python<'_>, columns: Vec<ArrayArg>, n: i32) -> PyResult<ArrayArg> {
    if n < 1 {
        return Err(PyValueError::new_err(format!("n must be at least 1, not {n}")));
    }
    let columns = KeyColumns::new(arrays(columns))?;
    Ok(returned(&Int32Array::from(py.detach(|| keys::partition(&columns, n)))))
}

#[pyfunction]
pub fn encode_keys_py<'py>(
    py: Python<'py>,
    types: Vec<String>,
    columns: Vec<Bound<'py, PyList>>,
) -> PyResult<Bound<'py, PyList>> {
    if types.is_empty() || types.len() != columns.len() {
        let (types, columns) = (types.len(), columns.len());
        return Err(PyValueError::new_err(format!("{types} key types for {columns} columns; give one for each")));
    }
    let typed = types.iter().enumerate().map(|(i, name)| Ok(KeyType::named(name, i)?));
    let types = typed.collect::<PyResult<Vec<_>>>()?;
    let rows = columns[0].len();
    if let Some(position) = columns.iter().position(|column| column.len() != rows) {
        let found = columns[position].len();
        return Err(PyValueError::new_err(format!("join key {position} has {found} rows, but join key 0 has {rows}")));
    }
    let mut encoder = KeyEncoder::default();
    let out = PyList::empty(py);
    for row in 0..rows {
        out.append(encode_row(py, &mut encoder, &types, &columns, row)?)?;
    }
    Ok(out)
}

fn encode_row<'py>(
    py: Python<'py>,
    encoder: &mut KeyEncoder,
    types: &[KeyType],
    columns: &[Bound<'py, PyList>],
    row: usize,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    encoder.clear();
    for (position, (key_type, column)) in types.iter().zip(columns).enumerate() {
        let value = column.get_item(row)?;
        if value.is_none() {
            return Ok(None);
        }
        push(encoder, *key_type, &value).map_err(|error| explain(py, error, *key_type, position, row, &value))?;
    }
    Ok(Some(PyBytes::new(py, encoder.finish())))
}

fn push(encoder: &mut KeyEncoder, key_type: KeyType, value: &Bound<'_, PyAny>) -> PyResult<()> {
    match key_type {
        KeyType::Utf8 => encoder.push(key_type, Part::Bytes(value.cast::<PyString>()?.to_str()?.as_bytes())),
        KeyType::Binary => encoder.push(key_type, Part::Bytes(value.cast::<PyBytes>()?.as_bytes())),
        KeyType::Bool => encoder.push(key_type, Part::Int(value.cast::<PyBool>()?.is_true().into())),
        _ if value.is_instance_of::<PyBool>() => return Err(PyTypeError::new_err("a bool is not an int")),
        KeyType::Date32 => encoder.push(key_type, Part::Int(value.extract::<i32>()?.into())),
        KeyType::Int64 | KeyType::Timestamp => encoder.push(key_type, Part::Int(value.extract::<i64>()?)),
    }
    Ok(())
}

fn explain(
    py: Python<'_>,
    error: PyErr,
    key_type: KeyType,
    position: usize,
    row: usize,
    value: &Bound<'_, PyAny>,
) -> PyErr {
    let expected = match key_type {
        KeyType::Int64 => "an int within 64 bits",
        KeyType::Utf8 => "a str",
        KeyType::Binary => "bytes",
        KeyType::Bool => "a bool",
        KeyType::Date32 => "an int (days since 1970-01-01)",
        KeyType::Timestamp => "an int (microseconds since 1970-01-01 UTC)",
    };
    let shown = value.repr().map_or_else(|_| "an unprintable value".into(), |text| text.to_string());
    let shown: String = shown.chars().take(60).collect();
    let message = format!("join key {position}, row {row}: expected {expected}, got {shown}");
    if error.is_instance_of::<PyOverflowError>(py) {
        PyOverflowError::new_err(message)
    } else {
        PyTypeError::new_err(message)
    }
}

#[pyclass(module = "asof._native")]
pub struct KeyIndex {
    index: keys::KeyIndex,
    codes: Int32Array,
}

#[pymethods]
impl KeyIndex {
    #[new]
    fn new(py: Python<'_>, columns: Vec<ArrayArg>) -> PyResult<Self> {
        let columns = KeyColumns::new(arrays(columns))?;
        let mut index = keys::KeyIndex::new(columns.types().collect());
        let codes = py.detach(|| index.extend(&columns))?.into();
        Ok(Self { index, codes })
    }

    #[getter]
    fn codes(&self) -> ArrayArg {
        returned(&self.codes)
    }

    fn lookup(&self, py: Python<'_>, columns: Vec<ArrayArg>) -> PyResult<ArrayArg> {
        let columns = KeyColumns::new(arrays(columns))?;
        let codes = py.detach(|| self.index.lookup(&columns))?;
        Ok(returned(&Int32Array::from(codes)))
    }

    fn extend(&mut self, py: Python<'_>, columns: Vec<ArrayArg>) -> PyResult<ArrayArg> {
        let columns = KeyColumns::new(arrays(columns))?;
        let index = &mut self.index;
        let codes = py.detach(|| index.extend(&columns))?;
        Ok(returned(&Int32Array::from(codes)))
    }

    fn encoded(&self, py: Python<'_>) -> ArrayArg {
        returned(&py.detach(|| self.index.encoded()))
    }

    fn __len__(&self) -> usize {
        self.index.len()
    }
}
