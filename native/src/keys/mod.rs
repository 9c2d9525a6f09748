//! Entity keys: canonical bytes, dense codes and stable partitions of one or more join-key columns.

mod columns;
mod encode;
mod hash;
mod index;
mod table;

pub use columns::{KeyColumns, KeyType, Part};
pub use encode::{KEY_MAX_BYTES, KeyEncoder, encode_keys};

pub use hash::hash_bytes;
pub use index::KeyIndex;

use hash::partition_of;

/// The partition in `0..n` of each row; stable across machines and releases; a null key goes to 0.
pub fn partition(keys: &KeyColumns, n: i32) -> Vec<i32> {
    (0..keys.len()).map(|row| if keys.is_null(row) { 0 } else { partition_of(keys.hash(row), n) }).collect()
}

#[cfg(test)]
mod tests;
