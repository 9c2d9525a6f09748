//! Count, sum and sum of squares of one lane, and the sum, mean, variance and deviation they give.

use arrow_buffer::i256;
use num_bigint::BigInt;

use super::exact::{ExactSum, split};
use super::mantissa::{Mantissa, Scaled, scaled_big};
use super::value::ValueRef;
use crate::error::Result;
use crate::wire::{Reader, damaged, put_varint};

/// How many values, their exact sum and their exact sum of squares, the last two only where asked for.
#[derive(Clone, Debug)]
pub struct Moments {
    pub count: u64,
    with_sum: bool,
    with_squares: bool,
    pub sum: ExactSum<i128>,
    pub squares: ExactSum<i256>,
}

impl Moments {
    pub fn new(with_sum: bool, with_squares: bool) -> Self {
        Self { count: 0, with_sum, with_squares, sum: ExactSum::default(), squares: ExactSum::default() }
    }

    #[inline]
    pub fn clear(&mut self) {
        self.count = 0;
        self.sum.clear();
        self.squares.clear();
    }

    #[inline]
    pub fn add_float(&mut self, x: f64) {
        self.count += 1;
        self.float::<false>(x);
    }

    #[inline]
    pub fn remove_float(&mut self, x: f64) {
        self.count -= 1;
        self.float::<true>(x);
    }

    #[inline]
    fn float<const REMOVE: bool>(&mut self, x: f64) {
        if !self.with_sum {
            return;
        }
        if x.is_infinite() {
            let counter = if x > 0.0 { &mut self.sum.pos_inf } else { &mut self.sum.neg_inf };
            *counter = if REMOVE { *counter - 1 } else { *counter + 1 };
            return;
        }
        let (m, e) = split(x);
        let signed = if REMOVE { -m } else { m };
        self.sum.add_scaled::<53>(signed.into(), e);
        if self.with_squares {
            let square = i128::from(m) * i128::from(m);
            let square = if REMOVE { -square } else { square };
            self.squares.add_scaled::<106>(i256::from_i128(square), 2 * e);
        }
    }

    #[inline]
    pub fn add_int(&mut self, x: i64) {
        self.count += 1;
        self.integer(x.into());
    }

    #[inline]
    pub fn remove_int(&mut self, x: i64) {
        self.count -= 1;
        self.remove_integer(x.into());
    }

    #[inline]
    pub fn add_decimal(&mut self, x: i128) {
        self.count += 1;
        self.integer(x);
    }

    #[inline]
    pub fn remove_decimal(&mut self, x: i128) {
        self.count -= 1;
        self.remove_integer(x);
    }

    #[inline]
    fn integer(&mut self, x: i128) {
        if self.with_sum {
            self.sum.add_any(x, 0);
        }
        if self.with_squares {
            let wide = i256::from_i128(x);
            self.squares.add_any(wide.wrapping_mul(wide), 0);
        }
    }

    #[inline]
    fn remove_integer(&mut self, x: i128) {
        if self.with_sum {
            self.sum.add_any(x.wrapping_neg(), 0);
        }
        if self.with_squares {
            let wide = i256::from_i128(x);
            self.squares.add_any(wide.wrapping_mul(wide).wrapping_neg(), 0);
        }
    }

