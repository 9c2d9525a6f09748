//! Packs source rows into values, and merges values so that an older row never replaces a newer one.

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch};

use super::RowPlan;
use super::format::{Rank, Version, put_body, put_header, put_version, versions};
use crate::error::{KernelError, Result};
use crate::values::Source;

/// The bytes one Arrow binary array can hold.
const ARRAY_LIMIT: usize = i32::MAX as usize;

/// Rows of a source: entity codes and times, parallel to the columns of a batch.
pub struct SourceRows {
    codes: Int32Array,
    event_time: Int64Array,
    available_at: Option<Int64Array>,
    deleted: Option<BooleanArray>,
    order: Option<Int64Array>,
}

impl SourceRows {
    /// # Errors
    /// `Type` for arrays of other types, `Invalid` for other lengths or nulls in times.
    pub fn new(
        codes: &ArrayRef,
        event_time: &ArrayRef,
        available_at: Option<&ArrayRef>,
        deleted: Option<&ArrayRef>,
        order: Option<&ArrayRef>,
    ) -> Result<Self> {
        let rows = codes.len();
        let codes = codes.as_primitive_opt::<Int32Type>().ok_or_else(|| wrong("codes", "int32"))?.clone();
        let deleted = deleted.map(|a| a.as_boolean_opt().cloned().ok_or_else(|| wrong("deleted", "bool")));
        let this = Self {
            codes,
            event_time: times("event_time", event_time, rows)?,
            available_at: available_at.map(|array| times("available_at", array, rows)).transpose()?,
            deleted: deleted.transpose()?,
            order: order.map(|array| times("order", array, rows)).transpose()?,
        };
        if this.codes.null_count() > 0 || this.deleted.as_ref().is_some_and(|deleted| deleted.len() != rows) {
            return Err(KernelError::Invalid("codes have no nulls (no key is -1) and all arrays one length".into()));
        }
        Ok(this)
    }

    fn rank(&self, row: usize) -> Rank {
        let event_time = self.event_time.value(row);
        let available_at = self.available_at.as_ref().map_or(event_time, |times| times.value(row));
        (event_time, available_at, self.order.as_ref().map_or(row as i64, |order| order.value(row)))
    }

    /// A null flag is no deletion.
    fn is_deleted(&self, row: usize) -> bool {
        self.deleted.as_ref().is_some_and(|deleted| deleted.is_valid(row) && deleted.value(row))
    }

    /// Per key the rows to keep, newest first: of those known at `instant`, the newest at or before it and, for every
    /// later event time, the newest with it. Returned as (code, rank, row), by code.
    fn kept(&self, n_keys: usize, instant: i64) -> Result<Vec<(usize, Rank, usize)>> {
        let mut newest: Vec<Option<(Rank, usize)>> = vec![None; n_keys];
        let mut later = Vec::new();
        for (row, code) in self.codes.values().iter().enumerate().filter(|(_, code)| **code >= 0) {
            let code = *code as usize;
            let slot = newest.get_mut(code).ok_or_else(|| {
                KernelError::Invalid(format!("row {row} has code {code}, but there are {n_keys} keys"))
            })?;
            let rank = self.rank(row);
            if rank.1 > instant {
                continue;
            }
            if rank.0 > instant {
                later.push((code, rank, row));
            } else if slot.is_none_or(|best| best < (rank, row)) {
                *slot = Some((rank, row));
            }
        }
        let newest = newest.into_iter().enumerate();
        let mut kept: Vec<_> = newest.filter_map(|(code, best)| best.map(|(rank, row)| (code, rank, row))).collect();
        if !later.is_empty() {
            kept.append(&mut later);
            kept.sort_unstable_by_key(|(code, rank, row)| (*code, std::cmp::Reverse((*rank, *row))));
            kept.dedup_by_key(|(code, rank, _)| (*code, rank.0));
        }
        Ok(kept)
    }
}

fn wrong(name: &str, expected: &str) -> KernelError {
    KernelError::Type(format!("{name} is not an array of {expected}"))
}

