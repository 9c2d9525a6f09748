//! The aggregate algebra: partial states that take values in any order, merge, and store compactly.
//!
//! Every state is exact or depends on its inputs as a set only, so history, online reads, any order of arrival and
//! any tiling give the same bits. Removing a value, where a state can, leaves what was there before it came.

pub mod exact;
pub mod float;
pub mod grouped;
pub mod histogram;
pub mod hll;
pub mod mantissa;
pub mod moments;
pub mod ordered;
pub mod sets;
pub mod value;

use grouped::Grouped;
use histogram::{Histogram, number_of};
use hll::Hll;
use moments::Moments;
use ordered::Ends;
use sets::ValueCounts;
use value::{LaneType, Shape, Value, ValueRef};

use crate::error::Result;
use crate::wire::{Reader, damaged};

/// Which partial state a feature is finalized from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Moments { sum: bool, squares: bool },
    Min,
    Max,
    First { n: usize },
    Last { n: usize },
    Values,
    Histogram,
    Hll,
}

/// A partial state of one kind over values of one lane.
#[derive(Clone, Debug)]
pub enum Accumulator {
    Moments(Box<Moments>),
    Min(Option<Value>),
    Max(Option<Value>),
    Ends(Ends),
    Values(ValueCounts),
    Histogram { counts: Histogram, unit: f64 },
    Hll(Hll),
    Grouped(Grouped),
}

impl Accumulator {
    /// `lane` is `None` for a count of events.
    pub fn new(kind: &Kind, lane: Option<LaneType>) -> Self {
        match *kind {
            Kind::Moments { sum, squares } => Self::Moments(Box::new(Moments::new(sum, squares))),
            Kind::Min => Self::Min(None),
            Kind::Max => Self::Max(None),
            Kind::First { n } => Self::Ends(Ends::new(n, false)),
            Kind::Last { n } => Self::Ends(Ends::new(n, true)),
            Kind::Values => Self::Values(ValueCounts::default()),
            Kind::Histogram => {
                Self::Histogram { counts: Histogram::default(), unit: unit_of(lane.map_or(0, LaneType::scale)) }
            }
            Kind::Hll => Self::Hll(Hll::default()),
        }
    }

    pub fn clear(&mut self) {
        match self {
            Self::Moments(moments) => moments.clear(),
            Self::Min(best) | Self::Max(best) => *best = None,
            Self::Ends(ends) => ends.clear(),
            Self::Values(counts) => counts.clear(),
            Self::Histogram { counts, .. } => counts.clear(),
            Self::Hll(hll) => hll.clear(),
            Self::Grouped(groups) => groups.clear(),
        }
    }

    /// Adds one value of an event at `time` with ingest order `order`. NaN is null: nothing is added.
    /// For a count of events pass any value. States by a secondary key take [`Accumulator::add_keyed`].
    #[inline]
    pub fn add(&mut self, value: ValueRef<'_>, time: i64, order: i64) {
        if value.is_nan() {
            return;
        }
        match self {
            Self::Moments(moments) => moments.add(value),
            Self::Min(best) => lower(best, value),
            Self::Max(best) => raise(best, value),
            Self::Ends(ends) => ends.add(value, time, order),
            Self::Values(counts) => counts.add(value),
            Self::Histogram { counts, unit } => counts.add(number_of(value, *unit)),
            Self::Hll(hll) => hll.add(value),
            Self::Grouped(_) => unreachable!("a grouped state takes a key with each value"),
        }
    }

    /// [`Accumulator::add`] for a state by a secondary key. Values whose key is null are not to be added.
    ///
    /// # Panics
    /// If the state has no secondary key.
    pub fn add_keyed(&mut self, key: ValueRef<'_>, value: ValueRef<'_>, time: i64, order: i64) {
        match self {
            Self::Grouped(groups) => groups.add(key, value, time, order),
            state => unreachable!("a state without a secondary key takes no keys: {state:?}"),
        }
    }

