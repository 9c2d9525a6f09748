//! The distinct values of a lane and how often each occurs: exact distinct counts and top k.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::value::{Shape, Value, ValueRef};
use crate::error::Result;
use crate::wire::{Reader, damaged, put_varint};

/// Occurrences by canonical value (-0.0 is 0.0).
#[derive(Clone, Debug, Default)]
pub struct ValueCounts {
    counts: BTreeMap<Value, u64>,
}

impl ValueCounts {
    pub fn clear(&mut self) {
        self.counts.clear();
    }

    pub fn add(&mut self, value: ValueRef<'_>) {
        self.add_many(value.canonical().to_owned(), 1);
    }

    fn add_many(&mut self, value: Value, n: u64) {
        let count = self.counts.entry(value).or_insert(0);
        *count = count.saturating_add(n);
    }

    pub fn merge(&mut self, other: &Self) {
        for (value, &n) in &other.counts {
            self.add_many(value.clone(), n);
        }
    }

    pub fn distinct(&self) -> usize {
        self.counts.len()
    }

    /// The `k` most frequent values, most frequent first, then the smaller value first.
    pub fn top(&self, k: usize) -> Vec<ValueRef<'_>> {
        let mut ranked: Vec<_> = self.counts.iter().map(|(value, &n)| (Reverse(n), value.as_ref())).collect();
        if k < ranked.len() && k > 0 {
            ranked.select_nth_unstable(k - 1);
        }
        ranked.truncate(k);
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, value)| value).collect()
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.counts.len() as u128);
        for (value, &n) in &self.counts {
            value.as_ref().encode(out);
            put_varint(out, n.into());
        }
    }

    /// Adds a stored state of the same kind.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are damaged.
    pub fn merge_encoded(&mut self, shape: Shape, reader: &mut Reader<'_>) -> Result<()> {
        for _ in 0..reader.length()? {
            let value = ValueRef::decode(shape, reader)?;
            if value.is_nan() {
                return Err(damaged("a set holds NaN"));
            }
            self.add_many(value.to_owned(), reader.varint()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> ValueCounts {
        let mut counts = ValueCounts::default();
        for &x in values {
            counts.add(ValueRef::Float(x));
        }
        counts
    }

    fn bytes(counts: &ValueCounts) -> Vec<u8> {
        let mut out = Vec::new();
        counts.encode(&mut out);
        out
    }

    #[test]
    fn zeros_of_both_signs_are_one_value() {
        assert_eq!(of(&[0.0, -0.0, 1.0]).distinct(), 2);
    }

    #[test]
    fn ties_on_frequency_go_to_the_smaller_value() {
        let counts = of(&[3.0, 1.0, 2.0, 2.0, 3.0, -5.0]);
        assert_eq!(counts.top(3), [ValueRef::Float(2.0), ValueRef::Float(3.0), ValueRef::Float(-5.0)]);
        assert_eq!(counts.top(9).len(), 4);
    }

    #[test]
    fn merging_in_any_order_gives_the_same_bytes() {
        let values = [1.0, 2.0, 2.0, 7.5, -1.0, 1.0, f64::INFINITY];
        let whole = bytes(&of(&values));
        for cut in 0..=values.len() {
            let mut merged = of(&values[cut..]);
            merged.merge(&of(&values[..cut]));
            assert_eq!(bytes(&merged), whole);
            let mut read = ValueCounts::default();
            read.merge_encoded(Shape::Float, &mut Reader::new(&bytes(&merged))).unwrap();
            assert_eq!(bytes(&read), whole);
        }
    }
}
