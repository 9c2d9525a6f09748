//! Compact byte forms: varints, and a reader that turns damaged bytes into an error.

use crate::error::{KernelError, Result};

/// Appends `value` in base 128, least significant group first.
pub fn put_varint(out: &mut Vec<u8>, mut value: u128) {
    while value > u64::MAX.into() {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    let mut low = value as u64;
    while low >= 0x80 {
        out.push(low as u8 | 0x80);
        low >>= 7;
    }
    out.push(low as u8);
}

/// Appends a signed number so that small magnitudes take few bytes.
pub fn put_signed(out: &mut Vec<u8>, value: i128) {
    put_varint(out, ((value << 1) ^ (value >> 127)) as u128);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u128);
    out.extend_from_slice(bytes);
}

/// Reads what the `put_` functions wrote.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk().ok_or_else(|| damaged("they end early"))?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or_else(|| damaged("they end early"))?;
        self.rest = rest;
        Ok(head)
    }

    #[inline(always)]
    pub fn varint(&mut self) -> Result<u64> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    /// A number of several bytes: all at once where it ends within the next 8.
    #[inline(always)]
    fn long_varint(&mut self) -> Result<u64> {
        if let Some(chunk) = self.rest.first_chunk() {
            let word = u64::from_le_bytes(*chunk);
            let ends = !word & 0x8080_8080_8080_8080;
            if ends != 0 {
                let bits = ends.trailing_zeros() + 1;
                self.rest = &self.rest[bits as usize / 8..];
                return Ok(join_groups(word & (u64::MAX >> (64 - bits))));
            }
        }
        self.longest_varint()
    }

    #[cold]
    fn longest_varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for (i, &byte) in self.rest.iter().enumerate().take(10) {
            if i == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(damaged("a number is malformed"))
    }

    #[inline]
    pub fn wide_varint(&mut self) -> Result<u128> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u128::from(*byte))
            }
            _ => self.long_wide_varint(),
        }
    }

    fn long_wide_varint(&mut self) -> Result<u128> {
        let mut value = 0u128;
        for (i, &byte) in self.rest.iter().enumerate().take(19) {
            if i == 18 && byte > 3 {
                break;
            }
            value |= u128::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(damaged("a number is malformed"))
    }

    pub fn signed(&mut self) -> Result<i64> {
        let raw = self.varint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    pub fn wide_signed(&mut self) -> Result<i128> {
        let raw = self.wide_varint()?;
        Ok((raw >> 1) as i128 ^ -((raw & 1) as i128))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let n = self.length()?;
        self.take(n)
    }

    /// A count of items that each take at least one byte, so that damaged bytes cannot ask for unbounded memory.
    pub fn length(&mut self) -> Result<usize> {
        let n = self.varint()?;
        if n > self.rest.len() as u64 {
            return Err(damaged("a length is past their end"));
        }
        Ok(n as usize)
    }
}

/// Joins the low 7 bits of each of 8 bytes, in pairs, then pairs of pairs, then those.
#[inline]
fn join_groups(word: u64) -> u64 {
    let pairs = (word & 0x007f_007f_007f_007f) | (word & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = (pairs & 0x0000_3fff_0000_3fff) | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    (fours & 0x0fff_ffff) | (fours & 0x0fff_ffff_0000_0000) >> 4
}

/// The error for bytes that cannot be read.
#[cold]
pub fn damaged(why: &str) -> KernelError {
    KernelError::Corrupt(format!("Stored state bytes are damaged: {why}. Rebuild the state from the offline log."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_round_trip() {
        let wide = [0, 1, -1, 63, -64, 64, i64::MIN as i128, i64::MAX as i128, i128::MIN, i128::MAX];
        let mut out = Vec::new();
        for v in wide {
            put_signed(&mut out, v);
        }
        let mut reader = Reader::new(&out);
        for v in wide {
            assert_eq!(reader.wide_signed(), Ok(v));
        }
        assert!(reader.is_empty());

        let mut out = Vec::new();
        put_signed(&mut out, i64::MIN as i128);
        put_varint(&mut out, u64::MAX as u128);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.signed(), Ok(i64::MIN));
        assert_eq!(reader.varint(), Ok(u64::MAX));
    }

    #[test]
    fn numbers_of_every_length_survive_whatever_follows() {
        for bits in 0..64 {
            for value in [1u64 << bits, u64::MAX >> bits] {
                for follow in [0, 1, 9] {
                    let mut out = Vec::new();
                    put_varint(&mut out, value.into());
                    out.resize(out.len() + follow, 0xff);
                    let mut reader = Reader::new(&out);
                    assert_eq!(reader.varint(), Ok(value));
                    assert_eq!(reader.rest.len(), follow);
                }
            }
        }
    }

    #[test]
    fn damaged_numbers_are_errors() {
        assert!(Reader::new(&[0x80]).varint().is_err());
        assert!(Reader::new(&[0xff; 10]).varint().is_err());
        assert!(Reader::new(&[0xff; 19]).wide_varint().is_err());
        assert!(Reader::new(&[5, 1]).bytes().is_err());
    }
}