    /// [`Accumulator::add`] for a float, which skips the detour over a value of any type: reads spend their time here.
    #[inline]
    pub fn add_float(&mut self, x: f64, time: i64, order: i64) {
        match self {
            _ if x.is_nan() => {}
            Self::Moments(moments) => moments.add_float(x),
            Self::Min(Some(Value::Float(best))) => *best = if x.total_cmp(best).is_lt() { x } else { *best },
            Self::Max(Some(Value::Float(best))) => *best = if x.total_cmp(best).is_gt() { x } else { *best },
            state => state.add(ValueRef::Float(x), time, order),
        }
    }

    /// Adds everything that `other`, a state of the same kind, has seen.
    ///
    /// # Panics
    /// If the kinds differ.
    pub fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Moments(a), Self::Moments(b)) => a.merge(b),
            (Self::Min(a), Self::Min(b)) => b.iter().for_each(|b| lower(a, b.as_ref())),
            (Self::Max(a), Self::Max(b)) => b.iter().for_each(|b| raise(a, b.as_ref())),
            (Self::Ends(a), Self::Ends(b)) => a.merge(b),
            (Self::Values(a), Self::Values(b)) => a.merge(b),
            (Self::Histogram { counts: a, .. }, Self::Histogram { counts: b, .. }) => a.merge(b),
            (Self::Hll(a), Self::Hll(b)) => a.merge(b),
            (Self::Grouped(a), Self::Grouped(b)) => a.merge(b),
            (a, b) => unreachable!("states of one slot share a kind: {a:?}, {b:?}"),
        }
    }

    /// Counts the ingest order anew among values of one time, so that later ones can follow; merging states that hold
    /// values of the same time is over then.
    pub fn renumber(&mut self) {
        match self {
            Self::Ends(ends) => ends.renumber(),
            Self::Grouped(groups) => groups.renumber(),
            _ => {}
        }
    }

    /// Appends the state. Times are stored relative to `base`, which `merge_encoded` must be given again.
    pub fn encode(&self, base: i64, out: &mut Vec<u8>) {
        match self {
            Self::Moments(moments) => moments.encode(out),
            Self::Min(best) | Self::Max(best) => {
                out.push(u8::from(best.is_some()));
                best.iter().for_each(|v| v.as_ref().encode(out));
            }
            Self::Ends(ends) => ends.encode(base, out),
            Self::Values(counts) => counts.encode(out),
            Self::Histogram { counts, .. } => counts.encode(out),
            Self::Hll(hll) => hll.encode(out),
            Self::Grouped(groups) => groups.encode(base, out),
        }
    }

    /// Adds a stored state of the same kind, without building it first. Decoding is merging into an empty state.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are damaged.
    pub fn merge_encoded(&mut self, shape: Shape, base: i64, reader: &mut Reader<'_>) -> Result<()> {
        match self {
            Self::Moments(moments) => moments.merge_encoded(reader),
            Self::Min(best) => read_best(shape, reader).map(|v| v.into_iter().for_each(|v| lower(best, v))),
            Self::Max(best) => read_best(shape, reader).map(|v| v.into_iter().for_each(|v| raise(best, v))),
            Self::Ends(ends) => ends.merge_encoded(shape, base, reader),
            Self::Values(counts) => counts.merge_encoded(shape, reader),
            Self::Histogram { counts, .. } => counts.merge_encoded(reader),
            Self::Hll(hll) => hll.merge_encoded(reader),
            Self::Grouped(groups) => groups.merge_encoded(shape, base, reader),
        }
    }
}

/// The nearest float to each power of ten that a decimal's scale can name.
const POWERS_OF_TEN: [f64; 39] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35, 1e36, 1e37, 1e38,
];

/// The unscaled decimal that is worth one.
pub fn unit_of(scale: i8) -> f64 {
    POWERS_OF_TEN[scale as usize]
}

fn lower(best: &mut Option<Value>, value: ValueRef<'_>) {
    if best.as_ref().is_none_or(|b| value < b.as_ref()) {
        *best = Some(value.to_owned());
    }
}

