//! The Asof kernel: keys, bounds, aggregates and packed states, on Arrow columns and bytes.

#[cfg(feature = "python")]
mod python;