    #[inline]
    pub fn add(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Int(x) => self.add_int(x),
            ValueRef::Float(x) => self.add_float(x),
            ValueRef::Decimal(x) => self.add_decimal(x),
            ValueRef::Bytes(_) => self.count += 1,
        }
    }

    #[inline]
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.count.into());
        if self.with_sum {
            self.sum.encode(out);
        }
        if self.with_squares {
            self.squares.encode(out);
        }
    }

    /// Adds a stored state of the same kind.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are damaged.
    pub fn merge_encoded(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let count = self.count.saturating_add(reader.varint()?);
        self.count =
            Some(count).filter(|n| i64::try_from(*n).is_ok()).ok_or_else(|| damaged("a count is out of range"))?;
        if self.with_sum {
            self.sum.merge_encoded(reader)?;
        }
        if self.with_squares {
            self.squares.merge_encoded(reader)?;
        }
        Ok(())
    }

    /// The float sum, rounded once from the exact one. Null for nothing and for infinities of both signs.
    #[inline]
    pub fn float_sum(&self) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        match self.sum.infinity() {
            Some(infinity) => (!infinity.is_nan()).then_some(infinity),
            None => Some(self.sum.scaled().to_f64()),
        }
    }

    /// The sum of integers or unscaled decimals; the inner `None` is one too large for 128 bits.
    pub fn integer_sum(&self) -> Option<Option<i128>> {
        if self.count == 0 {
            return None;
        }
        let narrow = self.sum.small_parts().and_then(|(m, e)| m.checked_shl(u32::try_from(e).ok()?));
        Some(narrow.or_else(|| {
            let (m, e) = self.sum.parts();
            i128::from_big(&(m << u32::try_from(e).ok()?))
        }))
    }

    /// The exact sum rounded to 53 bits, divided by the count (by `unit` first, the value of one scaled step
    /// of a decimal). Null like the sum.
    #[inline]
    pub fn mean(&self, unit: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        if let Some(infinity) = self.sum.infinity() {
            return (!infinity.is_nan()).then_some(infinity);
        }
        let total = self.sum.scaled();
        let total = if unit == 1.0 { total } else { total.divide(unit) };
        Some(total.divide(self.count as f64).to_f64())
    }

    /// Sample variance: `n * sum of squares - square of sum`, exact, rounded to 53 bits once, divided by
    /// `n * (n - 1)` and then by `unit` squared. Null for fewer than two values and where one is infinite.
    #[inline]
    pub fn variance(&self, unit: f64) -> Option<f64> {
        if self.count < 2 || self.sum.has_inf() {
            return None;
        }
        let pairs = (u128::from(self.count) * u128::from(self.count - 1)) as f64;
        let spread = self.spread().divide(pairs);
        let spread = if unit == 1.0 { spread } else { spread.divide(unit * unit) };
        Some(spread.to_f64())
    }

    fn spread(&self) -> Scaled {
        self.narrow_spread().unwrap_or_else(|| {
            let (sum, sum_exp) = self.sum.parts();
            let (squares, squares_exp) = self.squares.parts();
            let exp = squares_exp.min(2 * sum_exp);
            let scaled_squares = (squares * self.count) << (squares_exp - exp) as u32;
            let square: BigInt = &sum * &sum;
            scaled_big(&(scaled_squares - (square << (2 * sum_exp - exp) as u32)), exp)
        })
    }

    /// The spread in 256 bits, where everything fits.
    #[inline]
    fn narrow_spread(&self) -> Option<Scaled> {
        let (sum, sum_exp) = self.sum.small_parts()?;
        let (squares, squares_exp) = self.squares.small_parts()?;
        let exp = squares_exp.min(2 * sum_exp);
        let square = square_wide(sum)?;
        let square = Mantissa::checked_shl(square, (2 * sum_exp - exp) as u32)?;
        let squares = Mantissa::checked_shl(squares, (squares_exp - exp) as u32)?;
        let scaled_squares = times(squares, self.count)?;
        let (spread, overflow) = scaled_squares.overflowing_sub(square);
        (!overflow).then(|| Mantissa::scaled(spread, exp))
    }
}

/// `sum * sum`, unless that could touch the sign bit.
#[inline]
fn square_wide(sum: i128) -> Option<i256> {
    let magnitude = sum.unsigned_abs();
    if magnitude >> 126 != 0 {
        return None;
    }
    let (low, high) = (magnitude as u64 as u128, magnitude >> 64);
    let (ll, lh, hh) = (low * low, low * high, high * high);
    let (sum_low, carry) = ll.overflowing_add(lh << 65);
    Some(i256::from_parts(sum_low, (hh + (lh >> 63) + u128::from(carry)) as i128))
}

