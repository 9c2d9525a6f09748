//! Window states by a secondary key: per group what one window of events needs, so that events come and go one by one.

use std::collections::BTreeSet;

use super::bits::Bits;
use super::codes::Codes;
use super::columns::{LaneColumn, LaneValue};
use super::slide::Slide;
use crate::aggregates::Kind;
use crate::aggregates::moments::Moments;
use crate::aggregates::value::ValueRef;
use crate::error::Result;
use crate::output::{OneValue, OutputColumn, Sink};
use crate::plan::{Feature, Function};

/// The group of every position of one key; a null secondary key is in none.
pub struct GroupOf<'a> {
    keyed: Bits,
    codes: Codes<ValueRef<'a>>,
}

impl<'a> GroupOf<'a> {
    /// `rows` are the input rows of the positions.
    pub fn new(column: &LaneColumn<'a>, rows: &[u32]) -> Self {
        let key = |position: usize| column.value(rows[position] as usize);
        let mut keyed = Bits::default();
        keyed.fill(rows.len(), |position| key(position).is_some());
        let codes = Codes::new(rows.len(), &keyed, |position| key(position).expect("positions without a key are out"));
        Self { keyed, codes }
    }

    fn of(&self, position: usize) -> Option<usize> {
        self.keyed.get(position).then(|| self.codes.of(position))
    }
}

/// The groups that have events in a window, each with its state.
pub struct GroupsSlide<'g, T: LaneValue> {
    groups: &'g GroupOf<'g>,
    values: &'g [T],
    /// The codes of the groups that have events, ascending.
    present: BTreeSet<usize>,
    states: States<T>,
}

/// By code: the sums, or the positions in the order that decides which of them answers.
enum States<T: LaneValue> {
    Moments(Vec<Moments>),
    ByValue(Vec<BTreeSet<(T::Key, usize)>>),
    ByTime(Vec<BTreeSet<usize>>),
}

impl<'g, T: LaneValue> GroupsSlide<'g, T> {
    /// # Panics
    /// If no function of `kind` can be grouped.
    pub fn new(groups: &'g GroupOf<'g>, values: &'g [T], kind: &Kind) -> Self {
        let n = groups.codes.table.len();
        let states = match *kind {
            Kind::Moments { sum, squares } => States::Moments(vec![Moments::new(sum, squares); n]),
            Kind::Min | Kind::Max => States::ByValue(vec![BTreeSet::new(); n]),
            Kind::First { .. } | Kind::Last { .. } => States::ByTime(vec![BTreeSet::new(); n]),
            ref other => unreachable!("{other:?} is not grouped"),
        };
        Self { groups, values, present: BTreeSet::new(), states }
    }

    /// Appends the map of one feature of this kind.
    ///
    /// # Errors
    /// `Overflow` for a sum that does not fit its type.
    pub fn finalize(&self, feature: &Feature, out: &mut OutputColumn) -> Result<()> {
        let groups = self.present.iter().map(|&code| (self.groups.codes.table[code], code));
        feature.finalize_groups(groups, out, |code, value| self.finalize_one(feature, code, value))
    }

    fn finalize_one(&self, feature: &Feature, code: usize, out: &mut OneValue) -> Result<()> {
        let position = match (&self.states, feature.function) {
            (States::Moments(moments), _) => return feature.finalize_moments(&moments[code], out),
            (States::ByValue(sets), Function::Min) => sets[code].first().map(|entry| entry.1),
            (States::ByValue(sets), _) => sets[code].last().map(|entry| entry.1),
            (States::ByTime(sets), Function::First) => sets[code].first().copied(),
            (States::ByTime(sets), _) => sets[code].last().copied(),
        };
        out.push_value(position.map(|position| self.values[position].value()));
        Ok(())
    }
}

impl<T: LaneValue> Slide for GroupsSlide<'_, T> {
    fn add(&mut self, position: usize) {
        let Some(code) = self.groups.of(position) else { return };
        let value = self.values[position];
        let first = match &mut self.states {
            States::Moments(moments) => {
                value.add_to(&mut moments[code]);
                moments[code].count == 1
            }
            States::ByValue(sets) => {
                sets[code].insert((value.key(), position));
                sets[code].len() == 1
            }
            States::ByTime(sets) => {
                sets[code].insert(position);
                sets[code].len() == 1
            }
        };
        if first {
            self.present.insert(code);
        }
    }

    fn remove(&mut self, position: usize) {
        let Some(code) = self.groups.of(position) else { return };
        let value = self.values[position];
        let gone = match &mut self.states {
            States::Moments(moments) => {
                value.remove_from(&mut moments[code]);
                moments[code].count == 0
            }
            States::ByValue(sets) => {
                sets[code].remove(&(value.key(), position));
                sets[code].is_empty()
            }
            States::ByTime(sets) => {
                sets[code].remove(&position);
                sets[code].is_empty()
            }
        };
        if gone {
            self.present.remove(&code);
        }
    }
}
