//! Where tiles begin and what they hold, for states built at one instant.

use crate::aggregates::Kind;
use crate::aggregates::value::Shape;
use crate::error::Result;
use crate::plan::{Window, WindowPlan};
use crate::wire::damaged;

/// The cuts between tiles for one plan and one instant.
#[derive(Clone, Debug)]
pub struct Layout {
    pub instant: i64,
    /// Per window, where its tail is at the instant.
    tails: Vec<i64>,
    /// Times that the same windows reach, from the newest to the oldest.
    pub zones: Vec<Zone>,
}

/// From `start` on, up to the zone before it: these times lie in the same windows, and so tiles hold the same there.
#[derive(Clone, Debug)]
pub struct Zone {
    pub start: i64,
    /// Every tail, now and later, of a window that reaches here is a multiple of this.
    unit: i64,
    /// The slots that these windows use, in the order of the plan.
    pub slots: Vec<usize>,
    /// Those of them that count events.
    pub counts: Vec<usize>,
    /// Those of them that take values, by lane.
    pub lanes: Vec<HeldLane>,
    /// Those of them that take values by a secondary key.
    pub groups: Vec<HeldGroup>,
    /// Whether a slot asks which event came first.
    pub timed: bool,
}

/// A lane whose values a tile holds, and the slots that take them.
#[derive(Clone, Debug)]
pub struct HeldLane {
    pub lane: usize,
    pub shape: Shape,
    /// Whether a slot asks for more than whether there is a value.
    pub valued: bool,
    /// The slots that take the values as they are, without a key.
    pub slots: Vec<usize>,
}

/// A slot by a secondary key, and where among the zone's lanes its key and its values are; no values counts events.
#[derive(Clone, Debug)]
pub struct HeldGroup {
    pub slot: usize,
    pub key: usize,
    pub value: Option<usize>,
}

impl Layout {
    pub fn new(plan: &WindowPlan, instant: i64) -> Self {
        let tails: Vec<_> = plan.windows.iter().map(|window| window.tail(instant)).collect();
        let mut starts = tails.clone();
        starts.sort_unstable();
        starts.dedup();
        let zones = starts.into_iter().rev().map(|start| Zone::new(plan, &tails, start)).collect();
        Self { instant, tails, zones }
    }

    /// The earliest tail of all: older events are in no window any more.
    pub fn oldest(&self) -> i64 {
        self.zones.last().map_or(i64::MAX, |zone| zone.start)
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

impl Zone {
    fn new(plan: &WindowPlan, tails: &[i64], start: i64) -> Self {
        let hop = |(window, tail): (&Window, &i64)| match window {
            Window::Sliding { hop_us, .. } if *tail <= start => *hop_us,
            _ => 0,
        };
        let unit = plan.windows.iter().zip(tails).map(hop).fold(0, gcd).max(1);
        let used = |slot: &usize| plan.features.iter().any(|f| f.slot == *slot && tails[f.window] <= start);
        let slots: Vec<_> = (0..plan.slots.len()).filter(used).collect();
        let on = |lane: Option<usize>| slots.iter().copied().filter(move |slot| plan.slots[*slot].lane == lane);
        let plain = |lane| on(lane).filter(|slot| plan.slots[*slot].by.is_none());
        let is_key = |lane: usize| slots.iter().any(|slot| plan.slots[*slot].by == Some(lane));
        let lanes = plan.lanes.iter().enumerate().filter(|(lane, _)| on(Some(*lane)).next().is_some() || is_key(*lane));
        let lanes = lanes.map(|(lane, column)| HeldLane {
            lane,
            shape: column.lane_type.shape(),
            valued: is_key(lane)
                || on(Some(lane)).any(|slot| plan.slots[slot].kind != Kind::Moments { sum: false, squares: false }),
            slots: plain(Some(lane)).collect(),
        });
        let lanes: Vec<_> = lanes.collect();
        let place = |lane: usize| lanes.iter().position(|held| held.lane == lane);
        let group = |&slot: &usize| {
            let key = plan.slots[slot].by.and_then(place)?;
            Some(HeldGroup { slot, key, value: plan.slots[slot].lane.and_then(place) })
        };
        Self {
            start,
            unit,
            counts: plain(None).collect(),
            groups: slots.iter().filter_map(group).collect(),
            timed: slots.iter().any(|slot| matches!(plan.slots[*slot].kind, Kind::First { .. } | Kind::Last { .. })),
            lanes,
            slots,
        }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Walks from the instant back over the tiles. A tile stands at the grid point at or before its first event, on the grid
/// of the zone it is reached from: windows begin on that grid, so none can tell the difference.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    zones: &'a [Zone],
    /// How many zones lie before the time.
    passed: usize,
    /// The grid point that the time is, counted in units of the zone.
    cell: i64,
    pub time: i64,
}

impl<'a> Cursor<'a> {
    /// At the instant of a layout that has zones.
    pub fn new(layout: &'a Layout) -> Self {
        let cell = layout.instant.div_euclid(layout.zones[0].unit);
        Self { zones: &layout.zones, passed: 0, cell, time: layout.instant }
    }

    #[inline]
    pub fn zone(&self) -> &'a Zone {
        &self.zones[self.passed]
    }

    /// The position of the zone in its layout.
    pub fn passed(&self) -> usize {
        self.passed
    }

    /// How many units back the grid point of an earlier time is.
    pub fn distance_to(&self, time: i64) -> u64 {
        self.cell.abs_diff(time.div_euclid(self.zone().unit))
    }

    /// Goes back by a number of units.
    ///
    /// # Errors
    /// `Corrupt` if that is past the last zone.
    #[inline]
    pub fn back(&mut self, distance: u64) -> Result<()> {
        self.cell = self.cell.checked_sub_unsigned(distance).ok_or_else(|| damaged("a time is out of range"))?;
        let unit = self.zone().unit;
        self.time = self.cell.saturating_mul(unit);
        while self.time < self.zone().start {
            self.passed += 1;
            if self.passed == self.zones.len() {
                self.passed -= 1;
                return Err(damaged("a tile is in no window"));
            }
        }
        if self.zone().unit != unit {
            self.cell = self.time.div_euclid(self.zone().unit);
        }
        Ok(())
    }
}
