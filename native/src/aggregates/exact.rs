//! Exact sums: fixed point with a moving exponent, so adding and removing lose nothing and order never matters.

use num_bigint::{BigInt, Sign};

use super::mantissa::{Mantissa, Scaled, scaled_big, sign_extend};
use crate::error::Result;
use crate::wire::{Reader, damaged, put_signed, put_varint};

/// Exponents of stored sums lie within this: squares of floats need -2148 to about 2200.
const MAX_EXPONENT: i64 = 4096;
/// Stored mantissas are shorter than this: a sum of squares of floats needs about 550 bytes.
const MAX_MANTISSA_BYTES: usize = 1024;

/// `small * 2^exp`, or `big` once that does not fit, plus counts of infinite addends.
#[derive(Clone, Debug)]
pub struct ExactSum<M> {
    small: M,
    exp: i32,
    big: Option<Box<Big>>,
    pub pos_inf: u64,
    pub neg_inf: u64,
}

#[derive(Clone, Debug)]
struct Big {
    mantissa: BigInt,
    exp: i32,
}

/// While the sum is big, this exponent keeps every addend off the fast path.
const NEVER: i32 = 1 << 20;

impl<M: Mantissa> Default for ExactSum<M> {
    fn default() -> Self {
        Self { small: M::ZERO, exp: 0, big: None, pos_inf: 0, neg_inf: 0 }
    }
}

impl<M: Mantissa> ExactSum<M> {
    /// Forgets every addend; keeps the working exponent, which the next addends probably share.
    #[inline]
    pub fn clear(&mut self) {
        self.small = M::ZERO;
        if self.big.take().is_some() {
            self.exp = 0;
        }
        self.pos_inf = 0;
        self.neg_inf = 0;
    }

    /// Adds `m * 2^e`, where `m` has at most `BITS` bits besides its sign.
    #[inline]
    pub fn add_scaled<const BITS: u32>(&mut self, m: M, e: i32) {
        let shift = e.wrapping_sub(self.exp) as u32;
        if shift < 8 * M::WIDTH as u32 - BITS
            && let Some(sum) = self.small.checked_add(m.shl(shift))
        {
            self.small = sum;
        } else {
            self.add_slow(m, e);
        }
    }

    /// Adds `m * 2^e` of any size.
    #[inline]
    pub fn add_any(&mut self, m: M, e: i32) {
        if e >= self.exp
            && let Some(addend) = m.checked_shl((e - self.exp) as u32)
            && let Some(sum) = self.small.checked_add(addend)
        {
            self.small = sum;
        } else {
            self.add_slow(m, e);
        }
    }

    #[cold]
    fn add_slow(&mut self, m: M, e: i32) {
        if m == M::ZERO {
            return;
        }
        if self.big.is_none() {
            if self.small == M::ZERO {
                self.small = m;
                self.exp = e;
                return;
            }
            if e < self.exp
                && let Some(lowered) = self.small.checked_shl((self.exp - e) as u32)
                && let Some(sum) = lowered.checked_add(m)
            {
                self.small = sum;
                self.exp = e;
                return;
            }
        }
        self.add_big(m.to_big(), e);
    }

    fn add_big(&mut self, m: BigInt, e: i32) {
        let mut big = match self.big.take() {
            Some(big) => big,
            None => Box::new(Big { mantissa: self.small.to_big(), exp: self.exp }),
        };
        if e < big.exp {
            big.mantissa <<= (big.exp - e) as u32;
            big.exp = e;
        }
        big.mantissa += m << (e - big.exp) as u32;
        self.hold(big);
    }

    /// Returns to the narrow form as soon as the value fits with room to spare.
    fn hold(&mut self, mut big: Box<Big>) {
        let zeros = big.mantissa.trailing_zeros().unwrap_or(0);
        if big.mantissa.bits() - zeros < 8 * M::WIDTH as u64 - 8 {
            big.mantissa >>= zeros;
            if let Some(small) = M::from_big(&big.mantissa) {
                self.small = small;
                self.exp = if small == M::ZERO { 0 } else { big.exp + zeros as i32 };
                return;
            }
        }
        self.small = M::ZERO;
        self.exp = NEVER;
        self.big = Some(big);
    }

    #[inline]
    pub fn merge(&mut self, other: &Self) {
        match &other.big {
            None => self.add_any(other.small, other.exp),
            Some(big) => self.add_big(big.mantissa.clone(), big.exp),
        }
        self.pos_inf += other.pos_inf;
        self.neg_inf += other.neg_inf;
    }

    #[inline]
    pub fn has_inf(&self) -> bool {
        self.pos_inf | self.neg_inf != 0
    }

