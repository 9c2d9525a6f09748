//! Dense codes of distinct keys, in first-seen order: what the rest of the kernel groups by.

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, BinaryArray, Int64Array};

use super::columns::{KeyColumns, KeyType, Part};
use super::encode::KeyEncoder;
use super::hash::hash_bytes;
use super::table::{BytesTable, IntTable};
use crate::error::KernelError;

enum Table {
    /// A single int64 column.
    Int { table: IntTable, len: usize },
    /// Anything else: the bytes of a single string or binary column as they are, canonical key bytes otherwise.
    Bytes(BytesTable),
}

/// Assigns codes 0, 1, 2, ... to distinct non-null keys as they are first seen.
pub struct KeyIndex {
    types: Vec<KeyType>,
    table: Table,
}

impl KeyIndex {
    /// An empty index over keys of the given types.
    pub fn new(types: Vec<KeyType>) -> Self {
        let table = match types.as_slice() {
            [KeyType::Int64] => Table::Int { table: IntTable::default(), len: 0 },
            _ => Table::Bytes(BytesTable::default()),
        };
        Self { types, table }
    }

    pub fn len(&self) -> usize {
        match &self.table {
            Table::Int { len, .. } => *len,
            Table::Bytes(table) => table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The code of every row, adding new keys; -1 where the key is null.
    pub fn extend(&mut self, keys: &KeyColumns) -> Result<Vec<i32>, KernelError> {
        self.check(keys)?;
        if self.len() + keys.len() > i32::MAX as usize {
            return Err(KernelError::Invalid("more than 2^31 - 1 keys in one index; partition them first".into()));
        }
        match &mut self.table {
            Table::Int { table, len } => Ok(extend_ints(table, len, ints(keys))),
            Table::Bytes(table) => Ok(each_key(keys, |key| table.get_or_insert(hash_bytes(key), key))),
        }
    }

    /// The code of every row; -1 where the key is null or unknown.
    pub fn lookup(&self, keys: &KeyColumns) -> Result<Vec<i32>, KernelError> {
        self.check(keys)?;
        match &self.table {
            Table::Int { table, .. } => Ok(map_ints(ints(keys), |key| table.get(key))),
            Table::Bytes(table) => Ok(each_key(keys, |key| table.get(hash_bytes(key), key))),
        }
    }

    /// The canonical bytes of every key, by code.
    pub fn encoded(&self) -> BinaryArray {
        let mut encoder = KeyEncoder::default();
        let mut out = BinaryBuilder::with_capacity(self.len(), self.len() * 12);
        match &self.table {
            Table::Int { table, len } => {
                let mut keys = vec![0; *len];
                table.entries().for_each(|(key, code)| keys[code as usize] = key);
                for key in keys {
                    out.append_value(encoder.whole(KeyType::Int64, Part::Int(key)));
                }
            }
            Table::Bytes(table) => {
                for code in 0..table.len() as i32 {
                    match self.types.as_slice() {
                        [KeyType::Utf8 | KeyType::Binary] => {
                            out.append_value(encoder.whole(self.types[0], Part::Bytes(table.key(code))));
                        }
                        _ => out.append_value(table.key(code)),
                    }
                }
            }
        }
        out.finish()
    }

    fn check(&self, keys: &KeyColumns) -> Result<(), KernelError> {
        let found: Vec<_> = keys.types().collect();
        if found == self.types {
            return Ok(());
        }
        let expected = &self.types;
        Err(KernelError::Type(format!("the index holds keys of types {expected:?}, but these columns are {found:?}")))
    }
}

fn ints(keys: &KeyColumns) -> &Int64Array {
    keys.single().expect("an int table has one column").1.as_primitive::<Int64Type>()
}

fn extend_ints(table: &mut IntTable, len: &mut usize, keys: &Int64Array) -> Vec<i32> {
    let mut range = keys.iter().flatten().fold(None, |range: Option<(i64, i64)>, key| {
        Some(range.map_or((key, key), |(low, high)| (low.min(key), high.max(key))))
    });
    if let Some((low, high)) = range.take() {
        table.reserve(low, high, keys.len(), *len);
    }
    map_ints(keys, |key| {
        let code = table.get_or_insert(key, *len as i32);
        *len += usize::from(code as usize == *len);
        code
    })
}

fn map_ints(keys: &Int64Array, mut code: impl FnMut(i64) -> i32) -> Vec<i32> {
    if keys.null_count() == 0 {
        return keys.values().iter().map(|key| code(*key)).collect();
    }
    keys.iter().map(|key| key.map_or(-1, &mut code)).collect()
}

fn each_key(keys: &KeyColumns, mut code: impl FnMut(&[u8]) -> i32) -> Vec<i32> {
    match keys.single() {
        Some((KeyType::Utf8, column)) => {
            column.as_string::<i32>().iter().map(|key| key.map_or(-1, |key| code(key.as_bytes()))).collect()
        }
        Some((KeyType::Binary, column)) => {
            column.as_binary::<i32>().iter().map(|key| key.map_or(-1, &mut code)).collect()
        }
        _ => {
            let mut encoder = KeyEncoder::default();
            let rows = 0..keys.len();
            rows.map(|row| {
                if keys.is_null(row) {
                    return -1;
                }
                encoder.clear();
                keys.parts(row).for_each(|(key_type, part)| encoder.push(key_type, part));
                code(encoder.finish())
            })
            .collect()
        }
    }
}
