//! Point-in-time answers over logs: windows and newest rows.

use arrow_array::RecordBatch;
use arrow_pyarrow::PyArrowType;
use pyo3::prelude::*;

use super::arrays::{int32, int64, nullable_bool, nullable_int64};
use super::arrow::ArrayArg;
use super::plan::PyWindowPlan;
use crate::as_of::{AsOfInput, as_of as run_as_of};
use crate::history::{HistoryInput, history};

#[pymethods]
impl PyWindowPlan {
    #[pyo3(signature = (event_codes, event_time, available_at, retracted_at, lanes, n_keys, query_codes, query_time, threads))]
    #[expect(clippy::too_many_arguments, reason = "columns of two tables, passed once")]
    fn history(
        &self,
        py: Python<'_>,
        event_codes: ArrayArg,
        event_time: ArrayArg,
        available_at: Option<ArrayArg>,
        retracted_at: Option<ArrayArg>,
        lanes: PyArrowType<RecordBatch>,
        n_keys: usize,
        query_codes: ArrayArg,
        query_time: ArrayArg,
        threads: usize,
    ) -> PyResult<PyArrowType<RecordBatch>> {
        let event_codes = int32("event_codes", event_codes)?;
        let event_time = int64("event_time", event_time)?;
        let available_at = available_at.map(|a| int64("available_at", a)).transpose()?;
        let retracted_at = retracted_at.map(|a| nullable_int64("retracted_at", a)).transpose()?;
        let query_codes = int32("query_codes", query_codes)?;
        let query_time = int64("query_time", query_time)?;
        let input = HistoryInput {
            event_codes: event_codes.values(),
            event_time: event_time.values(),
            available_at: available_at.as_ref().map(|a| &a.values()[..]),
            retracted_at: retracted_at.as_ref(),
            lanes: &lanes.0,
            n_keys,
            query_codes: query_codes.values(),
            query_time: query_time.values(),
        };
        Ok(PyArrowType(py.detach(|| history(&self.plan, &input, threads))?))
    }
}

#[pyfunction]
#[pyo3(signature = (source_codes, event_time, available_at, deleted, n_keys, query_codes, query_time, ttl_us, threads))]
#[expect(clippy::too_many_arguments, reason = "columns of two tables, passed once")]
pub fn as_of(
    py: Python<'_>,
    source_codes: ArrayArg,
    event_time: ArrayArg,
    available_at: Option<ArrayArg>,
    deleted: Option<ArrayArg>,
    n_keys: usize,
    query_codes: ArrayArg,
    query_time: ArrayArg,
    ttl_us: Option<i64>,
    threads: usize,
) -> PyResult<PyArrowType<RecordBatch>> {
    let source_codes = int32("source_codes", source_codes)?;
    let event_time = int64("event_time", event_time)?;
    let available_at = available_at.map(|a| int64("available_at", a)).transpose()?;
    let deleted = deleted.map(|a| nullable_bool("deleted", a)).transpose()?;
    let query_codes = int32("query_codes", query_codes)?;
    let query_time = int64("query_time", query_time)?;
    let input = AsOfInput {
        source_codes: source_codes.values(),
        event_time: event_time.values(),
        available_at: available_at.as_ref().map(|a| &a.values()[..]),
        deleted: deleted.as_ref(),
        n_keys,
        query_codes: query_codes.values(),
        query_time: query_time.values(),
        ttl_us,
    };
    Ok(PyArrowType(py.detach(|| run_as_of(&input, threads))?))
}
