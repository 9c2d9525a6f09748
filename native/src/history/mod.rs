//! Features at many (key, instant) pairs over a whole log: rows are grouped by key, keys are shared out to threads,
//! and each key's windows slide once over its events.

pub mod bits;
mod codes;
pub mod columns;
mod ends;
mod extremes;
pub mod grouping;
mod groups;
mod key;
mod slide;
mod tasks;
mod timeline;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, UInt8Array, UInt32Array};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::concat::concat;
use arrow_select::take::take;

use crate::error::Result;
use crate::output::OutputColumn;
use crate::plan::WindowPlan;
use crate::status::MISSING;
use columns::LaneColumn;
use grouping::{Groups, in_parallel, ranges};
use key::KeyWorker;
use tasks::Tasks;

/// Events and queries of one partition. Codes are dense key numbers, -1 for no key; times are microseconds UTC.
#[derive(Clone, Copy, Debug)]
pub struct HistoryInput<'a> {
    pub event_codes: &'a [i32],
    pub event_time: &'a [i64],
    /// When each event could be known; `None` is at its event time.
    pub available_at: Option<&'a [i64]>,
    /// When each event was taken back, null for never.
    pub retracted_at: Option<&'a Int64Array>,
    pub lanes: &'a RecordBatch,
    pub n_keys: usize,
    pub query_codes: &'a [i32],
    pub query_time: &'a [i64],
}

/// What the keys of one range answer: one row per distinct (key, instant).
struct Answers {
    columns: Vec<ArrayRef>,
    status: Vec<u8>,
    event_time: Vec<Option<i64>>,
    /// For each query of the range, in grouped order, its row here.
    places: Vec<u32>,
}

/// One row per query, in query order: the plan's features, then `__status` and `__event_time`.
///
/// # Errors
/// `Invalid` for arguments that do not fit each other, `Overflow` for a sum that does not fit its type.
pub fn history(plan: &WindowPlan, input: &HistoryInput<'_>, threads: usize) -> Result<RecordBatch> {
    check(plan, input)?;
    let columns = input.lanes.columns().iter().map(LaneColumn::new).collect::<Result<Vec<_>>>()?;
    let tasks = Tasks::new(plan);
    let events = Groups::new("event_codes", input.event_codes, input.n_keys)?;
    let queries = Groups::new("query_codes", input.query_codes, input.n_keys)?;
    let ranges = ranges(&events, &queries, threads);
    let parts = in_parallel(&ranges, threads, |keys| {
        let mut worker = KeyWorker::new(plan, &tasks, input, &columns);
        for key in keys {
            worker.run(events.rows_of(key), queries.rows_of(key))?;
        }
        worker.finish()
    })?;
    assemble(plan, parts, &queries, input.query_codes.len(), threads)
}

fn check(plan: &WindowPlan, input: &HistoryInput<'_>) -> Result<()> {
    let n = input.event_codes.len();
    grouping::same_length("event_time", input.event_time.len(), n)?;
    if let Some(available_at) = input.available_at {
        grouping::same_length("available_at", available_at.len(), n)?;
    }
    if let Some(retracted_at) = input.retracted_at {
        grouping::same_length("retracted_at", retracted_at.len(), n)?;
    }
    plan.check_lanes(input.lanes, n)?;
    grouping::same_length("query_time", input.query_time.len(), input.query_codes.len())?;
    Ok(())
}

/// Puts the ranges' answers together in query order; queries without a key share one empty answer.
fn assemble(
    plan: &WindowPlan,
    mut parts: Vec<Answers>,
    queries: &Groups,
    n_queries: usize,
    threads: usize,
) -> Result<RecordBatch> {
    parts.push(no_answer(plan)?);
    let offsets: Vec<u32> = parts
        .iter()
        .scan(0, |total: &mut u32, part| {
            let offset = *total;
            *total += part.status.len() as u32;
            Some(offset)
        })
        .collect();
    let mut order = vec![offsets[offsets.len() - 1]; n_queries];
    let places = parts.iter().zip(&offsets).flat_map(|(part, &offset)| part.places.iter().map(move |p| offset + p));
    for (&row, place) in queries.rows().iter().zip(places) {
        order[row as usize] = place;
    }
    let order = UInt32Array::from(order);
    let event_time: Int64Array = parts.iter().flat_map(|p| p.event_time.iter().copied()).collect();
    let status = UInt8Array::from_iter_values(parts.iter().flat_map(|p| p.status.iter().copied()));
    let mut columns = in_parallel(&one_each(plan.features.len()), threads, |feature| {
        let pieces: Vec<&dyn Array> = parts.iter().map(|p| p.columns[feature.start].as_ref()).collect();
        Ok(take(&concat(&pieces)?, &order, None)?)
    })?;
    columns.push(take(&status, &order, None)?);
    columns.push(take(&event_time, &order, None)?);
    let mut fields: Vec<_> = plan.output_schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("__status", DataType::UInt8, false)));
    fields.push(Arc::new(Field::new("__event_time", DataType::Int64, true)));
    let options = RecordBatchOptions::new().with_row_count(Some(n_queries));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

fn one_each(n: usize) -> Vec<std::ops::Range<usize>> {
    (0..n).map(|i| i..i + 1).collect()
}

fn no_answer(plan: &WindowPlan) -> Result<Answers> {
    let columns = plan.features.iter().map(|feature| {
        let mut column = OutputColumn::new(feature.output, 1);
        feature.finalize_empty(&mut column)?;
        column.finish()
    });
    let columns = columns.collect::<Result<_>>()?;
    Ok(Answers { columns, status: vec![MISSING], event_time: vec![None], places: Vec::new() })
}
