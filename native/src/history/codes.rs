//! Values of one key as small dense numbers, and the window states that count by them.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::bits::Bits;
use super::slide::Slide;
use crate::aggregates::histogram::{midpoint, rank};
use crate::aggregates::hll::{MAX_RANK, REGISTERS, estimate};

/// For each position the index of its key in `table`, which is ascending; positions without a value have no use for it.
#[derive(Debug)]
pub struct Codes<K> {
    of: Vec<u32>,
    pub table: Vec<K>,
}

impl<K: Ord + Copy> Codes<K> {
    pub fn new(n: usize, valid: &Bits, key: impl Fn(usize) -> K) -> Self {
        let mut keyed: Vec<(K, u32)> = (0..n).filter(|&i| valid.get(i)).map(|i| (key(i), i as u32)).collect();
        keyed.sort_unstable();
        let (mut of, mut table) = (vec![0; n], Vec::new());
        for (key, position) in keyed {
            if table.last() != Some(&key) {
                table.push(key);
            }
            of[position as usize] = table.len() as u32 - 1;
        }
        Self { of, table }
    }

    pub fn of(&self, position: usize) -> usize {
        self.of[position] as usize
    }
}

/// Occurrences by code: exact distinct counts and most frequent values.
pub struct CountsSlide<'c, K> {
    codes: &'c Codes<K>,
    counts: Vec<u32>,
    distinct: usize,
    /// Kept where ranking anew at each query would cost more.
    ranking: Option<BTreeSet<Ranked>>,
}

/// Orders by falling frequency, then rising value.
type Ranked = (Reverse<u32>, u32);

/// Keeping a ranking costs about as much per event that comes and goes as looking at this many counts.
const COUNTS_PER_CHANGE: usize = 256;

impl<'c, K> CountsSlide<'c, K> {
    /// `rankings` is how many times `top` will be asked.
    pub fn new(codes: &'c Codes<K>, rankings: usize) -> Self {
        let counts = vec![0; codes.table.len()];
        let keep = rankings * counts.len() > codes.of.len() * COUNTS_PER_CHANGE;
        Self { codes, counts, distinct: 0, ranking: keep.then(BTreeSet::new) }
    }

    pub fn distinct(&self) -> usize {
        self.distinct
    }

    /// Up to `k` codes by falling frequency, then rising value.
    pub fn top(&self, k: usize, found: &mut Vec<usize>) {
        found.clear();
        if let Some(ranking) = &self.ranking {
            found.extend(ranking.iter().take(k).map(|&(_, code)| code as usize));
            return;
        }
        for (code, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            if found.len() < k || count > self.counts[found[k - 1]] {
                found.truncate(k - 1);
                found.insert(found.partition_point(|&other| self.counts[other] >= count), code);
            }
        }
    }

    #[inline]
    fn change(&mut self, position: usize, to: impl Fn(u32) -> u32) {
        let code = self.codes.of[position];
        let count = &mut self.counts[code as usize];
        let old = *count;
        *count = to(old);
        match (old, *count) {
            (0, _) => self.distinct += 1,
            (_, 0) => self.distinct -= 1,
            _ => {}
        }
        if let Some(ranking) = &mut self.ranking {
            if old > 0 {
                ranking.remove(&(Reverse(old), code));
            }
            if *count > 0 {
                ranking.insert((Reverse(*count), code));
            }
        }
    }
}

impl<K> Slide for CountsSlide<'_, K> {
    fn add(&mut self, position: usize) {
        self.change(position, |count| count + 1);
    }

    fn remove(&mut self, position: usize) {
        self.change(position, |count| count - 1);
    }
}

/// Occurrences by bucket in a Fenwick tree, which finds an order statistic in logarithmic time.
pub struct BucketsSlide<'c> {
    codes: &'c Codes<i32>,
    /// `tree[i]` counts the codes of a block that ends at code `i - 1`, as long as the lowest set bit of `i`.
    tree: Vec<u32>,
    total: u64,
}

impl<'c> BucketsSlide<'c> {
    pub fn new(codes: &'c Codes<i32>) -> Self {
        Self { codes, tree: vec![0; codes.table.len() + 1], total: 0 }
    }

