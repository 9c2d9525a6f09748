//! The bytes of an entity's state.
//!
//! Format byte, fingerprint of the plan (2 bytes), the instant T it was built at, how long before T the newest event
//! before T was (0 where there is none), then the tiles with events at or after T, all of them behind one length and each
//! behind its own, then the number of the other tiles and these. Both go from the newest to the oldest.
//!
//! A tile begins with a number whose low bits are its form and whose high bits are where it stands: microseconds after T,
//! or units of the grid (see `Cursor`) back from the tile before it. Its body is the values of each of its events, or,
//! behind their length, the states of the slots it holds in the order of the plan, whichever is shorter.

use crate::aggregates::Kind;
use crate::error::{KernelError, Result};
use crate::keys::hash_bytes;
use crate::plan::{Window, WindowPlan};
use crate::wire::{Reader, damaged, put_bytes, put_signed, put_varint};

const FORMAT: u8 = 3;

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
        if let Some(by) = slot.by {
            put_varint(&mut bytes, 9);
            put_varint(&mut bytes, by as u128);
            let key = plan.lane_type(slot.by).map(|lane| lane.to_arrow().to_string());
            put_bytes(&mut bytes, key.unwrap_or_default().as_bytes());
        }
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
        put_varint(out, self.newest.map_or(0, |newest| self.instant.abs_diff(newest).into()));
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
        let newest = match reader.varint()? {
            0 => None,
            ago => Some(instant.checked_sub_unsigned(ago).ok_or_else(|| damaged("a time is out of range"))?),
        };
        Ok(Self { instant, newest })
    }
}

/// How a tile stores its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The states of its slots.
    States,
    /// This many events, with a value in every lane.
    Events(u8),
    /// Events of which some lack values; how many is stored next.
    Gaps,
}

const FORM_BITS: u32 = 3;
const GAPS: u8 = (1 << FORM_BITS) - 1;

impl Form {
    /// Tiles of more events hold states.
    pub const MOST_EVENTS: usize = GAPS as usize - 1;

    fn code(self) -> u8 {
        match self {
            Self::States => 0,
            Self::Events(n) => n,
            Self::Gaps => GAPS,
        }
    }
}

/// Appends a tile: where it stands, then the body, whose form becomes known as it is written.
///
/// # Errors
/// Those of `put_body`.
pub fn put_tile(place: u64, out: &mut Vec<u8>, put_body: impl FnOnce(&mut Vec<u8>) -> Result<Form>) -> Result<()> {
    let head = out.len();
    put_varint(out, u128::from(place) << FORM_BITS);
    out[head] |= put_body(out)?.code();
    Ok(())
}

/// Where the next tile stands, and its form.
#[inline]
pub fn read_tile(reader: &mut Reader<'_>) -> Result<(u64, Form)> {
    let head = reader.wide_varint()?;
    let place = u64::try_from(head >> FORM_BITS).map_err(|_| damaged("a time is out of range"))?;
    let form = match head as u8 & GAPS {
        0 => Form::States,
        GAPS => Form::Gaps,
        n => Form::Events(n),
    };
    Ok((place, form))
}
