//! One partial state per value of a secondary key, such as a sum per merchant.

use std::collections::BTreeMap;

use super::value::{LaneType, Shape, Value, ValueRef};
use super::{Accumulator, Kind};
use crate::error::Result;
use crate::wire::{Reader, put_varint};

/// States of one kind by key, in the order of the keys. A group is there once it has taken a value.
#[derive(Clone, Debug)]
pub struct Grouped {
    kind: Kind,
    lane: Option<LaneType>,
    key: Shape,
    groups: BTreeMap<Value, Accumulator>,
}

impl Grouped {
    /// `lane` is what the states take values of, `key` what they are grouped by.
    pub fn new(kind: &Kind, lane: Option<LaneType>, key: LaneType) -> Self {
        Self { kind: kind.clone(), lane, key: key.shape(), groups: BTreeMap::new() }
    }

    pub fn clear(&mut self) {
        self.groups.clear();
    }

    /// Adds one value of an event to its group. NaN is null: nothing is added.
    pub fn add(&mut self, key: ValueRef<'_>, value: ValueRef<'_>, time: i64, order: i64) {
        if !value.is_nan() {
            self.group(key.to_owned()).add(value, time, order);
        }
    }

    fn group(&mut self, key: Value) -> &mut Accumulator {
        self.groups.entry(key).or_insert_with(|| Accumulator::new(&self.kind, self.lane))
    }

    pub fn merge(&mut self, other: &Self) {
        for (key, state) in &other.groups {
            self.group(key.clone()).merge(state);
        }
    }

    /// [`Accumulator::renumber`] of every group.
    pub fn renumber(&mut self) {
        self.groups.values_mut().for_each(Accumulator::renumber);
    }

    /// The groups, ascending by key.
    pub fn iter(&self) -> impl Iterator<Item = (ValueRef<'_>, &Accumulator)> {
        self.groups.iter().map(|(key, state)| (key.as_ref(), state))
    }

    pub fn encode(&self, base: i64, out: &mut Vec<u8>) {
        put_varint(out, self.groups.len() as u128);
        for (key, state) in &self.groups {
            key.as_ref().encode(out);
            state.encode(base, out);
        }
    }

    /// Adds stored groups of the same kind; `shape` is that of the values.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are damaged.
    pub fn merge_encoded(&mut self, shape: Shape, base: i64, reader: &mut Reader<'_>) -> Result<()> {
        for _ in 0..reader.length()? {
            let key = ValueRef::decode(self.key, reader)?.to_owned();
            self.group(key).merge_encoded(shape, base, reader)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [(&str, f64, i64); 6] =
        [("b", 0.1, 5), ("a", 0.2, 1), ("b", f64::INFINITY, 3), ("", 7.0, 1), ("a", -0.2, 9), ("b", 0.1, 5)];
    const KINDS: [Kind; 5] = [
        Kind::Moments { sum: false, squares: false },
        Kind::Moments { sum: true, squares: true },
        Kind::Min,
        Kind::Max,
        Kind::Last { n: 1 },
    ];

    fn filled(kind: &Kind, events: &[(usize, (&str, f64, i64))]) -> Grouped {
        let mut state = Grouped::new(kind, Some(LaneType::Float64), LaneType::Utf8);
        for &(order, (key, value, time)) in events {
            state.add(ValueRef::Bytes(key.as_bytes()), ValueRef::Float(value), time, order as i64);
        }
        state
    }

    fn bytes(state: &Grouped) -> Vec<u8> {
        let mut out = Vec::new();
        state.encode(4, &mut out);
        out
    }

    #[test]
    fn every_split_gives_the_same_bytes() {
        let events: Vec<_> = EVENTS.into_iter().enumerate().collect();
        for kind in KINDS {
            let whole = bytes(&filled(&kind, &events));
            for cut in 0..=events.len() {
                let mut merged = filled(&kind, &events[cut..]);
                merged.merge(&filled(&kind, &events[..cut]));
                assert_eq!(bytes(&merged), whole, "{kind:?}");
                let mut read = filled(&kind, &[]);
                for part in [&events[cut..], &events[..cut]] {
                    let stored = bytes(&filled(&kind, part));
                    let mut reader = Reader::new(&stored);
                    read.merge_encoded(Shape::Float, 4, &mut reader).unwrap();
                    assert!(reader.is_empty());
                }
                assert_eq!(bytes(&read), whole, "{kind:?}");
            }
        }
    }

    #[test]
    fn groups_are_ascending_and_those_without_values_are_absent() {
        let mut state = filled(&Kind::Min, &EVENTS.into_iter().enumerate().collect::<Vec<_>>());
        state.add(ValueRef::Bytes(b"zz"), ValueRef::Float(f64::NAN), 0, 9);
        let keys: Vec<_> = state.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, [b"".as_slice(), b"a", b"b"].map(ValueRef::Bytes));
        state.clear();
        assert_eq!(state.iter().count(), 0);
    }

    #[test]
    fn truncated_groups_are_errors() {
        for kind in KINDS {
            let whole = bytes(&filled(&kind, &EVENTS.into_iter().enumerate().collect::<Vec<_>>()));
            for cut in 0..whole.len() {
                let mut state = filled(&kind, &[]);
                assert!(state.merge_encoded(Shape::Float, 4, &mut Reader::new(&whole[..cut])).is_err(), "{kind:?}");
            }
        }
    }
}
