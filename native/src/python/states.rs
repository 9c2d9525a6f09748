//! Python's door to the stored states of event views.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_pyarrow::PyArrowType;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::arrays::{int32, int64, nullable_int64};
use super::arrow::{ArrayArg, returned};
use super::online::{Block, Values};
use super::plan::PyWindowPlan;
use crate::states::{self, EventRows};

#[pymethods]
impl PyWindowPlan {
    #[pyo3(signature = (event_codes, event_time, available_at, retracted_at, lanes, n_keys, instant, threads))]
    #[expect(clippy::too_many_arguments, reason = "one per column of a log, as history takes them")]
    fn build_states(
        &self,
        py: Python<'_>,
        event_codes: ArrayArg,
        event_time: ArrayArg,
        available_at: Option<ArrayArg>,
        retracted_at: Option<ArrayArg>,
        lanes: PyArrowType<RecordBatch>,
        n_keys: usize,
        instant: i64,
        threads: usize,
    ) -> PyResult<ArrayArg> {
        let event_codes = int32("event_codes", event_codes)?;
        let event_time = int64("event_time", event_time)?;
        let available_at = available_at.map(|a| int64("available_at", a)).transpose()?;
        let retracted_at = retracted_at.map(|a| nullable_int64("retracted_at", a)).transpose()?;
        let events = EventRows {
            codes: event_codes.values(),
            event_time: event_time.values(),
            available_at: available_at.as_ref().map(|a| &a.values()[..]),
            retracted_at: retracted_at.as_ref(),
            lanes: &lanes.0,
        };
        Ok(returned(&py.detach(|| states::build(&self.plan, &events, n_keys, instant, threads))?))
    }

    #[pyo3(signature = (old, event_codes, event_time, lanes, instant, threads))]
    #[expect(clippy::too_many_arguments, reason = "one per column of a log, as build_states takes them")]
    fn update_states(
        &self,
        py: Python<'_>,
        old: &Bound<'_, PyAny>,
        event_codes: ArrayArg,
        event_time: ArrayArg,
        lanes: PyArrowType<RecordBatch>,
        instant: i64,
        threads: usize,
    ) -> PyResult<ArrayArg> {
        let (old, event_codes) = (Values::new(old)?, int32("event_codes", event_codes)?);
        let event_time = int64("event_time", event_time)?;
        let events = EventRows {
            codes: event_codes.values(),
            event_time: event_time.values(),
            available_at: None,
            retracted_at: None,
            lanes: &lanes.0,
        };
        let update = |old: &[Option<&[u8]>]| states::update(&self.plan, old, &events, instant, threads);
        Ok(returned(&old.with(py, update)?))
    }

    #[pyo3(signature = (defaults=None, chosen=None))]
    fn reader(&self, defaults: Option<PyArrowType<RecordBatch>>, chosen: Option<Vec<usize>>) -> PyResult<StateReader> {
        let defaults = defaults.map(|batch| batch.0);
        let plan = Arc::clone(&self.plan);
        Ok(StateReader { reader: states::StateReader::new(plan, defaults.as_ref(), chosen.as_deref())? })
    }
}

/// A window plan made ready to read stored states.
#[pyclass(module = "asof._native", frozen)]
pub struct StateReader {
    reader: states::StateReader,
}

#[pymethods]
impl StateReader {
    fn read(&self, py: Python<'_>, values: &Bound<'_, PyAny>, instant: i64) -> PyResult<Block> {
        let read = |values: &[Option<&[u8]>]| self.reader.read(values.iter().copied(), instant);
        Block::of(Values::new(values)?.with(py, read))
    }

    fn tiles(&self, value: &Bound<'_, PyBytes>) -> PyResult<(Vec<i64>, Block)> {
        let (times, block) = self.reader.tiles(value.as_bytes())?;
        Ok((times, Block::of(Ok(block))?))
    }

    fn failed(&self, n_keys: usize) -> PyResult<Block> {
        Block::of(self.reader.failed(n_keys))
    }
}
