//! Windows that slide: both bounds move forward, so every event enters and leaves a window at most once.

use super::bits::Bits;
use super::timeline::{Timeline, switch};
use crate::aggregates::moments::Moments;
use crate::error::Result;

use super::columns::LaneValue;

/// A state that events enter and leave by position.
pub trait Slide {
    fn add(&mut self, position: usize);
    fn remove(&mut self, position: usize);

    /// Empties the state, and says so; `false` if removing one by one is how it is done.
    fn clear(&mut self) -> bool {
        false
    }
}

/// Moves `state` through the queries of one window, calling `answer` at each. `present` are the positions that
/// count before any toggle (`None`: all), `valid` those that may ever count.
pub fn slide<S: Slide>(
    timeline: &Timeline,
    window: usize,
    valid: &Bits,
    mut present: Option<&mut Bits>,
    state: &mut S,
    mut answer: impl FnMut(&mut S) -> Result<()>,
) -> Result<()> {
    let (mut low, mut high, mut toggles) = (0, 0, 0);
    for query in 0..timeline.queries.len() {
        let (tail, head) = timeline.bounds(window, query);
        if tail >= high && state.clear() {
            (low, high) = (tail, tail);
        }
        match &present {
            None => {
                (low..tail.min(high)).for_each(|position| state.remove(position));
                (high.max(tail)..head).for_each(|position| state.add(position));
            }
            Some(bits) => {
                (low..tail.min(high)).filter(|&p| bits.get(p)).for_each(|position| state.remove(position));
                (high.max(tail)..head).filter(|&p| bits.get(p)).for_each(|position| state.add(position));
            }
        }
        (low, high) = (tail, head);
        if let Some(bits) = &mut present {
            timeline.toggle(&mut toggles, query, |position, on| {
                if !valid.get(position) {
                    return;
                }
                switch(bits, position, on);
                if (low..high).contains(&position) {
                    if on { state.add(position) } else { state.remove(position) }
                }
            });
        }
        answer(state)?;
    }
    Ok(())
}

/// Count, sum and sum of squares over a window.
pub struct MomentsSlide<'a, T> {
    pub values: &'a [T],
    pub moments: &'a mut Moments,
}

impl<T: LaneValue> Slide for MomentsSlide<'_, T> {
    #[inline]
    fn add(&mut self, position: usize) {
        self.values[position].add_to(self.moments);
    }

    #[inline]
    fn remove(&mut self, position: usize) {
        self.values[position].remove_from(self.moments);
    }

    fn clear(&mut self) -> bool {
        self.moments.clear();
        true
    }
}
