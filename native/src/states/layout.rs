//! Where tiles begin and what they hold, for states built at one instant.

use crate::plan::{Window, WindowPlan};

/// The cuts between tiles for one plan and one instant.
#[derive(Clone, Debug)]
pub struct Layout {
    pub instant: i64,
    /// Per window, where its tail is at the instant.
    tails: Vec<i64>,
    /// Per slot, the earliest tail of a window that uses it: older tiles do not hold it.
    reach: Vec<i64>,
    /// The earliest tail of all: older events are in no window any more.
    pub oldest: i64,
}

impl Layout {
    pub fn new(plan: &WindowPlan, instant: i64) -> Self {
        let tails: Vec<_> = plan.windows.iter().map(|window| window.tail(instant)).collect();
        let mut reach = vec![i64::MAX; plan.slots.len()];
        for feature in &plan.features {
            reach[feature.slot] = reach[feature.slot].min(tails[feature.window]);
        }
        let oldest = tails.iter().copied().min().unwrap_or(i64::MAX);
        Self { instant, tails, reach, oldest }
    }

    /// Whether a tile whose first event is at `first` holds the slot.
    #[inline]
    pub fn holds(&self, slot: usize, first: i64) -> bool {
        first >= self.reach[slot]
    }

    /// The first event time after `first` that begins another tile.
    pub fn cut_after(&self, windows: &[Window], first: i64) -> i64 {
        if first >= self.instant {
            return first.saturating_add(1);
        }
        let next = |(window, tail): (&Window, &i64)| match window {
            Window::Lifetime => i64::MAX,
            Window::Sliding { .. } if first < *tail => *tail,
            Window::Sliding { hop_us, .. } => (first - first.rem_euclid(*hop_us)).saturating_add(*hop_us),
        };
        windows.iter().zip(&self.tails).map(next).fold(self.instant, i64::min)
    }
}
