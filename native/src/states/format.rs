//! The bytes of an entity's state.
//!
//! Format byte, fingerprint of the plan (2 bytes), the instant T it was built at, then how long before T the newest
//! event before T was (a flag byte, then a varint; 0 where there is none), then the number of tiles and the tiles, from
//! the newest to the oldest.
//! A tile is the distance of its first event back from the tile before it (from T for the newest; zigzag, since events
//! after T lie ahead of it), then a length-prefixed body: the states of the slots it holds, in the order of the plan.

use crate::aggregates::Kind;
use crate::error::{KernelError, Result};
use crate::keys::hash_bytes;
use crate::plan::{Window, WindowPlan};
use crate::wire::{Reader, damaged, put_bytes, put_signed, put_varint};

const FORMAT: u8 = 1;

/// A number that differs when stored states of two plans do (with a chance of 1 in 65,536 that it does not).
pub fn fingerprint(plan: &WindowPlan) -> u16 {
    let mut bytes = Vec::new();
    for slot in &plan.slots {
        let lane = plan.lane_type(slot.lane).map(|lane| lane.to_arrow().to_string());
        put_bytes(&mut bytes, lane.unwrap_or_default().as_bytes());
        put_varint(&mut bytes, slot.lane.map_or(0, |lane| lane as u128 + 1));
        let (code, n) = match slot.kind {
            Kind::Moments { sum, squares } => (1, usize::from(sum) + 2 * usize::from(squares)),
            Kind::Min => (2, 0),
            Kind::Max => (3, 0),
            Kind::First { n } => (4, n),
            Kind::Last { n } => (5, n),
            Kind::Values => (6, 0),
            Kind::Histogram => (7, 0),
            Kind::Hll => (8, 0),
        };
        put_varint(&mut bytes, code);
        put_varint(&mut bytes, n as u128);
    }
    for window in &plan.windows {
        let (length, hop) = match window {
            Window::Lifetime => (0, 0),
            Window::Sliding { length_us, hop_us } => (*length_us, *hop_us),
        };
        put_signed(&mut bytes, length.into());
        put_signed(&mut bytes, hop.into());
    }
    hash_bytes(&bytes) as u16
}

/// What is known of an entity besides its tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The instant the state was built at; it answers this one and every later one.
    pub instant: i64,
    /// The newest event before the instant.
    pub newest: Option<i64>,
}

impl Header {
    pub fn put(&self, fingerprint: u16, out: &mut Vec<u8>) {
        out.push(FORMAT);
        out.extend_from_slice(&fingerprint.to_le_bytes());
        put_signed(out, self.instant.into());
        out.push(self.newest.is_some().into());
        if let Some(newest) = self.newest {
            put_varint(out, (i128::from(self.instant) - i128::from(newest)) as u128);
        }
    }

    /// # Errors
    /// `Corrupt` for damaged bytes, another format, or another plan.
    pub fn read(fingerprint: u16, reader: &mut Reader<'_>) -> Result<Self> {
        let format = reader.byte()?;
        if format != FORMAT {
            return Err(KernelError::Corrupt(format!(
                "A stored state has format {format}, but this version of Asof reads format {FORMAT}. Upgrade Asof, or \
                 materialize the view again."
            )));
        }
        if reader.take(2)? != fingerprint.to_le_bytes() {
            return Err(damaged("they were written for other features"));
        }
        let instant = reader.signed()?;
        let newest = match reader.byte()? {
            0 => None,
            _ => Some(earlier(instant, reader.varint()?.into())?),
        };
        Ok(Self { instant, newest })
    }
}

/// Appends a tile; `before` is the first event time of the tile before it, or the instant.
pub fn put_tile(before: i64, first: i64, body: &[u8], out: &mut Vec<u8>) {
    put_signed(out, i128::from(before) - i128::from(first));
    put_bytes(out, body);
}

/// The tiles of a state that have not been read yet.
#[derive(Clone, Debug)]
pub struct Tiles<'a> {
    reader: Reader<'a>,
    left: usize,
    before: i64,
}

impl<'a> Tiles<'a> {
    pub fn new(header: &Header, mut reader: Reader<'a>) -> Result<Self> {
        Ok(Self { left: reader.length()?, before: header.instant, reader })
    }

    /// The first event time and the body of the next tile, if there is one.
    #[inline]
    pub fn next(&mut self) -> Result<Option<(i64, &'a [u8])>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.before = earlier(self.before, self.reader.wide_signed()?)?;
        Ok(Some((self.before, self.reader.bytes()?)))
    }
}

#[inline]
fn earlier(from: i64, distance: i128) -> Result<i64> {
    i128::from(from)
        .checked_sub(distance)
        .and_then(|time| time.try_into().ok())
        .ok_or_else(|| damaged("a time is out of range"))
}