    /// The infinity that dominates the sum, if any: `NaN` where both signs are present.
    #[inline]
    pub fn infinity(&self) -> Option<f64> {
        match (self.pos_inf > 0, self.neg_inf > 0) {
            (false, false) => None,
            (true, false) => Some(f64::INFINITY),
            (false, true) => Some(f64::NEG_INFINITY),
            (true, true) => Some(f64::NAN),
        }
    }

    /// The finite part, rounded once.
    #[inline]
    pub fn scaled(&self) -> Scaled {
        match &self.big {
            None => self.small.scaled(self.exp),
            Some(big) => scaled_big(&big.mantissa, big.exp),
        }
    }

    /// The finite part as an integer mantissa and the power of two it stands at.
    pub fn parts(&self) -> (BigInt, i32) {
        match &self.big {
            None => (self.small.to_big(), self.exp),
            Some(big) => (big.mantissa.clone(), big.exp),
        }
    }

    /// The finite part while it is narrow.
    #[inline]
    pub fn small_parts(&self) -> Option<(M, i32)> {
        self.big.is_none().then_some((self.small, self.exp))
    }

    /// Appends the canonical form: equal sums give equal bytes, however they came about.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match &self.big {
            None if self.small == M::ZERO => self.put(&[], 0, out),
            None => {
                let zeros = self.small.trailing_zeros();
                let wide = self.small.shr(zeros).to_le_bytes();
                self.put(minimal(&wide), self.exp + zeros as i32, out);
            }
            Some(big) if big.mantissa.sign() == Sign::NoSign => self.put(&[], 0, out),
            Some(big) => {
                let zeros = big.mantissa.trailing_zeros().unwrap_or(0);
                self.put(&(&big.mantissa >> zeros).to_signed_bytes_le(), big.exp + zeros as i32, out);
            }
        }
    }

    /// Appends an odd mantissa in minimal two's complement, nothing for zero, and the infinities.
    fn put(&self, bytes: &[u8], exp: i32, out: &mut Vec<u8>) {
        let has_inf = u128::from(self.has_inf());
        put_varint(out, (bytes.len() as u128) << 1 | has_inf);
        if !bytes.is_empty() {
            put_signed(out, exp.into());
            out.extend_from_slice(bytes);
        }
        if has_inf == 1 {
            put_varint(out, self.pos_inf.into());
            put_varint(out, self.neg_inf.into());
        }
    }

    /// Adds a stored sum to this one.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are damaged.
    pub fn merge_encoded(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let head = reader.varint()?;
        let len = (head >> 1) as usize;
        if len > MAX_MANTISSA_BYTES {
            return Err(damaged("a sum is too long"));
        }
        if len > 0 {
            let exp = reader.signed()?;
            if !(-MAX_EXPONENT..=MAX_EXPONENT).contains(&exp) {
                return Err(damaged("a sum is out of range"));
            }
            let bytes = reader.take(len)?;
            if len <= M::WIDTH {
                self.add_any(M::from_le_bytes(sign_extend(bytes)), exp as i32);
            } else {
                self.add_big(BigInt::from_signed_bytes_le(bytes), exp as i32);
            }
        }
        if head & 1 == 1 {
            self.pos_inf = self.pos_inf.saturating_add(reader.varint()?);
            self.neg_inf = self.neg_inf.saturating_add(reader.varint()?);
        }
        Ok(())
    }
}

/// Drops the high bytes of a two's-complement number that only repeat its sign.
fn minimal(wide: &[u8; 32]) -> &[u8] {
    let fill = if wide[31] & 0x80 != 0 { 0xff } else { 0 };
    let mut len = 32;
    while len > 1 && wide[len - 1] == fill && (wide[len - 2] ^ fill) & 0x80 == 0 {
        len -= 1;
    }
    &wide[..len]
}

/// Splits a finite float into a signed integer of 53 bits and a power of two.
#[inline]
pub fn split(x: f64) -> (i64, i32) {
    let bits = x.to_bits();
    let field = (bits >> 52) as i32 & 0x7ff;
    let fraction = (bits & ((1 << 52) - 1)) as i64;
    let hidden = i64::from(field != 0) << 52;
    let magnitude = fraction | hidden;
    let sign = (bits as i64) >> 63;
    ((magnitude ^ sign) - sign, field.max(1) - 1075)
}

#[cfg(test)]
mod tests {
    use arrow_buffer::i256;

    use super::*;

    fn add(sum: &mut ExactSum<i128>, x: f64) {
        let (m, e) = split(x);
        sum.add_scaled::<53>(m.into(), e);
    }

    fn total(values: &[f64]) -> ExactSum<i128> {
        let mut sum = ExactSum::default();
        for &x in values {
            add(&mut sum, x);
        }
        sum
    }

    fn bytes(sum: &ExactSum<i128>) -> Vec<u8> {
        let mut out = Vec::new();
        sum.encode(&mut out);
        out
    }

