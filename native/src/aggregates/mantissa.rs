//! Fixed-width signed integers that carry the mantissa of an exact sum, and how they round to a float.

use arrow_buffer::i256;
use num_bigint::{BigInt, Sign};

/// A float with an unbounded exponent: `mantissa * 2^exp`, rounded once to 53 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaled {
    pub mantissa: f64,
    pub exp: i32,
}

impl Scaled {
    /// `negative`, and `top * 2^exp` with the highest bit of `top` set (or `top` = 0) and its lowest bit sticky.
    /// Rounds half to even: a 64-bit integer with a sticky bit rounds like the whole number it stands for.
    #[inline]
    pub fn from_top(negative: bool, top: u64, exp: i32) -> Self {
        let magnitude = top as f64;
        Self { mantissa: if negative && top != 0 { -magnitude } else { magnitude }, exp }
    }

    pub fn divide(self, divisor: f64) -> Self {
        Self { mantissa: self.mantissa / divisor, exp: self.exp }
    }

    /// The nearest float: infinite when it is too large. Multiplying by a power of two is exact, and results
    /// below the normal range were exact multiples of the smallest float if they were sums of floats.
    #[inline]
    pub fn to_f64(self) -> f64 {
        let (mut value, mut exp) = (self.mantissa, self.exp);
        while exp < -1000 {
            value *= power_of_two(-1000);
            exp += 1000;
        }
        while exp > 1000 {
            value *= power_of_two(1000);
            exp -= 1000;
        }
        value * power_of_two(exp)
    }
}

#[inline]
fn power_of_two(exp: i32) -> f64 {
    f64::from_bits(((1023 + exp) as u64) << 52)
}

/// A two's-complement integer of fixed width with the operations an exact sum needs.
pub trait Mantissa: Copy + PartialEq + std::fmt::Debug {
    const ZERO: Self;
    /// Bytes of the widest value.
    const WIDTH: usize;

    fn checked_add(self, other: Self) -> Option<Self>;
    fn checked_neg(self) -> Option<Self>;
    /// `self * 2^n`, or nothing when that does not fit.
    fn checked_shl(self, n: u32) -> Option<Self>;
    /// `self * 2^n` for callers that know it fits.
    fn shl(self, n: u32) -> Self;
    /// `self / 2^n` for callers that know the lost bits are zero.
    fn shr(self, n: u32) -> Self;
    fn trailing_zeros(self) -> u32;
    fn scaled(self, exp: i32) -> Scaled;
    fn to_le_bytes(self) -> [u8; 32];
    /// From minimal two's-complement bytes, at most `WIDTH` of them.
    fn from_le_bytes(bytes: [u8; 32]) -> Self;

    fn to_big(self) -> BigInt {
        BigInt::from_signed_bytes_le(&self.to_le_bytes())
    }

    fn from_big(big: &BigInt) -> Option<Self> {
        (big.bits() < 8 * Self::WIDTH as u64).then(|| Self::from_le_bytes(sign_extend(&big.to_signed_bytes_le())))
    }
}

/// Widens minimal little-endian two's complement to 32 bytes.
pub fn sign_extend(bytes: &[u8]) -> [u8; 32] {
    let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [fill; 32];
    wide[..bytes.len()].copy_from_slice(bytes);
    wide
}

impl Mantissa for i128 {
    const ZERO: Self = 0;
    const WIDTH: usize = 16;

    #[inline]
    fn checked_add(self, other: Self) -> Option<Self> {
        i128::checked_add(self, other)
    }

    #[inline]
    fn checked_neg(self) -> Option<Self> {
        i128::checked_neg(self)
    }

    #[inline]
    fn checked_shl(self, n: u32) -> Option<Self> {
        let sign_bits = if self < 0 { (!self).leading_zeros() } else { self.leading_zeros() };
        if self == 0 { Some(0) } else { (n < sign_bits).then(|| self << n) }
    }

    #[inline]
    fn shl(self, n: u32) -> Self {
        self << n
    }

    #[inline]
    fn shr(self, n: u32) -> Self {
        self >> n
    }

    #[inline]
    fn trailing_zeros(self) -> u32 {
        i128::trailing_zeros(self)
    }

    #[inline]
    fn scaled(self, exp: i32) -> Scaled {
        let (top, shift) = top_of(self.unsigned_abs(), false);
        Scaled::from_top(self < 0, top, exp + shift)
    }

    fn to_le_bytes(self) -> [u8; 32] {
        sign_extend(&i128::to_le_bytes(self))
    }

    fn from_le_bytes(bytes: [u8; 32]) -> Self {
        let mut low = [0; 16];
        low.copy_from_slice(&bytes[..16]);
        i128::from_le_bytes(low)
    }
}

impl Mantissa for i256 {
    const ZERO: Self = i256::ZERO;
    const WIDTH: usize = 32;

    #[inline]
    fn checked_add(self, other: Self) -> Option<Self> {
        let (sum, overflow) = self.overflowing_add(other);
        (!overflow).then_some(sum)
    }

    #[inline]
    fn checked_neg(self) -> Option<Self> {
        i256::checked_neg(self)
    }

    #[inline]
    fn checked_shl(self, n: u32) -> Option<Self> {
        let (low, high) = self.to_parts();
        let (low_abs, high_abs) = if high < 0 { (!low, !high) } else { (low, high) };
        let sign_bits = if high_abs == 0 { 128 + low_abs.leading_zeros() } else { high_abs.leading_zeros() };
        if self == i256::ZERO { Some(self) } else { (n < sign_bits).then(|| Mantissa::shl(self, n)) }
    }

