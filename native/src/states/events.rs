//! Tiles of few events hold the values of each event, once per lane, whatever is computed from them.
//!
//! Per event: how long after the tile it was (where a slot asks which came first), then, in tiles with gaps, a bit for
//! each lane that has a value, then the values. Events are in order of time and ingest.

use super::layout::Zone;
use crate::aggregates::Accumulator;
use crate::aggregates::float::read_float;
use crate::aggregates::value::{Shape, ValueRef};
use crate::error::Result;
use crate::history::columns::LaneColumn;
use crate::wire::{Reader, damaged, put_varint};

/// Events in order of time and ingest, whatever holds them.
pub trait Events {
    fn count(&self) -> usize;
    fn time(&self, event: usize) -> i64;
    /// The value in a lane as aggregates see it: NaN is null.
    fn value(&self, event: usize, lane: usize) -> Option<ValueRef<'_>>;
}

/// Rows of the columns of a log, as (time, row).
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    pub rows: &'a [(i64, u32)],
    pub lanes: &'a [LaneColumn<'a>],
}

impl Events for Rows<'_> {
    fn count(&self) -> usize {
        self.rows.len()
    }

    #[inline]
    fn time(&self, event: usize) -> i64 {
        self.rows[event].0
    }

    #[inline]
    fn value(&self, event: usize, lane: usize) -> Option<ValueRef<'_>> {
        self.lanes[lane].value(self.rows[event].1 as usize).filter(|value| !value.is_nan())
    }
}

/// Appends events; returns whether there are gaps, which is to say nulls.
pub fn put_events(zone: &Zone, time: i64, events: &impl Events, out: &mut Vec<u8>) -> bool {
    let before = out.len();
    for event in 0..events.count() {
        put_time(zone, time, events.time(event), out);
        for held in &zone.lanes {
            match events.value(event, held.lane) {
                Some(value) if held.valued => value.encode(out),
                Some(_) => {}
                None => {
                    out.truncate(before);
                    put_gappy_events(zone, time, events, out);
                    return true;
                }
            }
        }
    }
    false
}

fn put_gappy_events(zone: &Zone, time: i64, events: &impl Events, out: &mut Vec<u8>) {
    for event in 0..events.count() {
        put_time(zone, time, events.time(event), out);
        let bits = out.len();
        out.resize(bits + zone.lanes.len().div_ceil(8), 0);
        for (i, held) in zone.lanes.iter().enumerate() {
            if let Some(value) = events.value(event, held.lane) {
                out[bits + i / 8] |= 1 << (i % 8);
                if held.valued {
                    value.encode(out);
                }
            }
        }
    }
}

fn put_time(zone: &Zone, time: i64, event_time: i64, out: &mut Vec<u8>) {
    if zone.timed {
        put_varint(out, event_time.abs_diff(time).into());
    }
}

fn read_time(time: i64, reader: &mut Reader<'_>) -> Result<i64> {
    time.checked_add_unsigned(reader.varint()?).ok_or_else(|| damaged("a time is out of range"))
}

/// Adds stored events to the states.
///
/// # Errors
/// `Corrupt` if the bytes are damaged.
pub fn add_events(
    zone: &Zone,
    time: i64,
    n: usize,
    gaps: bool,
    reader: &mut Reader<'_>,
    states: &mut [Accumulator],
) -> Result<()> {
    let mut held_values = vec![None; if zone.groups.is_empty() { 0 } else { zone.lanes.len() }];
    for order in 0..n as i64 {
        let event_time = if zone.timed { read_time(time, reader)? } else { time };
        let bits = if gaps { reader.take(zone.lanes.len().div_ceil(8))? } else { &[] };
        held_values.fill(None);
        zone.counts.iter().for_each(|slot| states[*slot].add(ValueRef::Int(0), event_time, order));
        for (i, held) in zone.lanes.iter().enumerate() {
            if gaps && bits[i / 8] & (1 << (i % 8)) == 0 {
                continue;
            }
            if held.valued && held.shape == Shape::Float {
                let x = read_float(reader)?;
                if let Some(kept) = held_values.get_mut(i) {
                    *kept = Some(ValueRef::Float(x));
                }
                held.slots.iter().for_each(|slot| states[*slot].add_float(x, event_time, order));
                continue;
            }
            let value = if held.valued { ValueRef::decode(held.shape, reader)? } else { ValueRef::Int(0) };
            if let Some(kept) = held_values.get_mut(i) {
                *kept = Some(value);
            }
            held.slots.iter().for_each(|slot| states[*slot].add(value, event_time, order));
        }
        for group in &zone.groups {
            let value = group.value.map_or(Some(ValueRef::Int(0)), |value| held_values[value]);
            if let (Some(key), Some(value)) = (held_values[group.key], value) {
                states[group.slot].add_keyed(key, value, event_time, order);
            }
        }
    }
    Ok(())
}

/// Takes stored events apart: `take` is given each one's time, then its lanes that have a value, in order.
///
/// # Errors
/// `Corrupt` if the bytes are damaged.
pub fn read_events<'b>(
    zone: &Zone,
    time: i64,
    n: usize,
    gaps: bool,
    reader: &mut Reader<'b>,
    mut take: impl FnMut(Stored<'b>),
) -> Result<()> {
    for _ in 0..n {
        take(Stored::Event(if zone.timed { read_time(time, reader)? } else { time }));
        let bits = if gaps { reader.take(zone.lanes.len().div_ceil(8))? } else { &[] };
        for (i, held) in zone.lanes.iter().enumerate() {
            if !gaps || bits[i / 8] & (1 << (i % 8)) != 0 {
                let value = if held.valued { ValueRef::decode(held.shape, reader)? } else { ValueRef::Int(0) };
                take(Stored::Value(held.lane, value));
            }
        }
    }
    Ok(())
}

/// A piece of stored events.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'b> {
    /// Another event begins, at this time.
    Event(i64),
    /// Its value in a lane.
    Value(usize, ValueRef<'b>),
}
