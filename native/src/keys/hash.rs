//! The stable 64-bit hashes behind key tables and partitions: fixed constants, equal on every platform.

const FOLD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes all bits of a word into all bits of the result (the finalizer of MurmurHash3's 64-bit variant 13); a bijection.
#[inline]
pub fn mix64(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Hashes a byte string, eight little-endian bytes at a time, then its length.
#[inline]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut state = FOLD;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        state = combine(state, u64::from_le_bytes(word.try_into().expect("chunks_exact gives eight bytes")));
    }
    let mut tail = [0; 8];
    tail[..words.remainder().len()].copy_from_slice(words.remainder());
    state = combine(state, u64::from_le_bytes(tail));
    combine(state, bytes.len() as u64)
}

/// Folds one more part into the hash of the parts before it; the order of parts matters.
#[inline]
pub fn combine(state: u64, part: u64) -> u64 {
    mix64((state ^ part).wrapping_mul(FOLD).wrapping_add(state.rotate_left(23)))
}

/// Maps a hash to `0..n`. Remixed, so that the keys of one partition still spread over a hash table's buckets.
#[inline]
pub fn partition_of(hash: u64, n: i32) -> i32 {
    ((u128::from(mix64(hash ^ FOLD)) * n as u128) >> 64) as i32
}
