//! Folds the events of every entity into its state.

use std::ops::Range;

use arrow_array::{Array, BinaryArray, Int64Array, RecordBatch};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer};

use super::format::{Header, fingerprint, put_tile};
use super::layout::Layout;
use crate::aggregates::Accumulator;
use crate::aggregates::value::ValueRef;
use crate::error::{KernelError, Result};
use crate::history::columns::LaneColumn;
use crate::history::grouping::{Groups, in_parallel, ranges, same_length};
use crate::plan::WindowPlan;
use crate::wire::put_varint;

/// Events of some entities. Codes are dense key numbers, -1 for no key; the position of a row is its ingest order.
#[derive(Clone, Copy, Debug)]
pub struct EventRows<'a> {
    pub codes: &'a [i32],
    pub event_time: &'a [i64],
    /// When each event could be known; `None` is at its event time.
    pub available_at: Option<&'a [i64]>,
    /// When each event was taken back, null for never.
    pub retracted_at: Option<&'a Int64Array>,
    pub lanes: &'a RecordBatch,
}

impl EventRows<'_> {
    fn check(&self, plan: &WindowPlan) -> Result<()> {
        let rows = self.codes.len();
        same_length("event_time", self.event_time.len(), rows)?;
        same_length("available_at", self.available_at.map_or(rows, <[i64]>::len), rows)?;
        same_length("retracted_at", self.retracted_at.map_or(rows, |times| times.len()), rows)?;
        plan.check_lanes(self.lanes, rows)
    }

    #[inline]
    fn is_known(&self, row: usize, instant: i64) -> bool {
        let available_at = self.available_at.map_or(self.event_time[row], |times| times[row]);
        let retracted = |times: &Int64Array| times.is_valid(row) && times.value(row) <= instant;
        available_at <= instant && !self.retracted_at.is_some_and(retracted)
    }
}

/// The states of one range of keys, one after the other.
struct Part {
    bytes: Vec<u8>,
    /// The length of each key's state; 0 where there is none.
    lengths: Vec<usize>,
}

/// The state of each of `n_keys` keys, by code, from all events known at `instant`; null for a key without any.
///
/// # Errors
/// `Invalid` for arguments that do not fit each other or over 2 GiB of states, `Type` for columns that are not the plan's.
pub fn build(
    plan: &WindowPlan,
    events: &EventRows<'_>,
    n_keys: usize,
    instant: i64,
    threads: usize,
) -> Result<BinaryArray> {
    events.check(plan)?;
    let lanes = events.lanes.columns().iter().map(LaneColumn::new).collect::<Result<Vec<_>>>()?;
    let groups = Groups::new("event_codes", events.codes, n_keys)?;
    let layout = Layout::new(plan, instant);
    let ranges = ranges(&groups, &Groups::new("query_codes", &[], n_keys)?, threads);
    let parts = in_parallel(&ranges, threads, |keys: Range<usize>| {
        let mut builder = Builder::new(plan, events, &lanes, &layout);
        let mut part = Part { bytes: Vec::new(), lengths: Vec::with_capacity(keys.len()) };
        for key in keys {
            let before = part.bytes.len();
            builder.put_key(groups.rows_of(key), &mut part.bytes);
            part.lengths.push(part.bytes.len() - before);
        }
        Ok(part)
    })?;
    assemble(&parts)
}

fn assemble(parts: &[Part]) -> Result<BinaryArray> {
    let total: usize = parts.iter().map(|part| part.bytes.len()).sum();
    if total > i32::MAX as usize {
        return Err(KernelError::Invalid("The states take over 2 GiB. Build fewer keys at a time.".into()));
    }
    let mut bytes = Vec::with_capacity(total);
    parts.iter().for_each(|part| bytes.extend_from_slice(&part.bytes));
    let lengths = || parts.iter().flat_map(|part| part.lengths.iter().copied());
    let nulls = NullBuffer::from_iter(lengths().map(|length| length > 0));
    let offsets = OffsetBuffer::from_lengths(lengths());
    Ok(BinaryArray::try_new(offsets, Buffer::from_vec(bytes), Some(nulls))?)
}

/// A tile that is finished, within the buffer of bodies.
struct Tile {
    first: i64,
    body: Range<usize>,
}

struct Builder<'a> {
    plan: &'a WindowPlan,
    events: &'a EventRows<'a>,
    lanes: &'a [LaneColumn<'a>],
    layout: &'a Layout,
    fingerprint: u16,
    states: Vec<Accumulator>,
    known: Vec<(i64, u32)>,
    bodies: Vec<u8>,
    tiles: Vec<Tile>,
}

impl<'a> Builder<'a> {
    fn new(plan: &'a WindowPlan, events: &'a EventRows<'a>, lanes: &'a [LaneColumn<'a>], layout: &'a Layout) -> Self {
        Self {
            plan,
            events,
            lanes,
            layout,
            fingerprint: fingerprint(plan),
            states: plan.slots.iter().map(|slot| plan.state(slot)).collect(),
            known: Vec::new(),
            bodies: Vec::new(),
            tiles: Vec::new(),
        }
    }

    /// Appends the state of one key, or nothing if none of its events is known.
    fn put_key(&mut self, rows: &[u32], out: &mut Vec<u8>) {
        let instant = self.layout.instant;
        let known = rows.iter().filter(|row| self.events.is_known(**row as usize, instant));
        self.known.clear();
        self.known.extend(known.map(|row| (self.events.event_time[*row as usize], *row)));
        if self.known.is_empty() {
            return;
        }
        if !self.known.is_sorted() {
            self.known.sort_unstable();
        }
        self.fold();
        let before = self.known.partition_point(|(time, _)| *time < instant);
        let newest = before.checked_sub(1).map(|i| self.known[i].0);
        Header { instant, newest }.put(self.fingerprint, out);
        put_varint(out, self.tiles.len() as u128);
        let mut previous = instant;
        for tile in self.tiles.iter().rev() {
            put_tile(previous, tile.first, &self.bodies[tile.body.clone()], out);
            previous = tile.first;
        }
    }

    /// Folds the known events into tiles, from the oldest to the newest.
    fn fold(&mut self) {
        self.bodies.clear();
        self.tiles.clear();
        let mut start = self.known.partition_point(|(time, _)| *time < self.layout.oldest);
        while let Some(&(first, _)) = self.known.get(start) {
            let cut = self.layout.cut_after(&self.plan.windows, first);
            let inside = self.known[start..].iter().take_while(|(time, _)| *time < cut || *time == first).count();
            let body = self.bodies.len();
            for slot in (0..self.states.len()).filter(|slot| self.layout.holds(*slot, first)) {
                self.put_slot(slot, start..start + inside);
            }
            self.tiles.push(Tile { first, body: body..self.bodies.len() });
            start += inside;
        }
    }

    fn put_slot(&mut self, slot: usize, events: Range<usize>) {
        let state = &mut self.states[slot];
        state.clear();
        let lane = self.plan.slots[slot].lane.map(|lane| &self.lanes[lane]);
        for &(time, row) in &self.known[events] {
            let value = lane.map_or(Some(ValueRef::Int(0)), |lane| lane.value(row as usize));
            if let Some(value) = value {
                state.add(value, time, row.into());
            }
        }
        state.encode(self.layout.instant, &mut self.bodies);
    }
}
