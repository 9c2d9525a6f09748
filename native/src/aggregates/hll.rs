//! Approximate distinct counts: HyperLogLog with 4,096 registers, standard error 1.6%.
//!
//! Values are hashed by a fixed function that every platform and version shares: SplitMix64's finaliser over the
//! 64-bit value (floats by their bits, -0.0 as 0.0), and for decimals (16 bytes, little endian) and byte strings
//! FNV-1a of 64 bits followed by the same finaliser. The estimate is Ertl's improved one (arXiv 1702.01284, algorithm
//! 6), a function of the register values alone.

use super::value::ValueRef;
use crate::error::Result;
use crate::wire::{Reader, damaged, put_varint};

const PRECISION: u32 = 12;
/// How many registers there are.
pub const REGISTERS: usize = 1 << PRECISION;
/// The highest value of a register.
pub const MAX_RANK: u8 = (64 - PRECISION + 1) as u8;
/// With more registers in use than this, storing all of them is shorter.
const SPARSE_LIMIT: usize = REGISTERS / 4;

/// SplitMix64's finaliser.
#[inline]
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// The fixed hash of a value.
#[inline]
pub fn hash(value: ValueRef<'_>) -> u64 {
    match value.canonical() {
        ValueRef::Int(x) => mix(x as u64),
        ValueRef::Float(x) => mix(x.to_bits()),
        ValueRef::Decimal(x) => mix(fnv1a(&x.to_le_bytes())),
        ValueRef::Bytes(x) => mix(fnv1a(x)),
    }
}

/// The register a value falls in, and the rank it brings there.
#[inline]
pub fn register_of(value: ValueRef<'_>) -> (u16, u8) {
    let hash = hash(value);
    let rank = (hash << PRECISION).leading_zeros().min(64 - PRECISION) + 1;
    ((hash >> (64 - PRECISION)) as u16, rank as u8)
}

/// The estimate from how many registers hold each value, rounded to the nearest integer.
pub fn estimate(registers_by_rank: &[u32; MAX_RANK as usize + 1]) -> i64 {
    let m = REGISTERS as f64;
    let top = MAX_RANK as usize;
    let mut z = m * tau(1.0 - f64::from(registers_by_rank[top]) / m);
    for k in (1..top).rev() {
        z = 0.5 * (z + f64::from(registers_by_rank[k]));
    }
    z += m * sigma(f64::from(registers_by_rank[0]) / m);
    let alpha = 0.5 / std::f64::consts::LN_2;
    (alpha * m * m / z + 0.5).floor() as i64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let previous = z;
        z += x * y;
        y += y;
        if z == previous {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let previous = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == previous {
            return z / 3.0;
        }
    }
}

/// The highest rank seen per register.
#[derive(Clone, Debug)]
pub enum Hll {
    /// Registers in use, ascending.
    Sparse(Vec<(u16, u8)>),
    Dense(Box<[u8; REGISTERS]>),
}

impl Default for Hll {
    fn default() -> Self {
        Self::Sparse(Vec::new())
    }
}

impl Hll {
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn add(&mut self, value: ValueRef<'_>) {
        let (register, rank) = register_of(value);
        self.raise(register, rank);
    }

    fn raise(&mut self, register: u16, rank: u8) {
        match self {
            Self::Dense(all) => {
                let held = &mut all[usize::from(register)];
                *held = rank.max(*held);
            }
            Self::Sparse(used) => match used.binary_search_by_key(&register, |&(r, _)| r) {
                Ok(at) => used[at].1 = rank.max(used[at].1),
                Err(at) => {
                    used.insert(at, (register, rank));
                    if used.len() > SPARSE_LIMIT {
                        self.widen();
                    }
                }
            },
        }
    }

