//! One key's events in order of time, its distinct query instants, and what is visible between the two.

use arrow_array::{Array, Int64Array};

use super::HistoryInput;
use super::bits::Bits;
use crate::plan::Window;
use crate::status::{MISSING, PRESENT};

/// An event that becomes visible, or stops being so, between two queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Toggle {
    query: u32,
    position: u32,
    on: bool,
}

/// Events in positions 0..n by (event time, row); what no query can see is cut off at both ends.
#[derive(Debug, Default)]
pub struct Timeline {
    /// Input row of each position.
    pub rows: Vec<u32>,
    times: Vec<i64>,
    /// Distinct query instants, ascending.
    pub queries: Vec<i64>,
    /// For each query row as given, its index in `queries`.
    pub places: Vec<u32>,
    /// Per query: the end of the positions in its past.
    heads: Vec<u32>,
    /// Per window and query: the first position inside.
    tails: Vec<Vec<u32>>,
    toggles: Vec<Toggle>,
    /// Visible from the start, where not every event is.
    initial: Option<Bits>,
    scratch: Vec<(i64, u32)>,
    bits: Bits,
}

impl Timeline {
    /// Loads one key and appends the status and newest visible event time of each distinct query.
    pub fn load(
        &mut self,
        input: &HistoryInput<'_>,
        windows: &[Window],
        event_rows: &[u32],
        query_rows: &[u32],
        status: &mut Vec<u8>,
        event_time: &mut Vec<Option<i64>>,
    ) {
        self.load_queries(input.query_time, query_rows);
        self.load_events(input.event_time, event_rows);
        self.heads.clear();
        let mut head = 0;
        for &t in &self.queries {
            head = advance(&self.times, head, |time| time < t);
            self.heads.push(head as u32);
        }
        self.load_visibility(input);
        self.report(status, event_time);
        self.cut(windows);
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bounds of a window per query: positions `tail..head`, empty where the tail is past the head.
    #[inline]
    pub fn bounds(&self, window: usize, query: usize) -> (usize, usize) {
        let (tail, head) = (self.tails[window][query] as usize, self.heads[query] as usize);
        (tail, head.max(tail))
    }

    /// The positions visible before any toggle; `None` is all of them, and then there are no toggles.
    pub fn initial(&self) -> Option<&Bits> {
        self.initial.as_ref()
    }

    /// Calls `change(position, on)` for each toggle from `*at` that is due by `query`.
    #[inline]
    pub fn toggle(&self, at: &mut usize, query: usize, mut change: impl FnMut(usize, bool)) {
        while let Some(toggle) = self.toggles.get(*at)
            && toggle.query as usize <= query
        {
            change(toggle.position as usize, toggle.on);
            *at += 1;
        }
    }

    fn load_queries(&mut self, query_time: &[i64], rows: &[u32]) {
        self.scratch.clear();
        self.scratch.extend(rows.iter().enumerate().map(|(i, &row)| (query_time[row as usize], i as u32)));
        if !self.scratch.is_sorted() {
            self.scratch.sort_unstable();
        }
        self.queries.clear();
        self.places.clear();
        self.places.resize(rows.len(), 0);
        for &(t, i) in &self.scratch {
            if self.queries.last() != Some(&t) {
                self.queries.push(t);
            }
            self.places[i as usize] = self.queries.len() as u32 - 1;
        }
    }

    fn load_events(&mut self, event_time: &[i64], rows: &[u32]) {
        self.rows.clear();
        self.rows.extend_from_slice(rows);
        self.times.clear();
        self.times.extend(rows.iter().map(|&row| event_time[row as usize]));
        if !self.times.is_sorted() {
            self.scratch.clear();
            self.scratch.extend(self.times.iter().copied().zip(rows.iter().copied()));
            self.scratch.sort_unstable();
            self.times.clear();
            self.rows.clear();
            self.times.extend(self.scratch.iter().map(|e| e.0));
            self.rows.extend(self.scratch.iter().map(|e| e.1));
        }
    }

    /// Where knowledge arrives in order of time and nothing is taken back, visible events are a prefix; elsewhere
    /// each event that is not simply visible once past gets its toggles.
    fn load_visibility(&mut self, input: &HistoryInput<'_>) {
        self.toggles.clear();
        self.initial = None;
        let retracted = input.retracted_at.filter(|r| self.rows.iter().any(|&row| r.is_valid(row as usize)));
        let Some(available) = input.available_at else {
            if let Some(retracted) = retracted {
                self.load_toggles(None, Some(retracted));
            }
            return;
        };
        let known = |row: &u32| available[*row as usize];
        if retracted.is_some() || !self.rows.is_sorted_by_key(known) {
            self.load_toggles(Some(available), retracted);
            return;
        }
        let mut end = 0;
        for (head, &t) in self.heads.iter_mut().zip(&self.queries) {
            end = advance(&self.rows, end, |row| available[row as usize] <= t);
            *head = (end as u32).min(*head);
        }
    }

    fn load_toggles(&mut self, available: Option<&[i64]>, retracted: Option<&Int64Array>) {
        let mut bits = std::mem::take(&mut self.bits);
        bits.fill(self.rows.len(), |_| true);
        let mut past = 0;
        for (position, (&row, &time)) in self.rows.iter().zip(&self.times).enumerate() {
            past = advance(&self.queries, past, |t| t <= time);
            let from = match available {
                Some(a) => advance(&self.queries, past, |t| t < a[row as usize]),
                None => past,
            };
            let until = match retracted {
                Some(r) if r.is_valid(row as usize) => self.queries.partition_point(|&t| t < r.value(row as usize)),
                _ => self.queries.len(),
            };
            let toggle = |query: usize, on| Toggle { query: query as u32, position: position as u32, on };
            if until <= from {
                bits.remove(position);
                continue;
            }
            if from > past {
                bits.remove(position);
                self.toggles.push(toggle(from, true));
            }
            if until < self.queries.len() {
                self.toggles.push(toggle(until, false));
            }
        }
        self.toggles.sort_unstable();
        self.initial = Some(bits);
    }

    fn report(&mut self, status: &mut Vec<u8>, event_time: &mut Vec<Option<i64>>) {
        let mut visible = self.initial.clone();
        let mut at = 0;
        for query in 0..self.queries.len() {
            let head = self.heads[query] as usize;
            let newest = match &mut visible {
                None => head.checked_sub(1),
                Some(bits) => {
                    self.toggle(&mut at, query, |position, on| switch(bits, position, on));
                    bits.previous(head)
                }
            };
            status.push(if newest.is_some() { PRESENT } else { MISSING });
            event_time.push(newest.map(|position| self.times[position]));
        }
    }

    /// Finds the tails, and drops positions before every window and after every head.
    fn cut(&mut self, windows: &[Window]) {
        let first_query = self.queries[0];
        let earliest = windows.iter().map(|w| w.tail(first_query)).min().unwrap_or(i64::MAX);
        let end = self.heads[self.heads.len() - 1] as usize;
        let start = self.times.partition_point(|&time| time < earliest).min(end);
        self.rows.truncate(end);
        self.times.truncate(end);
        if start > 0 {
            self.rows.drain(..start);
            self.times.drain(..start);
            self.heads.iter_mut().for_each(|head| *head = head.saturating_sub(start as u32));
        }
        self.tails.resize_with(windows.len(), Vec::new);
        for (window, tails) in windows.iter().zip(&mut self.tails) {
            tails.clear();
            let mut tail = 0;
            for &t in &self.queries {
                let from = window.tail(t);
                tail = advance(&self.times, tail, |time| time < from);
                tails.push(tail as u32);
            }
        }
        if let Some(initial) = self.initial.take() {
            self.bits.fill(self.rows.len(), |i| initial.get(start + i));
            self.initial = Some(std::mem::replace(&mut self.bits, initial));
            self.toggles.retain_mut(|toggle| {
                let kept = (start..end).contains(&(toggle.position as usize));
                toggle.position = toggle.position.wrapping_sub(start as u32);
                kept
            });
        }
    }
}

/// Adds or removes a position.
#[inline]
pub fn switch(bits: &mut Bits, position: usize, on: bool) {
    if on { bits.insert(position) } else { bits.remove(position) }
}

/// The first index from `from` on where `before` fails, for items that fail from some point on. Gallops.
#[inline]
fn advance<T: Copy>(items: &[T], from: usize, before: impl Fn(T) -> bool) -> usize {
    let rest = &items[from..];
    let mut step = 1;
    let mut low = 0;
    while low + step <= rest.len() && before(rest[low + step - 1]) {
        low += step;
        step *= 2;
    }
    let high = (low + step).min(rest.len());
    from + low + rest[low..high].partition_point(|&item| before(item))
}

#[cfg(test)]
mod tests {
    use super::advance;

    #[test]
    fn galloping_finds_what_a_linear_search_finds() {
        let items: Vec<i64> = (0..100).map(|i| i / 3).collect();
        for from in [0, 1, 50, 99, 100] {
            for limit in -1..40 {
                let linear = (from..items.len()).find(|&i| items[i] >= limit).unwrap_or(items.len());
                assert_eq!(advance(&items, from, |x| x < limit), linear);
            }
        }
    }
}
