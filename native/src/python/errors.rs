//! Kernel errors as Python's builtin exceptions.

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::error::KernelError;

impl From<KernelError> for PyErr {
    fn from(error: KernelError) -> Self {
        let text = error.to_string();
        match error {
            KernelError::Type(_) => PyTypeError::new_err(text),
            KernelError::Overflow(_) => PyOverflowError::new_err(text),
            KernelError::Invalid(_) | KernelError::Corrupt(_) => PyValueError::new_err(text),
        }
    }
}
