//! The smallest or largest value in a range of positions: linear in short blocks, a tree above them.

use super::bits::Bits;
use super::columns::LaneValue;

const BLOCK: usize = 16;
const NONE: u32 = u32::MAX;

/// Positions of the best value per block, and above the blocks per pair of nodes. Reused from key to key.
#[derive(Debug, Default)]
pub struct Extremes {
    /// `nodes[blocks..]` are the blocks, `nodes[i]` the better of `nodes[2 * i]` and `nodes[2 * i + 1]`.
    nodes: Vec<u32>,
    blocks: usize,
}

impl Extremes {
    pub fn build<T: LaneValue, const MAX: bool>(&mut self, values: &[T], present: &Bits) {
        self.blocks = values.len().div_ceil(BLOCK);
        self.nodes.clear();
        self.nodes.resize(2 * self.blocks, NONE);
        for block in 0..self.blocks {
            self.nodes[self.blocks + block] = best_of_block::<T, MAX>(values, present, block);
        }
        for i in (1..self.blocks).rev() {
            self.nodes[i] = better::<T, MAX>(values, self.nodes[2 * i], self.nodes[2 * i + 1]);
        }
    }

    /// Takes note that `position` has come or gone.
    pub fn update<T: LaneValue, const MAX: bool>(&mut self, values: &[T], present: &Bits, position: usize) {
        let mut i = self.blocks + position / BLOCK;
        self.nodes[i] = best_of_block::<T, MAX>(values, present, position / BLOCK);
        while i > 1 {
            i /= 2;
            self.nodes[i] = better::<T, MAX>(values, self.nodes[2 * i], self.nodes[2 * i + 1]);
        }
    }

    /// The position of the best value in `low..high`; of equal values any.
    #[inline]
    pub fn best<T: LaneValue, const MAX: bool>(
        &self,
        values: &[T],
        present: &Bits,
        low: usize,
        high: usize,
    ) -> Option<usize> {
        let (first, last) = (low.div_ceil(BLOCK), high / BLOCK);
        let mut best = NONE;
        if first >= last {
            best = best_of_range::<T, MAX>(values, present, best, low, high);
        } else {
            best = best_of_range::<T, MAX>(values, present, best, low, first * BLOCK);
            best = best_of_range::<T, MAX>(values, present, best, last * BLOCK, high);
            let (mut l, mut r) = (first + self.blocks, last + self.blocks);
            while l < r {
                if l & 1 == 1 {
                    best = better::<T, MAX>(values, best, self.nodes[l]);
                    l += 1;
                }
                if r & 1 == 1 {
                    r -= 1;
                    best = better::<T, MAX>(values, best, self.nodes[r]);
                }
                (l, r) = (l / 2, r / 2);
            }
        }
        (best != NONE).then_some(best as usize)
    }
}

#[inline]
fn better<T: LaneValue, const MAX: bool>(values: &[T], a: u32, b: u32) -> u32 {
    if a == NONE {
        return b;
    }
    if b == NONE {
        return a;
    }
    let (left, right) = (values[a as usize].key(), values[b as usize].key());
    if if MAX { right > left } else { right < left } { b } else { a }
}

fn best_of_block<T: LaneValue, const MAX: bool>(values: &[T], present: &Bits, block: usize) -> u32 {
    let end = ((block + 1) * BLOCK).min(values.len());
    best_of_range::<T, MAX>(values, present, NONE, block * BLOCK, end)
}

#[inline]
fn best_of_range<T: LaneValue, const MAX: bool>(
    values: &[T],
    present: &Bits,
    best: u32,
    low: usize,
    high: usize,
) -> u32 {
    (low..high).filter(|&i| present.get(i)).fold(best, |best, i| better::<T, MAX>(values, best, i as u32))
}
