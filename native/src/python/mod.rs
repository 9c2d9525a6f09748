//! Python's door to the kernel: converts arguments, releases the interpreter, calls, converts back.

mod arrays;
mod arrow;
mod errors;
mod history;
mod keys;
mod online;
mod plan;
mod states;
mod values;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::history::as_of;
    #[pymodule_export]
    use super::keys::{KeyIndex, encode_keys, encode_keys_py, partition};
    #[pymodule_export]
    use super::online::{Answer, AnswerPlan, Block, RowPlan, apply_defaults, value_statuses};

    #[pymodule_export]
    use super::states::StateReader;

    #[pymodule_export]
    use super::plan::{PyWindowFeature, PyWindowPlan, window_start};

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        m.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
