//! Python's door to stored values and to the answers of online reads.

use std::sync::Arc;

use arrow_array::{RecordBatch, make_array};
use arrow_pyarrow::PyArrowType;
use arrow_schema::Schema;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use super::arrow::{ArrayArg, returned};
use super::values::{to_datetime, to_python};
use crate::answer::{self, Pick};
use crate::block;
use crate::rows::{self, SourceRows};
use crate::{defaults, status};

/// Reads of fewer keys than this keep the interpreter: releasing it would cost more than it gives.
const RELEASE_FROM: usize = 256;

/// The stored values of some keys, borrowed from Python.
pub struct Values<'py>(Vec<Option<Bound<'py, PyBytes>>>);

impl<'py> Values<'py> {
    pub fn new(values: &Bound<'py, PyAny>) -> PyResult<Self> {
        let one = |value: Bound<'py, PyAny>| {
            if value.is_none() {
                return Ok(None);
            }
            let wrong = |_| PyTypeError::new_err("stored values are bytes, or None for a key without a value");
            value.cast_into::<PyBytes>().map(Some).map_err(wrong)
        };
        if let Ok(list) = values.cast::<PyList>() {
            return Ok(Self(list.iter().map(one).collect::<PyResult<_>>()?));
        }
        Ok(Self(values.try_iter()?.map(|value| one(value?)).collect::<PyResult<_>>()?))
    }

    fn slices(&self) -> Vec<Option<&[u8]>> {
        self.0.iter().map(|value| value.as_ref().map(|bytes| bytes.as_bytes())).collect()
    }

    /// Runs a read over the values, without the interpreter where there are many.
    pub fn with<T: Send>(&self, py: Python<'_>, read: impl FnOnce(&[Option<&[u8]>]) -> T + Send) -> T {
        let slices = self.slices();
        if slices.len() < RELEASE_FROM { read(&slices) } else { py.detach(|| read(&slices)) }
    }
}

/// How to pack and read the rows of a state view.
#[pyclass(module = "asof._native", frozen)]
pub struct RowPlan {
    plan: rows::RowPlan,
}

#[pymethods]
impl RowPlan {
    #[new]
    #[pyo3(signature = (schema, ttl_us=None, defaults=None))]
    fn new(
        schema: PyArrowType<Schema>,
        ttl_us: Option<i64>,
        defaults: Option<PyArrowType<RecordBatch>>,
    ) -> PyResult<Self> {
        let defaults = defaults.map(|batch| batch.0);
        Ok(Self { plan: rows::RowPlan::new(&schema.0, ttl_us, defaults.as_ref())? })
    }

    #[pyo3(signature = (codes, event_time, available_at, deleted, columns, n_keys, instant, order=None))]
    #[expect(clippy::too_many_arguments, reason = "one per column of a source, as history takes them")]
    fn build(
        &self,
        py: Python<'_>,
        codes: ArrayArg,
        event_time: ArrayArg,
        available_at: Option<ArrayArg>,
        deleted: Option<ArrayArg>,
        columns: PyArrowType<RecordBatch>,
        n_keys: usize,
        instant: i64,
        order: Option<ArrayArg>,
    ) -> PyResult<ArrayArg> {
        let array = |array: ArrayArg| make_array(array.0);
        let (available_at, deleted, order) = (available_at.map(array), deleted.map(array), order.map(array));
        let (codes, event_time) = (array(codes), array(event_time));
        let source = SourceRows::new(&codes, &event_time, available_at.as_ref(), deleted.as_ref(), order.as_ref())?;
        Ok(returned(&py.detach(|| self.plan.build(&source, &columns.0, n_keys, instant))?))
    }

    fn merge(
        &self,
        py: Python<'_>,
        old: &Bound<'_, PyAny>,
        new: &Bound<'_, PyAny>,
        instant: i64,
    ) -> PyResult<ArrayArg> {
        let (old, new) = (Values::new(old)?, Values::new(new)?);
        if old.0.len() != new.0.len() {
            let (old, new) = (old.0.len(), new.0.len());
            return Err(pyo3::exceptions::PyValueError::new_err(format!("{old} old values, but {new} new ones")));
        }
        let (old, new) = (old.slices(), new.slices());
        let merged = py.detach(|| self.plan.merge(old.into_iter(), new.into_iter(), instant));
        Ok(returned(&merged?))
    }

    fn read(&self, py: Python<'_>, values: &Bound<'_, PyAny>, instant: i64) -> PyResult<Block> {
        let read = |values: &[Option<&[u8]>]| self.plan.read(values.iter().copied(), instant);
        Block::of(Values::new(values)?.with(py, read))
    }

    fn failed(&self, n_keys: usize) -> PyResult<Block> {
        Block::of(self.plan.failed(n_keys))
    }
}

/// The values of one view for n keys.
#[pyclass(module = "asof._native", frozen)]
pub struct Block {
    block: Arc<block::Block>,
}

impl Block {
    pub fn of(block: crate::error::Result<block::Block>) -> PyResult<Self> {
        Ok(Self { block: Arc::new(block?) })
    }
}