    /// Floats of every magnitude and sign from a fixed multiplicative generator.
    fn samples(n: usize) -> Vec<f64> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        std::iter::from_fn(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            Some(f64::from_bits(state ^ (state >> 29)))
        })
        .filter(|x| x.is_finite())
        .take(n)
        .collect()
    }

    #[test]
    fn a_float_is_its_split() {
        for x in [0.0, 1.0, -1.5, 0.1, f64::MAX, f64::MIN_POSITIVE, f64::from_bits(1), -f64::from_bits(77)] {
            let (m, e) = split(x);
            assert_eq!((m as i128).scaled(e).to_f64(), x);
        }
    }

    #[test]
    fn sums_match_a_rational_of_unbounded_size() {
        let values = samples(200);
        let mut exact = BigInt::from(0);
        let mut sum = ExactSum::default();
        for &x in &values {
            let (m, e) = split(x);
            exact += BigInt::from(m) << (e + 1074) as u32;
            add(&mut sum, x);
            assert_eq!(sum.scaled().to_f64(), scaled_big(&exact, -1074).to_f64());
        }
    }

    #[test]
    fn removing_undoes_adding_whatever_came_between() {
        let values = samples(100);
        let mut sum = total(&[0.1, 0.2]);
        let before = bytes(&sum);
        for &x in &values {
            add(&mut sum, x);
        }
        for &x in values.iter().rev() {
            add(&mut sum, -x);
        }
        assert_eq!(bytes(&sum), before);
        assert!(sum.big.is_none(), "a sum that fits again is narrow again");
    }

    #[test]
    fn a_large_intermediate_value_leaves_no_trace() {
        assert_eq!(total(&[1e308, 1e308, -1e308]).scaled().to_f64(), 1e308);
        assert_eq!(total(&[1e308, 1e308]).scaled().to_f64(), f64::INFINITY);
        assert_eq!(total(&[1e16, 1.0, -1e16]).scaled().to_f64(), 1.0);
        assert_eq!(total(&[5e-324, 5e-324]).scaled().to_f64(), 1e-323);
        assert_eq!(total(&[-0.5, 0.5]).scaled().to_f64().to_bits(), 0.0f64.to_bits());
        assert_eq!(total(&[-0.0]).scaled().to_f64().to_bits(), 0.0f64.to_bits());
    }

    #[test]
    fn merging_is_associative_and_equal_sums_have_equal_bytes() {
        let values = samples(60);
        let whole = bytes(&total(&values));
        for cut in [0, 1, 7, 30, 59, 60] {
            let (left, right) = values.split_at(cut);
            let mut merged = total(right);
            merged.merge(&total(left));
            assert_eq!(bytes(&merged), whole);
            let mut read = ExactSum::<i128>::default();
            read.merge_encoded(&mut Reader::new(&bytes(&total(left)))).unwrap();
            read.merge_encoded(&mut Reader::new(&bytes(&total(right)))).unwrap();
            assert_eq!(bytes(&read), whole);
        }
    }

    #[test]
    fn stored_forms_are_short() {
        let mut sum = ExactSum::<i128>::default();
        sum.add_scaled::<64>(1500, 0);
        assert_eq!(bytes(&sum).len(), 4);
        assert_eq!(bytes(&ExactSum::default()).len(), 1);
    }

    #[test]
    fn wide_sums_hold_squares_of_the_whole_float_range() {
        let mut sum = ExactSum::<i256>::default();
        let mut exact = BigInt::from(0);
        for x in [1e300, 1e-300, 3.5, 0.1, f64::MAX, f64::from_bits(1)] {
            let (m, e) = split(x);
            let square = i128::from(m) * i128::from(m);
            sum.add_scaled::<106>(i256::from_i128(square), 2 * e);
            exact += BigInt::from(square) << (2 * e + 2148) as u32;
        }
        let (mantissa, exp) = sum.parts();
        assert_eq!(mantissa << (exp + 2148) as u32, exact);
        let mut out = Vec::new();
        sum.encode(&mut out);
        let mut read = ExactSum::<i256>::default();
        read.merge_encoded(&mut Reader::new(&out)).unwrap();
        assert_eq!(read.parts().0 << (read.parts().1 + 2148) as u32, exact);
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        let whole = bytes(&total(&[0.1, 1e300]));
        for cut in 0..whole.len() {
            assert!(ExactSum::<i128>::default().merge_encoded(&mut Reader::new(&whole[..cut])).is_err());
        }
        let huge_exponent = [2u8, 0xff, 0xff, 0x7f, 1];
        assert!(ExactSum::<i128>::default().merge_encoded(&mut Reader::new(&huge_exponent)).is_err());
    }
}
