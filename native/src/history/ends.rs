//! The first or last n present positions of a window.

use super::bits::Bits;

/// Up to `n` positions of `low..high`, ascending: the lowest, or with `last` the highest.
pub fn ends(present: &Bits, low: usize, high: usize, n: usize, last: bool, found: &mut Vec<usize>) {
    found.clear();
    if last {
        let mut end = high;
        while found.len() < n
            && let Some(position) = present.previous(end).filter(|&p| p >= low)
        {
            found.push(position);
            end = position;
        }
        found.reverse();
    } else {
        let mut from = low;
        while found.len() < n
            && let Some(position) = present.next(from).filter(|&p| p < high)
        {
            found.push(position);
            from = position + 1;
        }
    }
}
