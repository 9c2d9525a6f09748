//! Takes a stored state apart into its tiles.

use super::events::{Stored, add_events, read_events};
use super::format::{Form, Header, read_tile};
use super::layout::{Cursor, Layout, Zone};
use crate::aggregates::Accumulator;
use crate::aggregates::value::Shape;
use crate::error::Result;
use crate::plan::WindowPlan;
use crate::wire::{Reader, damaged};

/// The shape of each slot's values.
pub fn shapes(plan: &WindowPlan) -> Vec<Shape> {
    plan.slots.iter().map(|slot| plan.lane_type(slot.lane).map_or(Shape::Int, |lane| lane.shape())).collect()
}

/// Adds the stored states of a tile to the states.
///
/// # Errors
/// `Corrupt` if the bytes are damaged.
#[inline]
pub fn add_states(
    zone: &Zone,
    time: i64,
    shapes: &[Shape],
    body: &mut Reader<'_>,
    states: &mut [Accumulator],
) -> Result<()> {
    let mut stored = Reader::new(body.bytes()?);
    zone.slots.iter().try_for_each(|&slot| states[slot].merge_encoded(shapes[slot], time, &mut stored))?;
    all_read(&stored)
}

/// # Errors
/// `Corrupt` unless everything is read.
pub fn all_read(reader: &Reader<'_>) -> Result<()> {
    if reader.is_empty() { Ok(()) } else { Err(damaged("they go on after their end")) }
}

/// The tiles of a state at or after its instant, from the newest to the oldest.
pub struct Ahead<'b> {
    instant: i64,
    section: Reader<'b>,
}

pub struct AheadTile<'b> {
    pub time: i64,
    pub form: Form,
    pub body: Reader<'b>,
}

impl<'b> Ahead<'b> {
    pub fn new(instant: i64, section: &'b [u8]) -> Self {
        Self { instant, section: Reader::new(section) }
    }

    pub fn next(&mut self) -> Result<Option<AheadTile<'b>>> {
        if self.section.is_empty() {
            return Ok(None);
        }
        let mut body = Reader::new(self.section.bytes()?);
        let (after, form) = read_tile(&mut body)?;
        let time = self.instant.checked_add_unsigned(after).ok_or_else(|| damaged("a time is out of range"))?;
        Ok(Some(AheadTile { time, form, body }))
    }
}

/// A tile of a stored state, not yet looked into.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'b> {
    pub time: i64,
    pub form: Form,
    /// Its zone in the layout of the state.
    pub zone: usize,
    /// All that follows its head.
    pub body: &'b [u8],
}

impl<'b> Piece<'b> {
    /// How many events it holds one by one; None if it holds states.
    pub fn events(&self) -> Option<usize> {
        match self.form {
            Form::States => None,
            Form::Events(n) => Some(n.into()),
            Form::Gaps => Reader::new(self.body).length().ok(),
        }
    }

    /// Takes the events that it holds one by one.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are damaged.
    pub fn take(&self, layout: &Layout, take: impl FnMut(Stored<'b>)) -> Result<()> {
        let mut body = Reader::new(self.body);
        let (n, gaps) = count(self.form, &mut body)?;
        read_events(&layout.zones[self.zone], self.time, n, gaps, &mut body, take)?;
        all_read(&body)
    }

    /// Adds everything that it holds to the states.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are damaged.
    pub fn add(&self, layout: &Layout, shapes: &[Shape], states: &mut [Accumulator]) -> Result<()> {
        let (zone, mut body) = (&layout.zones[self.zone], Reader::new(self.body));
        if self.form == Form::States {
            add_states(zone, self.time, shapes, &mut body, states)?;
        } else {
            let (n, gaps) = count(self.form, &mut body)?;
            add_events(zone, self.time, n, gaps, &mut body, states)?;
        }
        all_read(&body)
    }
}

fn count(form: Form, body: &mut Reader<'_>) -> Result<(usize, bool)> {
    Ok(match form {
        Form::Events(n) => (n.into(), false),
        _ => (body.length()?, true),
    })
}

/// Splits a state into its tiles, from the oldest to the newest; `layout` is that of its instant.
///
/// # Errors
/// `Corrupt` if the bytes are damaged.
pub fn pieces<'b>(header: &Header, layout: &Layout, reader: &mut Reader<'b>, out: &mut Vec<Piece<'b>>) -> Result<()> {
    out.clear();
    let mut ahead = Ahead::new(header.instant, reader.bytes()?);
    while let Some(tile) = ahead.next()? {
        out.push(Piece { time: tile.time, form: tile.form, zone: 0, body: tile.body.rest() });
    }
    let mut cursor = Cursor::new(layout);
    for _ in 0..reader.length()? {
        let (distance, form) = read_tile(reader)?;
        cursor.back(distance)?;
        let body = reader.rest();
        skip(form, cursor.zone(), reader)?;
        let body = &body[..body.len() - reader.rest().len()];
        out.push(Piece { time: cursor.time, form, zone: cursor.passed(), body });
    }
    out.reverse();
    all_read(reader)
}

fn skip(form: Form, zone: &Zone, reader: &mut Reader<'_>) -> Result<()> {
    if form == Form::States {
        return reader.bytes().map(drop);
    }
    let (n, gaps) = count(form, reader)?;
    read_events(zone, 0, n, gaps, reader, |_| {})
}
