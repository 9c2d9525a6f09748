//! Folds the events of every entity into its state: all of them into a new one, or later ones into the one it has.

use std::ops::Range;
use std::rc::Rc;

use arrow_array::{Array, BinaryArray, Int64Array, RecordBatch};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer};

use super::events::{Events, Rows, Stored, put_events};
use super::format::{Form, Header, fingerprint, put_tile};
use super::layout::{Cursor, Layout, Zone};
use super::stored::{Piece, pieces, shapes};
use crate::aggregates::Accumulator;
use crate::aggregates::value::{Shape, ValueRef};
use crate::error::{KernelError, Result};
use crate::history::columns::LaneColumn;
use crate::history::grouping::{Groups, in_parallel, ranges, same_length};
use crate::plan::WindowPlan;
use crate::wire::{Reader, put_bytes, put_varint};

/// Later than the ingest order of any row that a state holds.
const LATER: i64 = 1 << 40;

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
    put_keys(&groups, threads, &|| Builder::new(plan, events, &lanes, instant), &|builder, key, out| {
        builder.put_key(None, groups.rows_of(key), out)
    })
}

/// The states of keys with later events taken in, by code; `old` has one state per key, None where there is none yet.
///
/// Every event counts, however late; `available_at` and `retracted_at` are not looked at. Equal event times go by who
/// came first: events that a state holds, then these in their order. The new states answer `instant` and later, or where
/// the old one was built later, what that one does.
///
/// # Errors
/// As [`build`], and `Corrupt` for states that this plan did not write.
pub fn update(
    plan: &WindowPlan,
    old: &[Option<&[u8]>],
    events: &EventRows<'_>,
    instant: i64,
    threads: usize,
) -> Result<BinaryArray> {
    events.check(plan)?;
    let lanes = events.lanes.columns().iter().map(LaneColumn::new).collect::<Result<Vec<_>>>()?;
    let groups = Groups::new("event_codes", events.codes, old.len())?;
    let builder = || {
        let mut builder = Builder::new(plan, events, &lanes, instant);
        builder.all_known = true;
        builder
    };
    put_keys(&groups, threads, &builder, &|builder, key, out| builder.put_key(old[key], groups.rows_of(key), out))
}

type PutKey<'f, 'a> = &'f (dyn Fn(&mut Builder<'a>, usize, &mut Vec<u8>) -> Result<()> + Sync);

fn put_keys<'a>(
    groups: &Groups,
    threads: usize,
    builder: &(dyn Fn() -> Builder<'a> + Sync),
    put_key: PutKey<'_, 'a>,
) -> Result<BinaryArray> {
    let ranges = ranges(groups, &Groups::new("query_codes", &[], groups.n_keys())?, threads);
    let parts = in_parallel(&ranges, threads, |keys: Range<usize>| {
        let mut builder = builder();
        let mut part = Part { bytes: Vec::new(), lengths: Vec::with_capacity(keys.len()) };
        for key in keys {
            let before = part.bytes.len();
            put_key(&mut builder, key, &mut part.bytes)?;
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

/// The events of one tile: tiles of the old state, then rows.
#[derive(Clone, Debug)]
struct Cell {
    first: i64,
    pieces: Range<usize>,
    rows: Range<usize>,
}

/// Events taken out of tiles, each with its values by lane.
#[derive(Debug, Default)]
struct Loose<'b> {
    lanes: usize,
    /// Times, and where the values begin.
    events: Vec<(i64, usize)>,
    values: Vec<Option<ValueRef<'b>>>,
}

impl<'b> Loose<'b> {
    fn clear(&mut self, lanes: usize) {
        self.lanes = lanes;
        self.events.clear();
        self.values.clear();
    }

    fn take(&mut self, stored: Stored<'b>) {
        match stored {
            Stored::Event(time) => {
                self.events.push((time, self.values.len()));
                self.values.resize(self.values.len() + self.lanes, None);
            }
            Stored::Value(lane, value) => {
                let start = self.values.len() - self.lanes;
                self.values[start + lane] = Some(value);
            }
        }
    }
}

impl Events for Loose<'_> {
    fn count(&self) -> usize {
        self.events.len()
    }

    fn time(&self, event: usize) -> i64 {
        self.events[event].0
    }

    fn value(&self, event: usize, lane: usize) -> Option<ValueRef<'_>> {
        self.values[self.events[event].1 + lane]
    }
}

struct Builder<'a> {
    plan: &'a WindowPlan,
    events: &'a EventRows<'a>,
    lanes: &'a [LaneColumn<'a>],
    layout: Rc<Layout>,
    /// The layout of the states last updated.
    old_layout: Rc<Layout>,
    /// The instant of the states, where the old ones are not later.
    instant: i64,
    all_known: bool,
    fingerprint: u16,
    shapes: Vec<Shape>,
    states: Vec<Accumulator>,
    known: Vec<(i64, u32)>,
    /// From the oldest to the newest.
    cells: Vec<Cell>,
    scratch: Vec<u8>,
    folded: Vec<u8>,
}