fn times(name: &str, array: &ArrayRef, rows: usize) -> Result<Int64Array> {
    let times = array.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong(name, "int64"))?;
    if times.len() != rows || times.null_count() > 0 {
        return Err(KernelError::Invalid(format!("{name} has one value for each of the {rows} rows and no nulls")));
    }
    Ok(times.clone())
}

impl RowPlan {
    /// The packed value of each of `n_keys` keys from all source rows known at `instant`; null where nothing is known.
    ///
    /// # Errors
    /// `Invalid` for columns that are not the plan's, codes past `n_keys`, or over 2 GiB of values.
    pub fn build(&self, rows: &SourceRows, batch: &RecordBatch, n_keys: usize, instant: i64) -> Result<BinaryArray> {
        let sources = self.sources(batch, rows.codes.len())?;
        let mut kept = rows.kept(n_keys, instant)?.into_iter().peekable();
        let (mut value, mut body) = (Vec::new(), Vec::new());
        let mut out = BinaryBuilder::with_capacity(n_keys, n_keys * (sources.len() * 8 + 16));
        let mut total = 0;
        for code in 0..n_keys {
            value.clear();
            while let Some((_, rank, row)) = kept.next_if(|(owner, _, _)| *owner == code) {
                if value.is_empty() {
                    put_header(&mut value, &self.columns);
                }
                put_body(&mut body, &sources, row, rows.is_deleted(row));
                put_version(&mut value, rank, &body);
            }
            append(&mut out, &value, &mut total)?;
        }
        Ok(out.finish())
    }

    fn sources(&self, batch: &RecordBatch, rows: usize) -> Result<Vec<Source>> {
        if batch.num_rows() != rows {
            let found = batch.num_rows();
            return Err(KernelError::Invalid(format!("the columns have {found} rows, but there are {rows} codes")));
        }
        let source = |column: &crate::values::Column| {
            let name = &column.name;
            let missing = || KernelError::Invalid(format!("column '{name}' of the plan is not in the batch"));
            let array = batch.column_by_name(name).ok_or_else(missing)?;
            let source = Source::new(name, array.clone())?;
            if *source.kind() != column.kind {
                let (found, wanted) = (array.data_type(), &column.data_type);
                return Err(KernelError::Type(format!("column '{name}' is {found}, but the plan says {wanted}")));
            }
            Ok(source)
        };
        self.columns.iter().map(source).collect()
    }

    /// Old and new values of the same keys as one, known at `instant`; the newer row by (event time, available at,
    /// ingest order) wins, whichever side it is on; of equals, the new one.
    pub fn merge<'a>(
        &self,
        old: impl Iterator<Item = Option<&'a [u8]>>,
        new: impl Iterator<Item = Option<&'a [u8]>>,
        instant: i64,
    ) -> Result<BinaryArray> {
        let mut out = BinaryBuilder::new();
        let (mut value, mut total) = (Vec::new(), 0);
        for (old, new) in old.zip(new) {
            value.clear();
            match (old, new) {
                (Some(old), Some(new)) => self.merge_one(old, new, instant, &mut value)?,
                (Some(only), None) | (None, Some(only)) => value.extend_from_slice(only),
                (None, None) => {}
            }
            append(&mut out, &value, &mut total)?;
        }
        Ok(out.finish())
    }

    fn merge_one(&self, old: &[u8], new: &[u8], instant: i64, out: &mut Vec<u8>) -> Result<()> {
        let mut all: Vec<Version<'_>> = versions(new, &self.columns)?.collect::<Result<_>>()?;
        for version in versions(old, &self.columns)? {
            all.push(version?);
        }
        all.sort_by_key(|version| std::cmp::Reverse(version.rank()));
        all.dedup_by_key(|version| version.event_time);
        put_header(out, &self.columns);
        for version in &all {
            version.put(out);
            if version.event_time <= instant && version.available_at <= instant {
                break;
            }
        }
        Ok(())
    }
}

fn append(out: &mut BinaryBuilder, value: &[u8], total: &mut usize) -> Result<()> {
    *total += value.len();
    if *total > ARRAY_LIMIT {
        return Err(KernelError::Invalid("the values take over 2 GiB; pack fewer keys at a time".into()));
    }
    out.append_option((!value.is_empty()).then_some(value));
    Ok(())
}
