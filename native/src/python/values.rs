//! Stored values as Python objects.

use pyo3::exceptions::PyOverflowError;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBytes, PyDate, PyDateTime, PyDelta, PyDict, PyFloat, PyInt, PyList, PyString, PyTime, PyType, PyTzInfo,
};

use crate::answer::put_decimal;
use crate::values::calendar::{DAY_US, civil, clock};
use crate::values::{Datum, Kind, list_items, map_entries};
use crate::wire::damaged;

/// A value of the given kind, None being None. Timestamps are datetimes in UTC.
pub fn to_python<'py>(py: Python<'py>, kind: &Kind, value: Option<Datum<'_>>) -> PyResult<Bound<'py, PyAny>> {
    let Some(datum) = value else { return Ok(py.None().into_bound(py)) };
    Ok(match (kind, datum) {
        (_, Datum::Bool(value)) => value.into_pyobject(py)?.to_owned().into_any(),
        (Kind::Date, Datum::Int(days)) => {
            let (year, month, day) = date(days)?;
            PyDate::new(py, year, month, day)?.into_any()
        }
        (Kind::Timestamp, Datum::Int(time)) => to_datetime(py, time)?,
        (Kind::Duration, Datum::Int(micros)) => {
            let (days, rest) = (micros.div_euclid(DAY_US), micros.rem_euclid(DAY_US));
            PyDelta::new(py, days as i32, (rest / 1_000_000) as i32, (rest % 1_000_000) as i32, false)?.into_any()
        }
        (Kind::Time, Datum::Int(micros)) => {
            let (hour, minute, second, fraction) = clock(micros);
            PyTime::new(py, hour, minute, second, fraction, None)?.into_any()
        }
        (_, Datum::Int(value)) => PyInt::new(py, value).into_any(),
        (_, Datum::Float(value)) => PyFloat::new(py, value).into_any(),
        (Kind::Decimal { scale }, Datum::Decimal(value)) => to_decimal(py, value, *scale)?,
        (_, Datum::Decimal(value)) => to_decimal(py, value, 0)?,
        (Kind::Utf8, Datum::Bytes(bytes)) => {
            let text = std::str::from_utf8(bytes).map_err(|_| damaged("a string is not UTF-8"))?;
            PyString::new(py, text).into_any()
        }
        (_, Datum::Bytes(bytes)) => PyBytes::new(py, bytes).into_any(),
        (Kind::List(item), Datum::List(bytes)) => {
            let items = list_items(item, bytes)?.map(|value| to_python(py, item, value?));
            PyList::new(py, items.collect::<PyResult<Vec<_>>>()?)?.into_any()
        }
        (Kind::Map(kinds), Datum::List(bytes)) => {
            let map = PyDict::new(py);
            for entry in map_entries(kinds, bytes)? {
                let (key, value) = entry?;
                map.set_item(to_python(py, &kinds.0, Some(key))?, to_python(py, &kinds.1, value)?)?;
            }
            map.into_any()
        }
        (_, Datum::List(_)) => return Err(damaged("a list stands where there is no list").into()),
    })
}

/// Microseconds since the epoch as a datetime in UTC.
pub fn to_datetime(py: Python<'_>, time: i64) -> PyResult<Bound<'_, PyAny>> {
    let (year, month, day) = date(time.div_euclid(DAY_US))?;
    let (hour, minute, second, fraction) = clock(time.rem_euclid(DAY_US));
    let utc = PyTzInfo::utc(py)?;
    Ok(PyDateTime::new(py, year, month, day, hour, minute, second, fraction, Some(&utc))?.into_any())
}

fn date(days: i64) -> PyResult<(i32, u8, u8)> {
    let (year, month, day) = civil(days);
    if (1..=9999).contains(&year) {
        return Ok((year as i32, month, day));
    }
    let text = format!("the year {year} has no Python date; use to_arrow or to_json for it");
    Err(PyOverflowError::new_err(text))
}

fn to_decimal(py: Python<'_>, value: i128, scale: i8) -> PyResult<Bound<'_, PyAny>> {
    static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let mut digits = Vec::new();
    put_decimal(&mut digits, value, scale);
    let text = String::from_utf8(digits).expect("digits are ASCII");
    DECIMAL.import(py, "decimal", "Decimal")?.call1((text,))
}