impl<'a> Builder<'a> {
    fn new(plan: &'a WindowPlan, events: &'a EventRows<'a>, lanes: &'a [LaneColumn<'a>], instant: i64) -> Self {
        let layout = Rc::new(Layout::new(plan, instant));
        Self {
            plan,
            events,
            lanes,
            old_layout: Rc::clone(&layout),
            layout,
            instant,
            all_known: false,
            fingerprint: fingerprint(plan),
            shapes: shapes(plan),
            states: plan.slots.iter().map(|slot| plan.state(slot)).collect(),
            known: Vec::new(),
            cells: Vec::new(),
            scratch: Vec::new(),
            folded: Vec::new(),
        }
    }

    /// Appends the state of one key, or nothing if it has no old one and none of its events is known.
    fn put_key(&mut self, old: Option<&[u8]>, rows: &[u32], out: &mut Vec<u8>) -> Result<()> {
        let known = rows.iter().filter(|row| self.all_known || self.events.is_known(**row as usize, self.instant));
        self.known.clear();
        self.known.extend(known.map(|row| (self.events.event_time[*row as usize], *row)));
        if !self.known.is_sorted() {
            self.known.sort_unstable();
        }
        let mut tiles = Vec::new();
        let mut newest = None;
        let mut instant = self.instant;
        if let Some(bytes) = old {
            let mut reader = Reader::new(bytes);
            let header = Header::read(self.fingerprint, &mut reader)?;
            if self.old_layout.instant != header.instant {
                self.old_layout = Rc::new(Layout::new(self.plan, header.instant));
            }
            pieces(&header, &self.old_layout, &mut reader, &mut tiles)?;
            instant = instant.max(header.instant);
            let past = tiles.iter().rev().find(|tile| tile.time < instant && tile.time >= header.instant);
            newest = past.map(|tile| tile.time).or(header.newest);
        } else if self.known.is_empty() {
            return Ok(());
        }
        if self.layout.instant != instant {
            self.layout = Rc::new(Layout::new(self.plan, instant));
        }
        let before = self.known.partition_point(|(time, _)| *time < instant);
        newest = newest.max(before.checked_sub(1).map(|i| self.known[i].0));
        Header { instant, newest }.put(self.fingerprint, out);
        self.cut(&tiles);
        let past = self.cells.partition_point(|cell| cell.first < instant);
        self.put_ahead(past, &tiles, out)?;
        self.put_past(past, &tiles, out)
    }

    /// Cuts the old tiles and the known events into cells.
    fn cut(&mut self, tiles: &[Piece<'_>]) {
        self.cells.clear();
        let oldest = self.layout.oldest();
        let mut row = self.known.partition_point(|(time, _)| *time < oldest);
        let mut tile = tiles.partition_point(|tile| tile.time < oldest);
        loop {
            let times = [tiles.get(tile).map(|tile| tile.time), self.known.get(row).map(|known| known.0)];
            let Some(first) = times.into_iter().flatten().min() else { return };
            let cut = self.layout.cut_after(&self.plan.windows, first);
            let inside = |time: i64| time < cut || time == first;
            let pieces = tile..tile + tiles[tile..].iter().take_while(|tile| inside(tile.time)).count();
            let rows = row..row + self.known[row..].iter().take_while(|(time, _)| inside(*time)).count();
            (tile, row) = (pieces.end, rows.end);
            self.cells.push(Cell { first, pieces, rows });
        }
    }

    /// Appends the tiles at and after the instant.
    fn put_ahead(&mut self, past: usize, tiles: &[Piece<'_>], out: &mut Vec<u8>) -> Result<()> {
        let (mut section, mut tile) = (Vec::new(), Vec::new());
        let layout = Rc::clone(&self.layout);
        for i in (past..self.cells.len()).rev() {
            let cell = self.cells[i].clone();
            tile.clear();
            put_tile(cell.first.abs_diff(layout.instant), &mut tile, |tile| {
                self.put_body(&layout.zones[0], cell.first, &cell, tiles, tile)
            })?;
            put_bytes(&mut section, &tile);
        }
        put_bytes(out, &section);
        Ok(())
    }

    /// Appends the tiles before the instant.
    fn put_past(&mut self, past: usize, tiles: &[Piece<'_>], out: &mut Vec<u8>) -> Result<()> {
        put_varint(out, past as u128);
        if past == 0 {
            return Ok(());
        }
        let layout = Rc::clone(&self.layout);
        let mut cursor = Cursor::new(&layout);
        (0..past).rev().try_for_each(|i| {
            let cell = self.cells[i].clone();
            let distance = cursor.distance_to(cell.first);
            cursor.back(distance)?;
            put_tile(distance, out, |out| self.put_body(cursor.zone(), cursor.time, &cell, tiles, out))
        })
    }

    /// Appends the events of a tile or their states, whichever is shorter.
    fn put_body(
        &mut self,
        zone: &Zone,
        time: i64,
        cell: &Cell,
        tiles: &[Piece<'_>],
        out: &mut Vec<u8>,
    ) -> Result<Form> {
        let pieces = &tiles[cell.pieces.clone()];
        if let [piece] = pieces
            && cell.rows.is_empty()
            && (piece.time == time || !zone.timed)
            && self.old_layout.zones[piece.zone].slots == zone.slots
        {
            out.extend_from_slice(piece.body);
            return Ok(piece.form);
        }
        let stored = pieces.iter().map(Piece::events).sum::<Option<usize>>();
        let n = stored.map_or(usize::MAX, |stored| stored.saturating_add(cell.rows.len()));
        self.folded.clear();
        if n > 1 {
            self.fold(zone, time, cell, pieces)?;
        }
        if n > Form::MOST_EVENTS {
            put_bytes(out, &self.folded);
            return Ok(Form::States);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let rows = Rows { rows: &self.known[cell.rows.clone()], lanes: self.lanes };
        let gaps = if pieces.is_empty() {
            put_events(zone, time, &rows, &mut scratch)
        } else {
            put_events(zone, time, &self.loosen(pieces, &rows)?, &mut scratch)
        };
        let form = if n > 1 && self.folded.len() < scratch.len() {
            put_bytes(out, &self.folded);
            Form::States
        } else {
            if gaps {
                put_varint(out, n as u128);
            }
            out.extend_from_slice(&scratch);
            if gaps { Form::Gaps } else { Form::Events(n as u8) }
        };
        self.scratch = scratch;
        Ok(form)
    }

    /// Takes the events of old tiles and the rows together, in order.
    fn loosen<'b>(&self, pieces: &[Piece<'b>], rows: &Rows<'b>) -> Result<Loose<'b>> {
        let mut loose = Loose::default();
        loose.clear(self.lanes.len());
        for piece in pieces {
            piece.take(&self.old_layout, |stored| loose.take(stored))?;
        }
        for &(time, row) in rows.rows {
            loose.take(Stored::Event(time));
            for (lane, column) in rows.lanes.iter().enumerate() {
                if let Some(value) = column.value(row as usize).filter(|value| !value.is_nan()) {
                    loose.take(Stored::Value(lane, value));
                }
            }
        }
        loose.events.sort_by_key(|(time, _)| *time);
        Ok(loose)
    }

    /// Encodes the states of the slots that a tile holds.
    fn fold(&mut self, zone: &Zone, time: i64, cell: &Cell, pieces: &[Piece<'_>]) -> Result<()> {
        if !pieces.is_empty() {
            self.states.iter_mut().for_each(Accumulator::clear);
            for piece in pieces {
                piece.add(&self.old_layout, &self.shapes, &mut self.states)?;
            }
        }
        for &slot in &zone.slots {
            let state = &mut self.states[slot];
            if pieces.is_empty() {
                state.clear();
            }
            let column = |lane: Option<usize>| lane.map(|lane| &self.lanes[lane]);
            let (lane, by) = (column(self.plan.slots[slot].lane), column(self.plan.slots[slot].by));
            for &(event_time, row) in &self.known[cell.rows.clone()] {
                let value = lane.map_or(Some(ValueRef::Int(0)), |lane| lane.value(row as usize));
                let Some(value) = value else { continue };
                let order = if self.all_known { LATER + i64::from(row) } else { row.into() };
                match by {
                    None => state.add(value, event_time, order),
                    Some(by) => {
                        by.value(row as usize).iter().for_each(|key| state.add_keyed(*key, value, event_time, order))
                    }
                }
            }
            if self.all_known {
                state.renumber();
            }
            state.encode(time, &mut self.folded);
        }
        Ok(())
    }
}