    #[inline]
    fn shl(self, n: u32) -> Self {
        let (low, high) = self.to_parts();
        match n {
            0 => self,
            1..128 => i256::from_parts(low << n, (high << n) | (low >> (128 - n)) as i128),
            _ => i256::from_parts(0, (low << (n - 128)) as i128),
        }
    }

    #[inline]
    fn shr(self, n: u32) -> Self {
        let (low, high) = self.to_parts();
        match n {
            0 => self,
            1..128 => i256::from_parts((low >> n) | (high << (128 - n)) as u128, high >> n),
            _ => i256::from_parts((high >> (n - 128)) as u128, high >> 127),
        }
    }

    #[inline]
    fn trailing_zeros(self) -> u32 {
        let (low, high) = self.to_parts();
        if low == 0 { 128 + high.trailing_zeros() } else { low.trailing_zeros() }
    }

    #[inline]
    fn scaled(self, exp: i32) -> Scaled {
        let (low, high) = self.wrapping_abs().to_parts();
        let high = high as u128;
        if high == 0 {
            let (top, shift) = top_of(low, false);
            return Scaled::from_top(self.is_negative(), top, exp + shift);
        }
        let lead = high.leading_zeros();
        let (joined, lost) = match lead {
            0 => (high, low),
            _ => ((high << lead) | (low >> (128 - lead)), low << lead),
        };
        let (top, shift) = top_of(joined, lost != 0);
        Scaled::from_top(self.is_negative(), top, exp + shift + 128 - lead as i32)
    }

    fn to_le_bytes(self) -> [u8; 32] {
        i256::to_le_bytes(self)
    }

    fn from_le_bytes(bytes: [u8; 32]) -> Self {
        i256::from_le_bytes(bytes)
    }
}

/// The highest 64 bits of `magnitude` with a sticky lowest bit, and the power of two that they stand at.
#[inline]
fn top_of(magnitude: u128, sticky: bool) -> (u64, i32) {
    let lead = magnitude.leading_zeros();
    if lead >= 128 {
        return (0, 0);
    }
    let aligned = magnitude << lead;
    let lost = aligned as u64 != 0 || sticky;
    ((aligned >> 64) as u64 | u64::from(lost), 64 - lead as i32)
}

/// `big * 2^exp`, rounded once.
pub fn scaled_big(big: &BigInt, exp: i32) -> Scaled {
    let bits = big.bits();
    let shift = bits.saturating_sub(64);
    let top = (big.magnitude() >> shift).iter_u64_digits().next().unwrap_or(0);
    let lost = big.magnitude().trailing_zeros().is_some_and(|zeros| zeros < shift);
    let lead = top.leading_zeros() % 64;
    Scaled::from_top(big.sign() == Sign::Minus, (top << lead) | u64::from(lost), exp + shift as i32 - lead as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearest(value: i128) -> f64 {
        value as f64
    }

    #[test]
    fn every_width_rounds_half_to_even() {
        let base = 1i128 << 60;
        for value in [0, 1, -1, 3, base + 127, base + 128, base + 129, base + 384, -(base + 128), i128::MAX, i128::MIN]
        {
            assert_eq!(value.scaled(0).to_f64(), nearest(value), "{value}");
            assert_eq!(i256::from_i128(value).scaled(0).to_f64(), nearest(value), "{value}");
            assert_eq!(scaled_big(&BigInt::from(value), 0).to_f64(), nearest(value), "{value}");
        }
    }

    #[test]
    fn a_bit_far_below_the_top_breaks_the_tie() {
        let half = (BigInt::from(1) << 200u32) + (BigInt::from(1) << 147u32);
        let above = &half + 1;
        for (big, expected) in [(half, 2f64.powi(200)), (above, 2f64.powi(200) * (1.0 + f64::EPSILON))] {
            assert_eq!(scaled_big(&big, 0).to_f64(), expected);
            assert_eq!(i256::from_big(&big).unwrap().scaled(0).to_f64(), expected);
            assert_eq!(i256::from_big(&-&big).unwrap().scaled(0).to_f64(), -expected);
        }
    }

    #[test]
    fn shifts_say_when_they_do_not_fit() {
        assert_eq!(Mantissa::checked_shl(1i128, 126), Some(1 << 126));
        assert_eq!(Mantissa::checked_shl(1i128, 127), None);
        assert_eq!(Mantissa::checked_shl(-1i128, 127), Some(i128::MIN));
        let one = i256::from_i128(1);
        assert_eq!(Mantissa::checked_shl(one, 254).map(|v| v.to_big()), Some(BigInt::from(1) << 254u32));
        assert_eq!(Mantissa::checked_shl(one, 255), None);
        assert_eq!(
            Mantissa::checked_shl(i256::from_i128(-5), 200).map(|v| v.to_big()),
            Some(BigInt::from(-5) << 200u32)
        );
        assert_eq!(Mantissa::shr(Mantissa::shl(i256::from_i128(-5), 200), 200), i256::from_i128(-5));
        assert_eq!(Mantissa::shr(Mantissa::shl(i256::from_i128(-5), 70), 70), i256::from_i128(-5));
    }

    #[test]
    fn the_ends_of_the_float_range_are_exact() {
        assert_eq!(1i128.scaled(-1074).to_f64(), f64::from_bits(1));
        assert_eq!(((1i128 << 53) - 1).scaled(971).to_f64(), f64::MAX);
        assert_eq!(1i128.scaled(1024).to_f64(), f64::INFINITY);
    }
}
