//! The Asof kernel: keys, bounds, aggregates and packed states, on Arrow columns and bytes.

pub mod aggregates;
pub mod answer;
pub mod as_of;
pub mod block;
pub mod defaults;
pub mod error;
mod finalize;
pub mod history;
pub mod keys;
pub mod output;
pub mod plan;
#[cfg(feature = "python")]
mod python;
pub mod rows;
pub mod states;
pub mod status;
pub mod values;
pub mod wire;
