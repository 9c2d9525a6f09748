//! State views: for each (key, instant) the newest row that was known.

use std::sync::Arc;

use arrow_array::{BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt8Array};
use arrow_schema::{DataType, Field, Schema};

use crate::error::Result;
use crate::history::grouping::{Groups, in_parallel, ranges, same_length};
use crate::status::{EXPIRED, MISSING, PRESENT};

/// Rows and queries of one partition. Codes are dense key numbers, -1 for no key; times are microseconds UTC.
#[derive(Clone, Copy, Debug)]
pub struct AsOfInput<'a> {
    pub source_codes: &'a [i32],
    pub event_time: &'a [i64],
    /// When each row could be known; `None` is at its event time.
    pub available_at: Option<&'a [i64]>,
    /// Tombstones; null is false.
    pub deleted: Option<&'a BooleanArray>,
    pub n_keys: usize,
    pub query_codes: &'a [i32],
    pub query_time: &'a [i64],
    /// The greatest age that is still valid.
    pub ttl_us: Option<i64>,
}

/// The answer to one query.
#[derive(Clone, Copy, Debug, Default)]
struct Winner {
    row: Option<i64>,
    event_time: Option<i64>,
    status: u8,
}

const NOTHING: Winner = Winner { row: None, event_time: None, status: MISSING };

/// One row per query, in query order: `row` (null unless present), `status`, `event_time` of the newest visible row.
///
/// # Errors
/// `Invalid` for arguments that do not fit each other.
pub fn as_of(input: &AsOfInput<'_>, threads: usize) -> Result<RecordBatch> {
    let n = input.source_codes.len();
    same_length("event_time", input.event_time.len(), n)?;
    same_length("available_at", input.available_at.map_or(n, <[_]>::len), n)?;
    same_length("deleted", input.deleted.map_or(n, arrow_array::Array::len), n)?;
    same_length("query_time", input.query_time.len(), input.query_codes.len())?;
    let sources = Groups::new("source_codes", input.source_codes, input.n_keys)?;
    let queries = Groups::new("query_codes", input.query_codes, input.n_keys)?;
    let ranges = ranges(&sources, &queries, threads);
    let parts = in_parallel(&ranges, threads, |keys| {
        let mut sweep = Sweep::default();
        let mut winners = Vec::new();
        for key in keys {
            sweep.run(input, sources.rows_of(key), queries.rows_of(key), &mut winners);
        }
        Ok(winners)
    })?;
    let mut answers = vec![NOTHING; input.query_codes.len()];
    for (&row, winner) in queries.rows().iter().zip(parts.into_iter().flatten()) {
        answers[row as usize] = winner;
    }
    batch(&answers)
}

fn batch(answers: &[Winner]) -> Result<RecordBatch> {
    let schema = Schema::new(vec![
        Field::new("row", DataType::Int64, true),
        Field::new("status", DataType::UInt8, false),
        Field::new("event_time", DataType::Int64, true),
    ]);
    let rows: Int64Array = answers.iter().map(|w| w.row).collect();
    let status = UInt8Array::from_iter_values(answers.iter().map(|w| w.status));
    let event_time: Int64Array = answers.iter().map(|w| w.event_time).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(answers.len()));
    let columns = vec![Arc::new(rows) as _, Arc::new(status) as _, Arc::new(event_time) as _];
    Ok(RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)?)
}

/// A row with what orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    event_time: i64,
    available_at: i64,
    row: u32,
}

/// Working memory of one thread: rows by the instant they come into sight, queries by time.
#[derive(Debug, Default)]
struct Sweep {
    rows: Vec<(i64, u32)>,
    queries: Vec<(i64, u32)>,
}

impl Sweep {
    /// Appends one winner per query row, in the order given. A row that has come into sight stays there, so the
    /// newest visible row is a running maximum.
    fn run(&mut self, input: &AsOfInput<'_>, source_rows: &[u32], query_rows: &[u32], winners: &mut Vec<Winner>) {
        if query_rows.is_empty() {
            return;
        }
        let known = |row: u32| input.available_at.map_or(input.event_time[row as usize], |a| a[row as usize]);
        let visible = |row: u32| known(row).max(input.event_time[row as usize]);
        load(&mut self.rows, source_rows.iter().map(|&row| (visible(row), row)));
        let asked = query_rows.iter().zip(0..).map(|(&row, i)| (input.query_time[row as usize], i));
        load(&mut self.queries, asked);
        let base = winners.len();
        winners.resize(base + query_rows.len(), NOTHING);
        let mut coming = self.rows.iter().peekable();
        let mut newest: Option<Candidate> = None;
        for &(t, place) in &self.queries {
            while let Some(&(_, row)) = coming.next_if(|(instant, _)| *instant <= t) {
                let event_time = input.event_time[row as usize];
                newest = newest.max(Some(Candidate { event_time, available_at: known(row), row }));
            }
            if let Some(newest) = newest {
                winners[base + place as usize] = judge(input, newest, t);
            }
        }
    }
}

fn load(into: &mut Vec<(i64, u32)>, items: impl Iterator<Item = (i64, u32)>) {
    into.clear();
    into.extend(items);
    if !into.is_sorted() {
        into.sort_unstable();
    }
}

fn judge(input: &AsOfInput<'_>, newest: Candidate, t: i64) -> Winner {
    let event_time = Some(newest.event_time);
    let row = newest.row as usize;
    if input.deleted.is_some_and(|deleted| arrow_array::Array::is_valid(deleted, row) && deleted.value(row)) {
        return Winner { row: None, event_time, status: MISSING };
    }
    let age = i128::from(t) - i128::from(newest.event_time);
    if input.ttl_us.is_some_and(|ttl| age > i128::from(ttl)) {
        return Winner { row: None, event_time, status: EXPIRED };
    }
    Winner { row: Some(row as i64), event_time, status: PRESENT }
}
