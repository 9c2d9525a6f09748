//! Folds the events of every entity into its state.

use std::ops::Range;

use arrow_array::{Array, BinaryArray, Int64Array, RecordBatch};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer};

use super::events::put_events;
use super::format::{Form, Header, fingerprint, put_tile};
use super::layout::{Cursor, Layout, Zone};
use crate::aggregates::Accumulator;
use crate::aggregates::value::ValueRef;
use crate::error::{KernelError, Result};
use crate::history::columns::LaneColumn;
use crate::history::grouping::{Groups, in_parallel, ranges, same_length};
use crate::plan::WindowPlan;
use crate::wire::{put_bytes, put_varint};

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

struct Builder<'a> {
    plan: &'a WindowPlan,
    events: &'a EventRows<'a>,
    lanes: &'a [LaneColumn<'a>],
    layout: &'a Layout,
    fingerprint: u16,
    states: Vec<Accumulator>,
    known: Vec<(i64, u32)>,
    /// Per tile, from the oldest to the newest, where its events begin within those known.
    tiles: Vec<usize>,
    scratch: Vec<u8>,
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
            tiles: Vec::new(),
            scratch: Vec::new(),
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
        let before = self.known.partition_point(|(time, _)| *time < instant);
        let newest = before.checked_sub(1).map(|i| self.known[i].0);
        Header { instant, newest }.put(self.fingerprint, out);
        self.cut();
        let past = self.tiles.partition_point(|start| *start < before);
        let mut end = self.known.len();
        self.put_ahead(past, &mut end, out);
        self.put_past(past, end, out);
    }

    /// Cuts the known events into tiles.
    fn cut(&mut self) {
        self.tiles.clear();
        let oldest = self.layout.oldest();
        let mut start = self.known.partition_point(|(time, _)| *time < oldest);
        while let Some(&(first, _)) = self.known.get(start) {
            self.tiles.push(start);
            let cut = self.layout.cut_after(&self.plan.windows, first);
            start += self.known[start..].iter().take_while(|(time, _)| *time < cut || *time == first).count();
        }
    }

    /// Appends the tiles at and after the instant, and moves `end` to where their events begin.
    fn put_ahead(&mut self, past: usize, end: &mut usize, out: &mut Vec<u8>) {
        let (mut section, mut tile) = (Vec::new(), Vec::new());
        for i in (past..self.tiles.len()).rev() {
            let start = std::mem::replace(end, self.tiles[i]);
            let first = self.known[*end].0;
            tile.clear();
            put_tile(first.abs_diff(self.layout.instant), &mut tile, |tile| {
                self.put_body(&self.layout.zones[0], first, *end..start, tile)
            });
            put_bytes(&mut section, &tile);
        }
        put_bytes(out, &section);
    }

    /// Appends the tiles before the instant, whose events end before `end`.
    fn put_past(&mut self, past: usize, mut end: usize, out: &mut Vec<u8>) {
        put_varint(out, past as u128);
        if past == 0 {
            return;
        }
        let mut cursor = Cursor::new(self.layout);
        for i in (0..past).rev() {
            let events = self.tiles[i]..end;
            end = events.start;
            let distance = cursor.distance_to(self.known[end].0);
            cursor.back(distance).expect("a tile of known events lies in some window");
            put_tile(distance, out, |out| self.put_body(cursor.zone(), cursor.time, events, out));
        }
    }

    /// Appends the events of a tile or their states, whichever is shorter.
    fn put_body(&mut self, zone: &Zone, time: i64, events: Range<usize>, out: &mut Vec<u8>) -> Form {
        let n = events.len();
        if n > Form::MOST_EVENTS {
            self.fold(zone, time, events, out);
            return Form::States;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let gaps = put_events(zone, time, &self.known[events.clone()], self.lanes, &mut scratch);
        let body = out.len();
        if n > 1 {
            self.fold(zone, time, events, out);
        }
        let form = if n > 1 && out.len() - body < scratch.len() {
            Form::States
        } else {
            out.truncate(body);
            if gaps {
                put_varint(out, n as u128);
            }
            out.extend_from_slice(&scratch);
            if gaps { Form::Gaps } else { Form::Events(n as u8) }
        };
        self.scratch = scratch;
        form
    }

    /// Appends the states of the slots that a tile holds.
    fn fold(&mut self, zone: &Zone, time: i64, events: Range<usize>, out: &mut Vec<u8>) {
        for &slot in &zone.slots {
            let state = &mut self.states[slot];
            state.clear();
            let column = |lane: Option<usize>| lane.map(|lane| &self.lanes[lane]);
            let (lane, by) = (column(self.plan.slots[slot].lane), column(self.plan.slots[slot].by));
            for &(event_time, row) in &self.known[events.clone()] {
                let value = lane.map_or(Some(ValueRef::Int(0)), |lane| lane.value(row as usize));
                let Some(value) = value else { continue };
                match by {
                    None => state.add(value, event_time, row.into()),
                    Some(by) => by
                        .value(row as usize)
                        .iter()
                        .for_each(|key| state.add_keyed(*key, value, event_time, row.into())),
                }
            }
            state.encode(time, out);
        }
    }
}