#[pymethods]
impl Block {
    #[staticmethod]
    #[pyo3(signature = (batch, row_status=None, event_time=None))]
    fn from_arrow(
        batch: PyArrowType<RecordBatch>,
        row_status: Option<ArrayArg>,
        event_time: Option<ArrayArg>,
    ) -> PyResult<Self> {
        let (rows, times) = (row_status.map(|a| make_array(a.0)), event_time.map(|a| make_array(a.0)));
        Self::of(block::Block::from_batch(&batch.0, rows.as_ref(), times.as_ref()))
    }

    #[pyo3(signature = (*, defaults=true))]
    fn to_arrow(&self, defaults: bool) -> PyResult<PyArrowType<RecordBatch>> {
        Ok(PyArrowType(self.block.batch(defaults)?))
    }

    fn statuses(&self) -> PyResult<PyArrowType<RecordBatch>> {
        Ok(PyArrowType(self.block.status_batch()?))
    }

    fn event_time(&self) -> ArrayArg {
        returned(&self.block.event_time_array())
    }

    fn stale(&self) -> Self {
        Self { block: Arc::new(self.block.stale()) }
    }

    fn __len__(&self) -> usize {
        self.block.rows()
    }
}

/// The shape of all answers to one kind of read.
#[pyclass(module = "asof._native", frozen)]
pub struct AnswerPlan {
    plan: Arc<answer::AnswerPlan>,
}

#[pymethods]
impl AnswerPlan {
    #[new]
    fn new(blocks: Vec<String>, picks: Vec<(usize, usize, String)>) -> PyResult<Self> {
        let picks = picks.into_iter().map(|(block, column, name)| Pick { block, column, name }).collect();
        Ok(Self { plan: Arc::new(answer::AnswerPlan::new(blocks, picks)?) })
    }

    fn answer(&self, blocks: Vec<Bound<'_, Block>>) -> PyResult<Answer> {
        let blocks = blocks.iter().map(|block| block.get().block.clone()).collect();
        Ok(Answer { answer: answer::Answer::new(self.plan.clone(), blocks)? })
    }
}

/// Picked features of n keys.
#[pyclass(module = "asof._native", frozen)]
pub struct Answer {
    answer: answer::Answer,
}

impl Answer {
    /// A dict of one list per feature, with one item per key.
    fn columns<'py>(
        &self,
        py: Python<'py>,
        item: impl Fn(&Pick, usize) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let out = PyDict::new(py);
        for pick in self.answer.picks() {
            let items = (0..self.answer.rows()).map(|row| item(pick, row)).collect::<PyResult<Vec<_>>>()?;
            out.set_item(&pick.name, PyList::new(py, items)?)?;
        }
        Ok(out)
    }
}

#[pymethods]
impl Answer {
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.columns(py, |pick, row| to_python(py, self.answer.kind(pick), self.answer.value(pick, row)))
    }

    fn statuses<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.columns(py, |pick, row| Ok(PyString::intern(py, self.answer.status(pick, row)).into_any()))
    }

    fn event_times<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyList>>> {
        let time = |time: Option<i64>| match time {
            Some(time) => to_datetime(py, time),
            None => Ok(py.None().into_bound(py)),
        };
        let column = |block: &Arc<block::Block>| {
            let times = (0..block.rows()).map(|row| time(block.event_time(row)));
            PyList::new(py, times.collect::<PyResult<Vec<_>>>()?)
        };
        self.answer.blocks().iter().map(column).collect()
    }

    #[pyo3(signature = (statuses=false))]
    fn to_arrow(&self, statuses: bool) -> PyResult<PyArrowType<RecordBatch>> {
        Ok(PyArrowType(self.answer.batch(statuses)?))
    }

    #[pyo3(signature = (head, metadata=false))]
    fn to_json<'py>(&self, py: Python<'py>, head: &[u8], metadata: bool) -> PyResult<Bound<'py, PyBytes>> {
        let json = if self.answer.rows() < RELEASE_FROM {
            self.answer.json(head, metadata)?
        } else {
            py.detach(|| self.answer.json(head, metadata))?
        };
        Ok(PyBytes::new(py, &json))
    }

    fn __len__(&self) -> usize {
        self.answer.rows()
    }
}

#[pyfunction]
pub fn apply_defaults(
    py: Python<'_>,
    batch: PyArrowType<RecordBatch>,
    defaults: PyArrowType<RecordBatch>,
) -> PyResult<PyArrowType<RecordBatch>> {
    Ok(PyArrowType(py.detach(|| defaults::apply(&batch.0, &defaults.0))?))
}

#[pyfunction]
pub fn value_statuses(
    py: Python<'_>,
    batch: PyArrowType<RecordBatch>,
    row_status: ArrayArg,
) -> PyResult<PyArrowType<RecordBatch>> {
    let rows = make_array(row_status.0);
    Ok(PyArrowType(py.detach(|| status::of_batch(&batch.0, &rows))?))
}
