//! The first or last n values by (event time, ingest order).

use super::value::{Shape, Value, ValueRef};
use crate::error::Result;
use crate::wire::{Reader, damaged, put_signed, put_varint};

/// One kept value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    time: i64,
    order: i64,
    value: Value,
}

/// At most `n` entries in ascending order: the lowest, or with `last` the highest.
#[derive(Clone, Debug)]
pub struct Ends {
    n: usize,
    last: bool,
    entries: Vec<Entry>,
}

impl Ends {
    pub fn new(n: usize, last: bool) -> Self {
        Self { n, last, entries: Vec::new() }
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    pub fn add(&mut self, value: ValueRef<'_>, time: i64, order: i64) {
        let at = self.entries.partition_point(|e| (e.time, e.order) < (time, order));
        if self.full() && at == if self.last { 0 } else { self.n } {
            return;
        }
        self.entries.insert(at, Entry { time, order, value: value.to_owned() });
        self.trim();
    }

    fn full(&self) -> bool {
        self.entries.len() >= self.n
    }

    fn trim(&mut self) {
        if self.entries.len() > self.n {
            if self.last {
                self.entries.drain(..self.entries.len() - self.n);
            } else {
                self.entries.truncate(self.n);
            }
        }
    }

    pub fn merge(&mut self, other: &Self) {
        for entry in &other.entries {
            self.add(entry.value.as_ref(), entry.time, entry.order);
        }
    }

    /// Counts the order from 0 among entries of one time.
    pub fn renumber(&mut self) {
        let mut last = None;
        for entry in &mut self.entries {
            entry.order = match last {
                Some((time, order)) if time == entry.time => order + 1,
                _ => 0,
            };
            last = Some((entry.time, entry.order));
        }
    }

    /// The kept values, oldest first.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = ValueRef<'_>> + ExactSizeIterator {
        self.entries.iter().map(|e| e.value.as_ref())
    }

    /// Times are stored as distances from `base`.
    pub fn encode(&self, base: i64, out: &mut Vec<u8>) {
        put_varint(out, self.entries.len() as u128);
        for entry in &self.entries {
            put_signed(out, i128::from(entry.time) - i128::from(base));
            put_signed(out, entry.order.into());
            entry.value.as_ref().encode(out);
        }
    }

    /// Adds a stored state of the same kind.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are damaged.
    pub fn merge_encoded(&mut self, shape: Shape, base: i64, reader: &mut Reader<'_>) -> Result<()> {
        for _ in 0..reader.length()? {
            let time = i64::try_from(reader.wide_signed()? + i128::from(base))
                .map_err(|_| damaged("a time is out of range"))?;
            let order = reader.signed()?;
            self.add(ValueRef::decode(shape, reader)?, time, order);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(last: bool, events: &[(i64, i64)]) -> Ends {
        let mut ends = Ends::new(3, last);
        for &(time, order) in events {
            ends.add(ValueRef::Int(100 * time + order), time, order);
        }
        ends
    }

    fn ints(ends: &Ends) -> Vec<i64> {
        ends.values().map(|v| if let ValueRef::Int(x) = v { x } else { unreachable!() }).collect()
    }

    const EVENTS: [(i64, i64); 6] = [(5, 0), (1, 1), (5, 2), (3, 3), (1, 4), (9, 5)];

    #[test]
    fn ties_on_time_go_by_ingest_order() {
        assert_eq!(ints(&filled(false, &EVENTS)), [101, 104, 303]);
        assert_eq!(ints(&filled(true, &EVENTS)), [500, 502, 905]);
    }

    #[test]
    fn arrival_order_and_merging_do_not_matter() {
        for last in [false, true] {
            let whole = ints(&filled(last, &EVENTS));
            let mut reversed = EVENTS;
            reversed.reverse();
            assert_eq!(ints(&filled(last, &reversed)), whole);
            for cut in 0..=EVENTS.len() {
                let mut merged = filled(last, &EVENTS[cut..]);
                let mut bytes = Vec::new();
                filled(last, &EVENTS[..cut]).encode(7, &mut bytes);
                merged.merge_encoded(Shape::Int, 7, &mut Reader::new(&bytes)).unwrap();
                assert_eq!(ints(&merged), whole);
            }
        }
    }
}