    fn widen(&mut self) {
        if let Self::Sparse(used) = self {
            let mut all = Box::new([0; REGISTERS]);
            for &(register, rank) in used.iter() {
                all[usize::from(register)] = rank;
            }
            *self = Self::Dense(all);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        match other {
            Self::Sparse(used) => used.iter().for_each(|&(register, rank)| self.raise(register, rank)),
            Self::Dense(all) => {
                self.widen();
                for (register, &rank) in all.iter().enumerate() {
                    self.raise(register as u16, rank);
                }
            }
        }
    }

    pub fn count(&self) -> i64 {
        let mut by_rank = [0; MAX_RANK as usize + 1];
        match self {
            Self::Sparse(used) => {
                by_rank[0] = (REGISTERS - used.len()) as u32;
                used.iter().for_each(|&(_, rank)| by_rank[usize::from(rank)] += 1);
            }
            Self::Dense(all) => all.iter().for_each(|&rank| by_rank[usize::from(rank)] += 1),
        }
        estimate(&by_rank)
    }

    /// Equal registers give equal bytes: which form is stored depends on how many are in use.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Sparse(used) => {
                put_varint(out, used.len() as u128);
                let mut previous = 0;
                for &(register, rank) in used {
                    put_varint(out, u128::from(register - previous));
                    out.push(rank);
                    previous = register;
                }
            }
            Self::Dense(all) => {
                put_varint(out, REGISTERS as u128);
                out.extend_from_slice(&all[..]);
            }
        }
    }

    /// Merges a stored state into this one.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are damaged.
    pub fn merge_encoded(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let n = reader.length()?;
        if n == REGISTERS {
            self.widen();
            for (register, &rank) in reader.take(REGISTERS)?.iter().enumerate() {
                self.raise(register as u16, checked(rank)?);
            }
            return Ok(());
        }
        let mut register = 0;
        for _ in 0..n {
            register += reader.varint()?.min(REGISTERS as u64);
            if register >= REGISTERS as u64 {
                return Err(damaged("a register is out of range"));
            }
            self.raise(register as u16, checked(reader.byte()?)?);
        }
        Ok(())
    }
}

fn checked(rank: u8) -> Result<u8> {
    if rank > MAX_RANK { Err(damaged("a register is out of range")) } else { Ok(rank) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: std::ops::Range<i64>) -> Hll {
        let mut hll = Hll::default();
        values.for_each(|x| hll.add(ValueRef::Int(x)));
        hll
    }

    fn bytes(hll: &Hll) -> Vec<u8> {
        let mut out = Vec::new();
        hll.encode(&mut out);
        out
    }

    #[test]
    fn hashes_never_change() {
        assert_eq!(hash(ValueRef::Int(0)), 0xe220_a839_7b1d_cdaf);
        assert_eq!(hash(ValueRef::Float(-0.0)), hash(ValueRef::Float(0.0)));
        assert_eq!(hash(ValueRef::Bytes(b"")), mix(0xcbf2_9ce4_8422_2325));
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn estimates_stay_within_four_standard_errors() {
        for n in [0i64, 1, 2, 10, 100, 1000, 5000, 20_000, 200_000] {
            let off = (of(0..n).count() - n).abs() as f64;
            assert!(off <= 4.0 * 0.01625 * n as f64, "{n}: off by {off}");
        }
    }

    #[test]
    fn merging_in_any_order_gives_the_same_bytes() {
        for n in [0, 5, 1000, 1400, 6000] {
            let whole = bytes(&of(0..n));
            for cut in [0, n / 3, n] {
                let (mut left, right) = (of(0..cut), of(cut..n));
                left.merge_encoded(&mut Reader::new(&bytes(&right))).unwrap();
                assert_eq!(bytes(&left), whole);
                let mut again = right.clone();
                again.merge(&of(0..cut));
                assert_eq!(bytes(&again), whole);
            }
        }
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        assert!(Hll::default().merge_encoded(&mut Reader::new(&[1, 3, 60])).is_err());
        assert!(Hll::default().merge_encoded(&mut Reader::new(&[1, 0xff, 0x7f, 1])).is_err());
        let whole = bytes(&of(0..50));
        assert!(Hll::default().merge_encoded(&mut Reader::new(&whole[..whole.len() - 1])).is_err());
    }
}