/// `value * n` for a value that is not negative, unless that does not fit.
#[inline]
fn times(value: i256, n: u64) -> Option<i256> {
    let (low, high) = value.to_parts();
    if high < 0 || high >> 62 != 0 {
        return None;
    }
    let n = u128::from(n);
    let (a, b) = ((low as u64 as u128) * n, (low >> 64) * n);
    let (out_low, carry) = a.overflowing_add(b << 64);
    Some(i256::from_parts(out_low, high.checked_mul(n as i128)?.checked_add((b >> 64) as i128 + i128::from(carry))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Moments {
        let mut moments = Moments::new(true, true);
        for &x in values {
            moments.add_float(x);
        }
        moments
    }

    fn bytes(moments: &Moments) -> Vec<u8> {
        let mut out = Vec::new();
        moments.encode(&mut out);
        out
    }

    #[test]
    fn narrow_and_wide_spread_agree() {
        let cases: [&[f64]; 4] =
            [&[1.0, 2.0, 4.0], &[0.1, 0.2, 0.3, 1e6], &[1e15, 1e15 + 1.0, 1e15 - 1.0], &[-3.0, 3.0, 7.25, 1e-3]];
        for values in cases {
            let moments = of(values);
            let narrow = moments.narrow_spread().expect("fits");
            let (sum, sum_exp) = moments.sum.parts();
            let (squares, squares_exp) = moments.squares.parts();
            let base = squares_exp.min(2 * sum_exp);
            let exact = ((squares * moments.count) << (squares_exp - base) as u32)
                - ((&sum * &sum) << (2 * sum_exp - base) as u32);
            assert_eq!(narrow.to_f64(), scaled_big(&exact, base).to_f64());
        }
    }

    #[test]
    fn helpers_match_big_integers() {
        for sum in [0, 1, -7, i128::from(u64::MAX), -(1 << 100) + 12345, (1 << 126) - 1, -((1 << 126) - 1)] {
            assert_eq!(square_wide(sum).unwrap().to_big(), BigInt::from(sum) * BigInt::from(sum));
        }
        assert_eq!(square_wide(1 << 126), None);
        for value in [0, 1, i128::MAX] {
            for n in [0, 1, u64::MAX] {
                assert_eq!(times(i256::from_i128(value), n).unwrap().to_big(), BigInt::from(value) * BigInt::from(n));
            }
        }
        let wide = i256::from_parts(u128::MAX, (1 << 61) - 1);
        assert_eq!(times(wide, 3).unwrap().to_big(), wide.to_big() * 3);
        assert_eq!(times(i256::MAX, 1), None);
    }

    #[test]
    fn variance_of_far_apart_values_does_not_cancel_or_overflow() {
        assert_eq!(of(&[1e15 + 1.0, 1e15 + 2.0, 1e15 + 3.0]).variance(1.0), Some(1.0));
        assert_eq!(of(&[1e200, 1e200]).variance(1.0), Some(0.0));
        assert_eq!(of(&[1e200, -1e200]).variance(1.0), Some(f64::INFINITY));
        let close = of(&[1e154, 0.0, 0.0, 0.0]).variance(1.0).unwrap();
        assert!((close / 2.5e307 - 1.0).abs() < 1e-15, "{close}");
        assert_eq!(of(&[7.0]).variance(1.0), None);
    }

    #[test]
    fn mean_survives_a_sum_past_the_float_range() {
        assert_eq!(of(&[1e308, 1e308]).mean(1.0), Some(1e308));
        assert_eq!(of(&[1e308, 1e308]).float_sum(), Some(f64::INFINITY));
        assert_eq!(of(&[]).mean(1.0), None);
    }

    #[test]
    fn infinities_leave_when_their_event_does() {
        let mut moments = of(&[1.0, 2.0]);
        let before = bytes(&moments);
        moments.add_float(f64::INFINITY);
        assert_eq!((moments.float_sum(), moments.variance(1.0)), (Some(f64::INFINITY), None));
        moments.add_float(f64::NEG_INFINITY);
        assert_eq!((moments.float_sum(), moments.mean(1.0)), (None, None));
        moments.remove_float(f64::INFINITY);
        assert_eq!(moments.mean(1.0), Some(f64::NEG_INFINITY));
        moments.remove_float(f64::NEG_INFINITY);
        assert_eq!(bytes(&moments), before);
    }

    #[test]
    fn integers_and_decimals_are_exact() {
        let mut moments = Moments::new(true, true);
        for _ in 0..3 {
            moments.add_int(i64::MAX);
        }
        assert_eq!(moments.integer_sum(), Some(Some(3 * i128::from(i64::MAX))));
        assert_eq!(moments.variance(1.0), Some(0.0));
        let mut moments = Moments::new(true, true);
        let large = 10i128.pow(38) - 1;
        for _ in 0..4 {
            moments.add_decimal(large);
        }
        assert_eq!(moments.integer_sum(), Some(None));
        assert_eq!(moments.variance(100.0), Some(0.0));
        moments.remove_decimal(large);
        moments.remove_decimal(large);
        moments.remove_decimal(large);
        assert_eq!(moments.integer_sum(), Some(Some(large)));
    }

    #[test]
    fn stored_states_merge_like_live_ones() {
        let whole = of(&[1.5, -2.0, 1e300, f64::INFINITY, 0.1]);
        let mut read = Moments::new(true, true);
        read.merge_encoded(&mut Reader::new(&bytes(&of(&[1e300, 0.1])))).unwrap();
        read.merge_encoded(&mut Reader::new(&bytes(&of(&[f64::INFINITY, -2.0, 1.5])))).unwrap();
        assert_eq!(bytes(&read), bytes(&whole));
    }
}
