//! A set of positions with fast next and previous: words of 64 under summary words, so gaps of any size cost little.

#[derive(Clone, Debug, Default)]
pub struct Bits {
    /// `levels[0]` has a bit per position, each further level a bit per non-zero word of the one below.
    levels: Vec<Vec<u64>>,
    depth: usize,
}

impl Bits {
    /// Replaces the content by the positions below `n` that `member` accepts; says whether it accepted all.
    pub fn fill(&mut self, n: usize, member: impl Fn(usize) -> bool) -> bool {
        let mut all = true;
        self.reset(n, |start, width| {
            let mut word = 0;
            for i in 0..width {
                word |= u64::from(member(start + i)) << i;
            }
            all &= word == low_bits(width);
            word
        });
        all
    }

    /// Replaces the content by the positions that are in both.
    pub fn intersect(&mut self, n: usize, a: &Bits, b: &Bits) {
        self.reset(n, |start, _| a.levels[0][start / 64] & b.levels[0][start / 64]);
    }

    pub fn copy_from(&mut self, other: &Bits) {
        self.depth = other.depth;
        self.levels.resize_with(self.levels.len().max(other.depth), Vec::new);
        for (mine, theirs) in self.levels.iter_mut().zip(&other.levels[..other.depth]) {
            mine.clone_from(theirs);
        }
    }

    fn reset(&mut self, n: usize, mut word: impl FnMut(usize, usize) -> u64) {
        self.depth = 1;
        if self.levels.is_empty() {
            self.levels.push(Vec::new());
        }
        self.levels[0].clear();
        self.levels[0].extend((0..n.max(1)).step_by(64).map(|start| word(start, n.saturating_sub(start).min(64))));
        while self.levels[self.depth - 1].len() > 1 {
            if self.levels.len() == self.depth {
                self.levels.push(Vec::new());
            }
            let (below, above) = self.levels.split_at_mut(self.depth);
            above[0].clear();
            above[0].extend(below[self.depth - 1].chunks(64).map(summary));
            self.depth += 1;
        }
    }

    #[inline]
    pub fn get(&self, i: usize) -> bool {
        self.levels[0][i / 64] >> (i % 64) & 1 == 1
    }

    pub fn insert(&mut self, mut i: usize) {
        for level in &mut self.levels[..self.depth] {
            let word = &mut level[i / 64];
            let was_empty = *word == 0;
            *word |= 1 << (i % 64);
            if !was_empty {
                return;
            }
            i /= 64;
        }
    }

    pub fn remove(&mut self, mut i: usize) {
        for level in &mut self.levels[..self.depth] {
            let word = &mut level[i / 64];
            *word &= !(1 << (i % 64));
            if *word != 0 {
                return;
            }
            i /= 64;
        }
    }

    /// The lowest member that is at least `from`.
    #[inline]
    pub fn next(&self, from: usize) -> Option<usize> {
        let mut i = from;
        for (depth, level) in self.levels[..self.depth].iter().enumerate() {
            let word = level.get(i / 64)? & (!0 << (i % 64));
            if word != 0 {
                let found = i / 64 * 64 + word.trailing_zeros() as usize;
                return Some(self.descend(depth, found, |word| word.trailing_zeros()));
            }
            i = i / 64 + 1;
        }
        None
    }

    /// The highest member below `end`.
    #[inline]
    pub fn previous(&self, end: usize) -> Option<usize> {
        let mut i = end;
        for (depth, level) in self.levels[..self.depth].iter().enumerate() {
            let (at, mask) = if i / 64 < level.len() { (i / 64, low_bits(i % 64)) } else { (level.len() - 1, !0) };
            let word = level[at] & mask;
            if word != 0 {
                let found = at * 64 + 63 - word.leading_zeros() as usize;
                return Some(self.descend(depth, found, |word| 63 - word.leading_zeros()));
            }
            i /= 64;
        }
        None
    }

    fn descend(&self, depth: usize, found: usize, pick: impl Fn(u64) -> u32) -> usize {
        self.levels[..depth].iter().rev().fold(found, |i, level| i * 64 + pick(level[i]) as usize)
    }
}

/// The lowest `n` bits, for n up to 64.
#[inline]
fn low_bits(n: usize) -> u64 {
    if n >= 64 { !0 } else { (1 << n) - 1 }
}

fn summary(words: &[u64]) -> u64 {
    words.iter().enumerate().fold(0, |bits, (i, &word)| bits | u64::from(word != 0) << i)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn agree(bits: &Bits, set: &BTreeSet<usize>, n: usize) {
        for i in (0..=n).step_by(if n > 1000 { 61 } else { 1 }) {
            assert_eq!(bits.next(i), set.range(i..).next().copied(), "next {i} of {n}");
            assert_eq!(bits.previous(i), set.range(..i).next_back().copied(), "previous {i} of {n}");
        }
    }

    #[test]
    fn next_and_previous_match_an_ordered_set() {
        let mut bits = Bits::default();
        for n in [0, 1, 63, 64, 65, 4096, 4097, 300_000] {
            for modulus in [1, 7, 4099] {
                let all = bits.fill(n, |i| i % modulus == 0);
                assert_eq!(all, modulus == 1 || n <= 1);
                let mut set: BTreeSet<_> = (0..n).filter(|i| i % modulus == 0).collect();
                agree(&bits, &set, n);
                for i in (0..n).step_by(13) {
                    if i % 2 == 0 {
                        bits.remove(i);
                        set.remove(&i);
                    } else {
                        bits.insert(i);
                        set.insert(i);
                    }
                }
                agree(&bits, &set, n);
            }
        }
    }

    #[test]
    fn intersections_and_copies_carry_their_summaries() {
        let (mut a, mut b, mut both, mut copy) = (Bits::default(), Bits::default(), Bits::default(), Bits::default());
        copy.fill(300_000, |_| true);
        a.fill(10_000, |i| i % 2 == 0);
        b.fill(10_000, |i| i % 1000 == 0);
        both.intersect(10_000, &a, &b);
        copy.copy_from(&both);
        let set: BTreeSet<_> = (0..10_000).step_by(1000).collect();
        agree(&copy, &set, 10_000);
    }
}
