//! The canonical bytes of an entity key: what every online store uses as its key.
//!
//! Each part is its type tag, then: integers, timestamps and dates as big-endian two's complement with the sign bit
//! flipped (bytes sort as values do), a bool as one byte, strings and binary as a varint length and their bytes.
//! A key over [`KEY_MAX_BYTES`] becomes `0x7f` and the SHA-256 of the long form.

use arrow_array::BinaryArray;
use arrow_array::builder::BinaryBuilder;
use sha2::{Digest, Sha256};

use super::columns::{KeyColumns, KeyType, Part};
use crate::wire::put_varint;

/// The longest canonical key; embedded stores allow 511 bytes with their own prefix.
pub const KEY_MAX_BYTES: usize = 400;

const HASHED: u8 = 0x7f;

/// Builds one key at a time in a reused buffer.
#[derive(Default)]
pub struct KeyEncoder {
    buffer: Vec<u8>,
}

impl KeyEncoder {
    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    pub fn push(&mut self, key_type: KeyType, part: Part<'_>) {
        self.buffer.push(key_type as u8);
        match (key_type, part) {
            (KeyType::Bool, Part::Int(value)) => self.buffer.push(value as u8),
            (KeyType::Date32, Part::Int(value)) => {
                self.buffer.extend_from_slice(&((value as i32 as u32) ^ (1 << 31)).to_be_bytes());
            }
            (_, Part::Int(value)) => self.buffer.extend_from_slice(&((value as u64) ^ (1 << 63)).to_be_bytes()),
            (_, Part::Bytes(bytes)) => {
                put_varint(&mut self.buffer, bytes.len() as u128);
                self.buffer.extend_from_slice(bytes);
            }
        }
    }

    /// The key of a single part.
    pub fn whole(&mut self, key_type: KeyType, part: Part<'_>) -> &[u8] {
        self.clear();
        self.push(key_type, part);
        self.finish()
    }

    /// The finished key, hashed if it is too long.
    pub fn finish(&mut self) -> &[u8] {
        if self.buffer.len() > KEY_MAX_BYTES {
            let digest = Sha256::digest(&self.buffer);
            self.buffer.clear();
            self.buffer.push(HASHED);
            self.buffer.extend_from_slice(&digest);
        }
        &self.buffer
    }
}

/// The canonical bytes of every row; null where any part is null.
pub fn encode_keys(keys: &KeyColumns) -> BinaryArray {
    let mut encoder = KeyEncoder::default();
    let mut out = BinaryBuilder::with_capacity(keys.len(), keys.len() * 12);
    for row in 0..keys.len() {
        if keys.is_null(row) {
            out.append_null();
            continue;
        }
        encoder.clear();
        keys.parts(row).for_each(|(key_type, part)| encoder.push(key_type, part));
        out.append_value(encoder.finish());
    }
    out.finish()
}