    fn change(&mut self, position: usize, to: impl Fn(u32) -> u32) {
        let mut i = self.codes.of[position] as usize + 1;
        while i < self.tree.len() {
            self.tree[i] = to(self.tree[i]);
            i += i & i.wrapping_neg();
        }
    }

    pub fn percentile(&self, q: f64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        let mut wanted = rank(q, self.total);
        let mut below = 0;
        let mut step = self.tree.len().next_power_of_two() / 2;
        while step > 0 {
            if let Some(&count) = self.tree.get(below + step)
                && u64::from(count) <= wanted
            {
                below += step;
                wanted -= u64::from(count);
            }
            step /= 2;
        }
        Some(midpoint(self.codes.table[below]))
    }
}

impl Slide for BucketsSlide<'_> {
    fn add(&mut self, position: usize) {
        self.total += 1;
        self.change(position, |count| count + 1);
    }

    fn remove(&mut self, position: usize) {
        self.total -= 1;
        self.change(position, |count| count - 1);
    }
}

/// HyperLogLog with an exact count behind every (register, rank), so that values leave again.
pub struct HllSlide<'c> {
    codes: &'c Codes<(u16, u8)>,
    counts: Vec<u32>,
    ranks: &'c mut HllRanks,
    by_rank: [u32; MAX_RANK as usize + 1],
}

/// Which ranks each register holds, one bit per rank. All zero between uses.
#[derive(Debug)]
pub struct HllRanks(Box<[u64; REGISTERS]>);

impl Default for HllRanks {
    fn default() -> Self {
        Self(Box::new([0; REGISTERS]))
    }
}

impl<'c> HllSlide<'c> {
    pub fn new(codes: &'c Codes<(u16, u8)>, ranks: &'c mut HllRanks) -> Self {
        let mut by_rank = [0; MAX_RANK as usize + 1];
        by_rank[0] = REGISTERS as u32;
        Self { codes, counts: vec![0; codes.table.len()], ranks, by_rank }
    }

    pub fn count(&self) -> i64 {
        estimate(&self.by_rank)
    }

    fn switch(&mut self, code: usize) {
        let (register, rank) = self.codes.table[code];
        let held = &mut self.ranks.0[usize::from(register)];
        let before = 64 - held.leading_zeros() as usize;
        *held ^= 1 << (rank - 1);
        let after = 64 - held.leading_zeros() as usize;
        self.by_rank[before] -= 1;
        self.by_rank[after] += 1;
    }
}

impl Drop for HllSlide<'_> {
    fn drop(&mut self) {
        for &(register, _) in &self.codes.table {
            self.ranks.0[usize::from(register)] = 0;
        }
    }
}

impl Slide for HllSlide<'_> {
    fn add(&mut self, position: usize) {
        let code = self.codes.of[position] as usize;
        self.counts[code] += 1;
        if self.counts[code] == 1 {
            self.switch(code);
        }
    }

    fn remove(&mut self, position: usize) {
        let code = self.codes.of[position] as usize;
        self.counts[code] -= 1;
        if self.counts[code] == 0 {
            self.switch(code);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_ranking_and_one_made_anew_agree() {
        let values: Vec<i64> = (0..400).map(|i| (i * i * 7 + i / 3) % 13).collect();
        let mut valid = Bits::default();
        valid.fill(values.len(), |_| true);
        let codes = Codes::new(values.len(), &valid, |i| values[i]);
        let (mut kept, mut anew) = (CountsSlide::new(&codes, 1 << 20), CountsSlide::new(&codes, 0));
        assert!(kept.ranking.is_some() && anew.ranking.is_none());
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for i in 0..values.len() {
            for state in [&mut kept, &mut anew] {
                state.add(i);
                if i >= 30 {
                    state.remove(i - 30);
                }
            }
            for k in [1, 3, 13, 50] {
                kept.top(k, &mut a);
                anew.top(k, &mut b);
                assert_eq!(a, b);
                assert_eq!(a.len(), k.min(kept.distinct()));
            }
        }
    }
}
