//! Percentiles from a log-linear histogram: 64 buckets per power of two, so a value is at most 1/128 (0.79%) off.
//!
//! A bucket is the top 18 bits of a float: sign, exponent and six bits of mantissa. The answer to a percentile is
//! the midpoint of the bucket that holds the wanted order statistic; zero and infinities are exact, and magnitudes
//! below 2^-1022 count as zero. Counts are exact, so buckets merge and values leave again.

use std::collections::BTreeMap;

use super::value::ValueRef;
use crate::error::Result;
use crate::wire::{Reader, damaged, put_signed, put_varint};

const DROPPED_BITS: u32 = 46;
/// The bucket of the smallest normal float; below it everything is zero.
const FIRST_NORMAL: i32 = 64;
/// The bucket of infinity.
const INFINITE: i32 = 0x7ff << 6;

/// The bucket of a number; buckets order as their numbers do.
#[inline]
pub fn bucket_of(x: f64) -> i32 {
    let magnitude = (x.abs().to_bits() >> DROPPED_BITS) as i32;
    match magnitude {
        ..FIRST_NORMAL => 0,
        _ if x < 0.0 => -magnitude,
        _ => magnitude,
    }
}

/// The number that stands for a bucket.
#[inline]
pub fn midpoint(bucket: i32) -> f64 {
    let magnitude = match bucket.abs() {
        0 => 0.0,
        INFINITE => f64::INFINITY,
        normal => f64::from_bits((normal as u64) << DROPPED_BITS | 1 << (DROPPED_BITS - 1)),
    };
    if bucket < 0 { -magnitude } else { magnitude }
}

/// The zero-based order statistic that quantile `q` of `n` values asks for: `floor(q * (n - 1))`.
#[inline]
pub fn rank(q: f64, n: u64) -> u64 {
    (q * (n - 1) as f64) as u64
}

/// The number a value counts as: decimals by size, `unit` being the unscaled value of one.
#[inline]
pub fn number_of(value: ValueRef<'_>, unit: f64) -> f64 {
    match value {
        ValueRef::Int(x) => x as f64,
        ValueRef::Float(x) => x,
        ValueRef::Decimal(x) => x as f64 / unit,
        ValueRef::Bytes(_) => 0.0,
    }
}

/// Occurrences by bucket.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: BTreeMap<i32, u64>,
}

impl Histogram {
    pub fn clear(&mut self) {
        self.counts.clear();
    }

    pub fn add(&mut self, x: f64) {
        self.add_many(bucket_of(x), 1);
    }

    fn add_many(&mut self, bucket: i32, n: u64) {
        let count = self.counts.entry(bucket).or_insert(0);
        *count = count.saturating_add(n);
    }

    pub fn merge(&mut self, other: &Self) {
        for (&bucket, &n) in &other.counts {
            self.add_many(bucket, n);
        }
    }

    /// Null for no values.
    pub fn percentile(&self, q: f64) -> Option<f64> {
        let n = self.counts.values().sum::<u64>();
        let wanted = if n == 0 { return None } else { rank(q, n) };
        let mut seen = 0;
        let found = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen > wanted
        });
        found.map(|(&bucket, _)| midpoint(bucket))
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.counts.len() as u128);
        let mut previous = 0;
        for (&bucket, &n) in &self.counts {
            put_signed(out, i128::from(bucket - previous));
            put_varint(out, n.into());
            previous = bucket;
        }
    }

    /// Adds a stored state of the same kind.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are damaged.
    pub fn merge_encoded(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let mut bucket = 0i64;
        for _ in 0..reader.length()? {
            bucket = bucket.saturating_add(reader.signed()?);
            if bucket.abs() > i64::from(INFINITE) {
                return Err(damaged("a bucket is out of range"));
            }
            self.add_many(bucket as i32, reader.varint()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Histogram {
        let mut histogram = Histogram::default();
        for &x in values {
            histogram.add(x);
        }
        histogram
    }

    #[test]
    fn a_midpoint_is_within_its_bound_and_in_its_own_bucket() {
        let mut x = f64::MIN_POSITIVE;
        while x < f64::MAX / 2.0 {
            for y in [x, x * 1.999, -x] {
                assert!((midpoint(bucket_of(y)) - y).abs() <= y.abs() / 128.0, "{y}");
                assert_eq!(bucket_of(midpoint(bucket_of(y))), bucket_of(y));
            }
            x *= 1.37;
        }
        assert!((midpoint(bucket_of(f64::MAX)) / f64::MAX - 1.0).abs() <= 1.0 / 128.0);
    }

    #[test]
    fn zero_and_infinities_are_exact_and_buckets_are_ordered() {
        for x in [0.0, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(midpoint(bucket_of(x)), x);
        }
        assert_eq!((bucket_of(-0.0), bucket_of(-f64::from_bits(9))), (0, 0));
        let ordered = [f64::NEG_INFINITY, -2.0, -1.0, -1e-300, 0.0, 1e-300, 1.0, 2.0, f64::INFINITY];
        assert!(ordered.windows(2).all(|pair| bucket_of(pair[0]) < bucket_of(pair[1])));
    }

    #[test]
    fn percentiles_are_order_statistics() {
        let histogram = of(&[-1.0, 0.0, 0.0, f64::INFINITY]);
        let at = |q| histogram.percentile(q).unwrap();
        assert_eq!((bucket_of(at(0.0)), at(0.34), at(0.5), at(1.0)), (bucket_of(-1.0), 0.0, 0.0, f64::INFINITY));
        assert_eq!(of(&[]).percentile(0.5), None);
    }

    #[test]
    fn merging_in_any_order_gives_the_same_bytes() {
        let values = [1.0, -2.5, 1e300, 0.0, 1.001, 1.5, f64::NEG_INFINITY];
        let bytes = |histogram: &Histogram| {
            let mut out = Vec::new();
            histogram.encode(&mut out);
            out
        };
        for cut in 0..=values.len() {
            let mut merged = of(&values[cut..]);
            merged.merge_encoded(&mut Reader::new(&bytes(&of(&values[..cut])))).unwrap();
            assert_eq!(bytes(&merged), bytes(&of(&values)));
        }
    }
}
