//! What can go wrong in the kernel, in words that a user can act on.

use std::fmt;

/// A kernel failure; the Python door maps each variant to the matching builtin exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelError {
    /// A plan or an argument that cannot be computed.
    Invalid(String),
    /// A column of a type that the kernel does not take.
    Type(String),
    /// An exact result that does not fit its type.
    Overflow(String),
    /// Stored bytes that no version of this kernel wrote.
    Corrupt(String),
}

pub type Result<T> = std::result::Result<T, KernelError>;

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) | Self::Type(text) | Self::Overflow(text) | Self::Corrupt(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for KernelError {}

impl From<arrow_schema::ArrowError> for KernelError {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::Invalid(error.to_string())
    }
}
