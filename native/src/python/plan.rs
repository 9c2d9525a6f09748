//! The compiled plan of an event view, as Python sees it.

use std::sync::Arc;

use arrow_pyarrow::PyArrowType;
use arrow_schema::Schema;
use pyo3::prelude::*;

use crate::plan::{FeatureSpec, Window, WindowPlan};

/// One windowed feature to compile.
#[pyclass(name = "WindowFeature", module = "asof._native", frozen, from_py_object)]
#[derive(Clone)]
pub struct PyWindowFeature {
    spec: FeatureSpec,
}

#[pymethods]
impl PyWindowFeature {
    #[new]
    #[pyo3(signature = (name, function, lane=None, window_us=None, hop_us=None, n=None, quantile=None, by=None))]
    #[expect(clippy::too_many_arguments, reason = "one per part of a declaration, named by the caller")]
    fn new(
        name: String,
        function: String,
        lane: Option<usize>,
        window_us: Option<i64>,
        hop_us: Option<i64>,
        n: Option<usize>,
        quantile: Option<f64>,
        by: Option<usize>,
    ) -> Self {
        Self { spec: FeatureSpec { name, function, lane, window_us, hop_us, n, quantile, by } }
    }
}

/// Features of one event view, compiled; shared by history and online states.
#[pyclass(name = "WindowPlan", module = "asof._native", frozen)]
pub struct PyWindowPlan {
    pub plan: Arc<WindowPlan>,
}

#[pymethods]
impl PyWindowPlan {
    #[new]
    fn new(lanes: PyArrowType<Schema>, features: Vec<PyWindowFeature>) -> PyResult<Self> {
        let specs: Vec<_> = features.into_iter().map(|f| f.spec).collect();
        Ok(Self { plan: Arc::new(WindowPlan::new(&lanes.0, &specs)?) })
    }

    #[getter]
    fn output_schema(&self) -> PyArrowType<Schema> {
        PyArrowType(self.plan.output_schema())
    }
}

/// Where a window begins at an instant.
#[pyfunction]
pub fn window_start(length_us: i64, hop_us: i64, instant: i64) -> i64 {
    Window::Sliding { length_us, hop_us }.tail(instant)
}
