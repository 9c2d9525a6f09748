//! Floats in few bytes: prices and other short decimals as the integer they scale to, the rest bit by bit.

use crate::error::Result;
use crate::wire::{Reader, put_varint};

/// Tags below this are the number of decimal digits after the point.
const POWERS: [f64; 6] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5];
/// The 4 bytes of a single-precision float follow.
const NARROW: u64 = 6;
/// The 8 bytes of a float follow.
const WIDE: u64 = 7;
const TAG_BITS: u32 = 3;

/// Scaled values below this round to an integer when `ROUNDER` is added and taken away again.
const LARGEST: f64 = (1u64 << 51) as f64;
const ROUNDER: f64 = (3u64 << 51) as f64;

/// The fewest digits after the point with which an integer divided by their power of ten gives all bits of `x`.
#[inline]
fn as_decimal(x: f64) -> Option<(i64, usize)> {
    let (mut integer, mut digits) = [5, 0].into_iter().find_map(|digits| {
        let scaled = x * POWERS[digits];
        let integer = (scaled + ROUNDER - ROUNDER) as i64;
        let same = scaled.abs() < LARGEST && (integer as f64 / POWERS[digits]).to_bits() == x.to_bits();
        same.then_some((integer, digits))
    })?;
    while digits > 0 && integer % 10 == 0 {
        integer /= 10;
        digits -= 1;
    }
    Some((integer, digits))
}

/// Appends a float; each has one form.
pub fn put_float(out: &mut Vec<u8>, x: f64) {
    if let Some((integer, digits)) = as_decimal(x) {
        let zigzag = (integer << 1 ^ integer >> 63) as u64;
        return put_varint(out, (zigzag << TAG_BITS | digits as u64).into());
    }
    let narrow = x as f32;
    if f64::from(narrow).to_bits() == x.to_bits() {
        out.push(NARROW as u8);
        out.extend_from_slice(&narrow.to_le_bytes());
    } else {
        out.push(WIDE as u8);
        out.extend_from_slice(&x.to_le_bytes());
    }
}

/// # Errors
/// `Corrupt` if the bytes are damaged.
#[inline(always)]
pub fn read_float(reader: &mut Reader<'_>) -> Result<f64> {
    let head = reader.varint()?;
    let zigzag = head >> TAG_BITS;
    match POWERS.get((head & ((1 << TAG_BITS) - 1)) as usize) {
        Some(power) => Ok(((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)) as f64 / power),
        None => read_bits(head, reader),
    }
}

fn read_bits(head: u64, reader: &mut Reader<'_>) -> Result<f64> {
    if head == NARROW {
        reader.array().map(|b| f32::from_le_bytes(b).into())
    } else {
        reader.array().map(f64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(x: f64) -> Vec<u8> {
        let mut out = Vec::new();
        put_float(&mut out, x);
        out
    }

    #[test]
    fn every_float_keeps_its_bits() {
        let decimals = (-2000..2000).map(|i| f64::from(i) / 100.0);
        let odd = [-0.0, 0.1 + 0.2, 1e300, 5e-324, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::NAN, 0.1f32.into()];
        let large = [LARGEST, LARGEST - 1.0, 1e15 + 0.5, 22_517_998_136.852_47, 1e22, -1_763_800_000_000_000.0];
        for x in decimals.chain(odd).chain(large) {
            let bytes = stored(x);
            let mut reader = Reader::new(&bytes);
            assert_eq!(read_float(&mut reader).map(f64::to_bits), Ok(x.to_bits()), "{x}");
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn short_decimals_take_few_bytes() {
        let lengths = [0.0, 3.0, 19.99, -19.99, 1e12, 0.1f32.into(), -0.0, 1.0 / 3.0].map(|x| stored(x).len());
        assert_eq!(lengths, [1, 1, 3, 3, 7, 5, 5, 9]);
    }
}
