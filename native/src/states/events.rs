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

/// Appends events, as (time, row); returns whether there are gaps, which is to say nulls.
pub fn put_events(
    zone: &Zone,
    time: i64,
    events: &[(i64, u32)],
    columns: &[LaneColumn<'_>],
    out: &mut Vec<u8>,
) -> bool {
    let before = out.len();
    for &(event_time, row) in events {
        put_time(zone, time, event_time, out);
        for held in &zone.lanes {
            match value(&columns[held.lane], row) {
                Some(value) if held.valued => value.encode(out),
                Some(_) => {}
                None => {
                    out.truncate(before);
                    put_gappy_events(zone, time, events, columns, out);
                    return true;
                }
            }
        }
    }
    false
}

fn put_gappy_events(zone: &Zone, time: i64, events: &[(i64, u32)], columns: &[LaneColumn<'_>], out: &mut Vec<u8>) {
    for &(event_time, row) in events {
        put_time(zone, time, event_time, out);
        let bits = out.len();
        out.resize(bits + zone.lanes.len().div_ceil(8), 0);
        for (i, held) in zone.lanes.iter().enumerate() {
            if let Some(value) = value(&columns[held.lane], row) {
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

/// The value of a row as aggregates see it: NaN is null.
#[inline]
fn value<'a>(column: &LaneColumn<'a>, row: u32) -> Option<ValueRef<'a>> {
    column.value(row as usize).filter(|value| !value.is_nan())
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
