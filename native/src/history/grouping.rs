//! Rows by key: a stable counting sort on dense codes, and keys shared out to threads.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{KernelError, Result};

/// Row numbers grouped by key, ascending within a key; rows without a key are left out.
#[derive(Debug)]
pub struct Groups {
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl Groups {
    /// # Errors
    /// `Invalid` for a code outside -1..n_keys, or more than 2^32 - 2 rows.
    pub fn new(name: &str, codes: &[i32], n_keys: usize) -> Result<Self> {
        if codes.len() >= u32::MAX as usize {
            return Err(KernelError::Invalid(format!(
                "{name} has {} rows; one call takes fewer than 2^32. Use more partitions.",
                codes.len()
            )));
        }
        let mut starts = vec![0u32; n_keys + 1];
        for (row, &code) in codes.iter().enumerate() {
            if code >= 0 {
                let slot = starts.get_mut(code as usize + 1).ok_or_else(|| out_of_range(name, row, code, n_keys))?;
                *slot += 1;
            } else if code != -1 {
                return Err(out_of_range(name, row, code, n_keys));
            }
        }
        for key in 0..n_keys {
            starts[key + 1] += starts[key];
        }
        let mut next = starts.clone();
        let mut rows = vec![0; starts[n_keys] as usize];
        for (row, &code) in codes.iter().enumerate() {
            if code >= 0 {
                let at = &mut next[code as usize];
                rows[*at as usize] = row as u32;
                *at += 1;
            }
        }
        Ok(Self { starts, rows })
    }

    pub fn n_keys(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn rows_of(&self, key: usize) -> &[u32] {
        &self.rows[self.starts[key] as usize..self.starts[key + 1] as usize]
    }

    /// All rows that have a key, by key.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }
}

fn out_of_range(name: &str, row: usize, code: i32, n_keys: usize) -> KernelError {
    KernelError::Invalid(format!(
        "{name}[{row}] is {code}; codes run from 0 to n_keys - 1 = {}, and -1 stands for no key.",
        n_keys as i64 - 1
    ))
}

/// # Errors
/// `Invalid`, naming the column, if the lengths differ.
pub fn same_length(name: &str, length: usize, expected: usize) -> Result<()> {
    if length == expected {
        return Ok(());
    }
    Err(KernelError::Invalid(format!("{name} has {length} rows where {expected} are expected. Pass one row per code.")))
}

/// Ranges of keys with about the same number of rows, several per thread so that none waits long for another.
pub fn ranges(events: &Groups, queries: &Groups, threads: usize) -> Vec<Range<usize>> {
    let n_keys = events.n_keys();
    let rows = events.rows.len() + queries.rows.len();
    let share = if threads > 1 { rows / (threads * 8) + 1 } else { usize::MAX };
    let (mut ranges, mut start, mut weight) = (Vec::new(), 0, 0);
    for key in 0..n_keys {
        weight += events.rows_of(key).len() + queries.rows_of(key).len();
        if weight >= share {
            ranges.push(start..key + 1);
            (start, weight) = (key + 1, 0);
        }
    }
    if start < n_keys {
        ranges.push(start..n_keys);
    }
    ranges
}

/// Runs `work` on every range, on up to `threads` threads; results in the order of the ranges.
///
/// # Errors
/// The first error in the order of the ranges.
pub fn in_parallel<T: Send>(
    ranges: &[Range<usize>],
    threads: usize,
    work: impl Fn(Range<usize>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    if threads <= 1 || ranges.len() <= 1 {
        return ranges.iter().cloned().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            match ranges.get(i) {
                Some(range) => done.push((i, work(range.clone()))),
                None => return done,
            }
        }
    };
    let mut results: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads.min(ranges.len())).map(|_| scope.spawn(run)).collect();
        handles.into_iter().flat_map(|h| h.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    results.sort_unstable_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_order_within_a_key_and_rows_without_one_are_left_out() {
        let groups = Groups::new("codes", &[2, 0, -1, 2, 0, 2], 4).unwrap();
        let by_key: Vec<_> = (0..4).map(|key| groups.rows_of(key).to_vec()).collect();
        assert_eq!(by_key, [vec![1, 4], vec![], vec![0, 3, 5], vec![]]);
        assert!(Groups::new("codes", &[4], 4).unwrap_err().to_string().contains("codes[0] is 4"));
        assert!(Groups::new("codes", &[-2], 4).is_err());
    }

    #[test]
    fn ranges_cover_every_key_once() {
        let codes: Vec<i32> = (0..1000).map(|i| (i * i) % 97).collect();
        let groups = Groups::new("codes", &codes, 100).unwrap();
        for threads in [1, 2, 5] {
            let covered: Vec<_> = ranges(&groups, &groups, threads).into_iter().flatten().collect();
            assert_eq!(covered, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn parallel_results_keep_the_order_of_their_ranges() {
        let ranges: Vec<_> = (0..50).map(|i| i..i + 1).collect();
        assert_eq!(in_parallel(&ranges, 3, |r| Ok(r.start)), Ok((0..50).collect()));
        let failed =
            in_parallel(
                &ranges,
                3,
                |r| {
                    if r.start < 7 { Ok(()) } else { Err(KernelError::Invalid(r.start.to_string())) }
                },
            );
        assert_eq!(failed, Err(KernelError::Invalid("7".into())));
    }
}
