//! The bytes of a packed value of a state view.
//!
//! Format byte, fingerprint of the columns (2 bytes), then versions from the newest to the oldest: event time, delay of
//! `available_at` after it, ingest order (zigzag varints), then a length-prefixed body: flags, a null bit per column, the
//! values that are not null. The body of a tombstone is its flags.

use crate::block::RowBuilder;
use crate::error::{KernelError, Result};
use crate::values::{Columns, Source};
use crate::wire::{Reader, damaged, put_bytes, put_signed};

const FORMAT: u8 = 1;
const DELETED: u8 = 1;

/// One row of an entity within its packed value.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    pub event_time: i64,
    pub available_at: i64,
    pub order: i64,
    pub deleted: bool,
    body: &'a [u8],
}

/// The place of a row in the order that decides which one is newer.
pub type Rank = (i64, i64, i64);

impl Version<'_> {
    pub fn rank(&self) -> Rank {
        (self.event_time, self.available_at, self.order)
    }

    /// Sets every column that is not null.
    pub fn values(&self, columns: &Columns, row: &mut RowBuilder<'_>) -> Result<()> {
        let mut reader = Reader::new(self.body);
        reader.byte()?;
        let nulls = reader.take(columns.len().div_ceil(8))?;
        for (i, column) in columns.iter().enumerate() {
            if nulls[i / 8] >> (i % 8) & 1 == 0 {
                row.set(i, column.kind.decode(&mut reader)?);
            }
        }
        if reader.is_empty() { Ok(()) } else { Err(damaged("a row goes on after its last value")) }
    }

    pub fn put(&self, out: &mut Vec<u8>) {
        put_version(out, self.rank(), self.body);
    }
}

/// Begins a packed value.
pub fn put_header(out: &mut Vec<u8>, columns: &Columns) {
    out.push(FORMAT);
    out.extend_from_slice(&columns.fingerprint().to_le_bytes());
}

/// Appends a version with a finished body.
pub fn put_version(out: &mut Vec<u8>, (event_time, available_at, order): Rank, body: &[u8]) {
    put_signed(out, event_time.into());
    put_signed(out, i128::from(available_at) - i128::from(event_time));
    put_signed(out, order.into());
    put_bytes(out, body);
}

/// Writes the body of a source row into `body`.
pub fn put_body(body: &mut Vec<u8>, sources: &[Source], row: usize, deleted: bool) {
    body.clear();
    body.push(if deleted { DELETED } else { 0 });
    if deleted {
        return;
    }
    body.resize(1 + sources.len().div_ceil(8), 0);
    for (i, source) in sources.iter().enumerate() {
        if source.is_null(row) {
            body[1 + i / 8] |= 1 << (i % 8);
        } else {
            source.put(row, body);
        }
    }
}

/// The versions in a packed value, from the newest to the oldest.
pub fn versions<'a>(bytes: &'a [u8], columns: &Columns) -> Result<impl Iterator<Item = Result<Version<'a>>>> {
    let mut reader = Reader::new(bytes);
    let format = reader.byte()?;
    if format != FORMAT {
        return Err(KernelError::Corrupt(format!(
            "A stored row has format {format}, but this version of Asof reads format {FORMAT}. Upgrade Asof, or \
             materialize the view again."
        )));
    }
    if reader.take(2)? != columns.fingerprint().to_le_bytes() {
        return Err(damaged("they were written for columns of other types"));
    }
    Ok(std::iter::from_fn(move || (!reader.is_empty()).then(|| version(&mut reader))))
}

fn version<'a>(reader: &mut Reader<'a>) -> Result<Version<'a>> {
    let event_time = reader.signed()?;
    let available_at = i128::from(event_time) + reader.wide_signed()?.clamp(-(1 << 65), 1 << 65);
    let available_at = available_at.try_into().map_err(|_| damaged("a time is out of range"))?;
    let (order, body) = (reader.signed()?, reader.bytes()?);
    let flags = *body.first().ok_or_else(|| damaged("a row is empty"))?;
    Ok(Version { event_time, available_at, order, deleted: flags & DELETED != 0, body })
}
