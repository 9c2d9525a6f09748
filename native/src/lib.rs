//! The Asof kernel: keys, bounds, aggregates and packed states, on Arrow columns and bytes.

pub mod aggregates;
pub mod error;
pub mod output;
pub mod plan;
#[cfg(feature = "python")]
mod python;
pub mod wire;