fn raise(best: &mut Option<Value>, value: ValueRef<'_>) {
    if best.as_ref().is_none_or(|b| value > b.as_ref()) {
        *best = Some(value.to_owned());
    }
}

fn read_best<'a>(shape: Shape, reader: &mut Reader<'a>) -> Result<Option<ValueRef<'a>>> {
    match reader.byte()? {
        0 => Ok(None),
        1 => ValueRef::decode(shape, reader).map(Some),
        _ => Err(damaged("a flag is out of range")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 9] = [
        Kind::Moments { sum: false, squares: false },
        Kind::Moments { sum: true, squares: true },
        Kind::Min,
        Kind::Max,
        Kind::First { n: 2 },
        Kind::Last { n: 2 },
        Kind::Values,
        Kind::Histogram,
        Kind::Hll,
    ];

    fn lanes() -> Vec<(LaneType, Vec<Value>)> {
        let ints = [3, -1, 3, 7, i64::MAX].map(Value::Int);
        let floats = [0.1, -0.0, 0.0, f64::NAN, f64::INFINITY].map(Value::Float);
        let decimals = [5, -5, 10i128.pow(37), 5, 0].map(Value::Decimal);
        let texts = ["b", "", "b", "a", "long text"].map(|s| Value::Bytes(s.as_bytes().into()));
        vec![
            (LaneType::Int64, ints.into()),
            (LaneType::Float64, floats.into()),
            (LaneType::Decimal { precision: 38, scale: 2 }, decimals.into()),
            (LaneType::Utf8, texts.into()),
        ]
    }

    fn filled(kind: &Kind, lane: LaneType, values: &[(usize, Value)]) -> Accumulator {
        let mut state = Accumulator::new(kind, Some(lane));
        for (i, value) in values {
            state.add(value.as_ref(), 10 - (*i as i64 / 2), *i as i64);
        }
        state
    }

    fn bytes(state: &Accumulator) -> Vec<u8> {
        let mut out = Vec::new();
        state.encode(4, &mut out);
        out
    }

    #[test]
    fn every_split_and_order_gives_the_same_bytes() {
        for kind in KINDS {
            for (lane, values) in lanes() {
                if matches!(kind, Kind::Moments { sum: true, .. } | Kind::Histogram) && lane == LaneType::Utf8 {
                    continue;
                }
                let events: Vec<_> = values.into_iter().enumerate().collect();
                let whole = bytes(&filled(&kind, lane, &events));
                for cut in 0..=events.len() {
                    let (left, right) = events.split_at(cut);
                    let mut merged = filled(&kind, lane, right);
                    merged.merge(&filled(&kind, lane, left));
                    assert_eq!(bytes(&merged), whole, "{kind:?} {lane:?}");
                    let mut read = Accumulator::new(&kind, Some(lane));
                    for part in [right, left] {
                        let stored = bytes(&filled(&kind, lane, part));
                        let mut reader = Reader::new(&stored);
                        read.merge_encoded(lane.shape(), 4, &mut reader).unwrap();
                        assert!(reader.is_empty());
                    }
                    assert_eq!(bytes(&read), whole, "{kind:?} {lane:?}");
                }
            }
        }
    }

    #[test]
    fn truncated_states_are_errors() {
        for kind in KINDS {
            let (lane, values) = lanes().remove(0);
            let events: Vec<_> = values.into_iter().enumerate().collect();
            let whole = bytes(&filled(&kind, lane, &events));
            for cut in 0..whole.len() {
                let mut state = Accumulator::new(&kind, Some(lane));
                assert!(state.merge_encoded(lane.shape(), 4, &mut Reader::new(&whole[..cut])).is_err(), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_cleared_state_is_an_empty_one() {
        for kind in KINDS {
            let (lane, values) = lanes().remove(1);
            let events: Vec<_> = values.into_iter().enumerate().collect();
            let mut state = filled(&kind, lane, &events);
            state.clear();
            assert_eq!(bytes(&state), bytes(&Accumulator::new(&kind, Some(lane))));
        }
    }
}
