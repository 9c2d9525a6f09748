//! Event views online: one value of bytes per entity that answers every window at any later instant.
//!
//! Events are folded into tiles. Two neighbouring events share one only if no window can ever begin between them: window
//! tails move over multiples of their hop, from where they are at the instant of the build. Events at or after that
//! instant keep their own times, because the head of a window is exact. A tile of few events holds their values, which is
//! shorter than the states of many slots and as fast to read. A state takes later events in: cuts between tiles only
//! ever go as time goes on, so old tiles are copied or joined, never split.

mod build;
mod events;
mod format;
mod layout;
mod read;
mod sink;
mod stored;

pub use build::{EventRows, build, update};
pub use read::StateReader;

#[cfg(test)]
mod tests;
