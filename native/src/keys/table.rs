//! The two maps from a key to its dense code: integers, and byte strings kept in one arena.

use hashbrown::HashTable;

use super::hash::mix64;

/// A range of integers at most this much wider than the number of rows is kept as a plain array.
const DENSE_FACTOR: i128 = 4;
const DENSE_FLOOR: i128 = 1 << 16;

/// Codes of integer keys: an array over the range while the range is narrow, a hash table once it is not.
pub enum IntTable {
    Dense { first: i64, codes: Vec<i32> },
    Hashed(HashTable<(i64, i32)>),
}

impl Default for IntTable {
    fn default() -> Self {
        Self::Dense { first: 0, codes: Vec::new() }
    }
}

impl IntTable {
    /// Prepares for keys in `low..=high`, `rows` of them at most, besides the `known` ones.
    pub fn reserve(&mut self, low: i64, high: i64, rows: usize, known: usize) {
        let Self::Dense { first, codes } = self else { return };
        let (mut from, mut to) = (low, high);
        if !codes.is_empty() {
            from = from.min(*first);
            to = to.max(*first + (codes.len() as i64 - 1));
            if from == *first && (to - from) as usize == codes.len() - 1 {
                return;
            }
        }
        let width = i128::from(to) - i128::from(from) + 1;
        if width <= (rows + known) as i128 * DENSE_FACTOR + DENSE_FLOOR {
            let mut wider = vec![-1; width as usize];
            let offset = if codes.is_empty() { 0 } else { (*first - from) as usize };
            wider[offset..offset + codes.len()].copy_from_slice(codes);
            *self = Self::Dense { first: from, codes: wider };
            return;
        }
        let mut table = HashTable::with_capacity(known.max(1024));
        for (offset, code) in codes.iter().enumerate().filter(|(_, code)| **code >= 0) {
            let key = *first + offset as i64;
            table.insert_unique(mix64(key as u64), (key, *code), |entry| mix64(entry.0 as u64));
        }
        *self = Self::Hashed(table);
    }

    /// Every key with its code, in no order.
    pub fn entries(&self) -> Box<dyn Iterator<Item = (i64, i32)> + '_> {
        match self {
            Self::Dense { first, codes } => {
                let keyed = codes.iter().enumerate().map(|(offset, code)| (*first + offset as i64, *code));
                Box::new(keyed.filter(|(_, code)| *code >= 0))
            }
            Self::Hashed(table) => Box::new(table.iter().copied()),
        }
    }

    /// The code of `key`, or -1.
    #[inline]
    pub fn get(&self, key: i64) -> i32 {
        match self {
            Self::Dense { first, codes } => codes.get(key.wrapping_sub(*first) as u64 as usize).copied().unwrap_or(-1),
            Self::Hashed(table) => table.find(mix64(key as u64), |entry| entry.0 == key).map_or(-1, |entry| entry.1),
        }
    }

    /// The code of `key`, which becomes `next` if it is new. `reserve` has been called with a range that holds it.
    #[inline]
    pub fn get_or_insert(&mut self, key: i64, next: i32) -> i32 {
        match self {
            Self::Dense { first, codes } => {
                let slot = &mut codes[(key - *first) as usize];
                if *slot < 0 {
                    *slot = next;
                }
                *slot
            }
            Self::Hashed(table) => {
                let hash = mix64(key as u64);
                table.entry(hash, |e| e.0 == key, |e| mix64(e.0 as u64)).or_insert((key, next)).get().1
            }
        }
    }
}

/// Codes of byte-string keys.
#[derive(Default)]
pub struct BytesTable {
    table: HashTable<(u64, i32)>,
    arena: Vec<u8>,
    ends: Vec<usize>,
}

impl BytesTable {
    /// The key of a code that was given out.
    #[inline]
    pub fn key(&self, code: i32) -> &[u8] {
        let code = code as usize;
        let start = if code == 0 { 0 } else { self.ends[code - 1] };
        &self.arena[start..self.ends[code]]
    }

    /// The code of `key` whose hash is `hash`, or -1.
    #[inline]
    pub fn get(&self, hash: u64, key: &[u8]) -> i32 {
        let same = |entry: &(u64, i32)| entry.0 == hash && self.key(entry.1) == key;
        self.table.find(hash, same).map_or(-1, |entry| entry.1)
    }

    /// The code of `key`; a new key gets the next code, which is the number of keys so far.
    #[inline]
    pub fn get_or_insert(&mut self, hash: u64, key: &[u8]) -> i32 {
        let known = self.get(hash, key);
        if known >= 0 {
            return known;
        }
        let code = self.ends.len() as i32;
        self.arena.extend_from_slice(key);
        self.ends.push(self.arena.len());
        self.table.insert_unique(hash, (hash, code), |entry| entry.0);
        code
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }
}
