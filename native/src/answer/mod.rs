//! The answer to an online read: the features a caller picked from the blocks of several views, in the caller's order.

mod json;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow_schema::{DataType, Field, Schema};

use crate::block::Block;
use crate::error::{KernelError, Result};
use crate::status;
use crate::values::{Datum, Kind};

pub use json::{put_datum, put_decimal, put_instant, put_text};

/// One feature of an answer: where it comes from and what it is called.
#[derive(Clone, Debug)]
pub struct Pick {
    pub block: usize,
    pub column: usize,
    pub name: String,
}

/// The shape that every answer to one kind of read has, with the parts of its JSON that never change.
#[derive(Clone, Debug)]
pub struct AnswerPlan {
    blocks: Vec<String>,
    picks: Vec<Pick>,
    features_json: Vec<u8>,
    blocks_json: Vec<Vec<u8>>,
}

impl AnswerPlan {
    /// # Errors
    /// `Invalid` for a pick from a block that is not there.
    pub fn new(blocks: Vec<String>, picks: Vec<Pick>) -> Result<Self> {
        if let Some(pick) = picks.iter().find(|pick| pick.block >= blocks.len()) {
            let (name, block, count) = (&pick.name, pick.block, blocks.len());
            return Err(KernelError::Invalid(format!("feature '{name}' is of block {block}, but there are {count}")));
        }
        let mut features_json = b"\"features\":[".to_vec();
        json::put_list(&mut features_json, picks.iter(), |out, pick| put_text(out, &pick.name));
        features_json.extend_from_slice(b"],\"results\":[");
        let quoted = |name: &String| {
            let mut out = Vec::new();
            put_text(&mut out, name);
            out.push(b':');
            out
        };
        let blocks_json = blocks.iter().map(quoted).collect();
        Ok(Self { blocks, picks, features_json, blocks_json })
    }

    pub fn picks(&self) -> &[Pick] {
        &self.picks
    }
}

/// Picked features of n keys. Blocks are those of the plan, in its order, and hold the same keys.
#[derive(Clone, Debug)]
pub struct Answer {
    plan: Arc<AnswerPlan>,
    blocks: Vec<Arc<Block>>,
    rows: usize,
}

impl Answer {
    /// # Errors
    /// `Invalid` for another number of blocks, blocks of different lengths, or picks past a block's columns.
    pub fn new(plan: Arc<AnswerPlan>, blocks: Vec<Arc<Block>>) -> Result<Self> {
        let rows = blocks.first().map_or(0, |block| block.rows());
        if blocks.len() != plan.blocks.len() || blocks.iter().any(|block| block.rows() != rows) {
            let (found, wanted) = (blocks.len(), plan.blocks.len());
            let text =
                format!("an answer needs {wanted} blocks of one length, but got {found}, the first of {rows} rows");
            return Err(KernelError::Invalid(text));
        }
        if let Some(pick) = plan.picks.iter().find(|pick| pick.column >= blocks[pick.block].columns().len()) {
            let text = format!("feature '{}' is column {} of a block with fewer", pick.name, pick.column);
            return Err(KernelError::Invalid(text));
        }
        Ok(Self { plan, blocks, rows })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn picks(&self) -> &[Pick] {
        &self.plan.picks
    }

    pub fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    pub fn kind(&self, pick: &Pick) -> &Kind {
        &self.blocks[pick.block].columns()[pick.column].kind
    }

    #[inline]
    pub fn value(&self, pick: &Pick, row: usize) -> Option<Datum<'_>> {
        self.blocks[pick.block].value(row, pick.column)
    }

    #[inline]
    pub fn status(&self, pick: &Pick, row: usize) -> &'static str {
        status::NAMES[self.blocks[pick.block].status(row, pick.column) as usize]
    }

    /// One column per feature; with `statuses`, a string column `<feature>__status` after each.
    pub fn batch(&self, statuses: bool) -> Result<RecordBatch> {
        let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
        for pick in &self.plan.picks {
            let block = &self.blocks[pick.block];
            fields.push(Field::new(&pick.name, block.columns()[pick.column].data_type.clone(), true));
            columns.push(block.array(pick.column, true)?);
            if statuses {
                fields.push(Field::new(format!("{}__status", pick.name), DataType::Utf8, false));
                let names = (0..self.rows).map(|row| self.status(pick, row));
                columns.push(Arc::new(StringArray::from_iter_values(names)));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
    }

    /// A JSON object: `head` (an open object, up to and with its last comma), then `features` and `results`, one result
    /// per key with its `values`; with `metadata`, also `statuses` and, per block, `event_times`.
    pub fn json(&self, head: &[u8], metadata: bool) -> Result<Vec<u8>> {
        let plan = &*self.plan;
        let per_row = plan.picks.len() * if metadata { 32 } else { 20 } + 64;
        let mut out = Vec::with_capacity(head.len() + plan.features_json.len() + self.rows * per_row + 16);
        out.extend_from_slice(head);
        out.extend_from_slice(&plan.features_json);
        for row in 0..self.rows {
            out.extend_from_slice(if row == 0 { b"{\"values\":[" } else { b",{\"values\":[" });
            for (i, pick) in plan.picks.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                match self.value(pick, row) {
                    Some(datum) => put_datum(&mut out, self.kind(pick), datum)?,
                    None => out.extend_from_slice(b"null"),
                }
            }
            out.push(b']');
            if metadata {
                self.put_metadata(&mut out, row);
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
        Ok(out)
    }

    fn put_metadata(&self, out: &mut Vec<u8>, row: usize) {
        out.extend_from_slice(b",\"statuses\":[");
        json::put_list(out, self.plan.picks.iter(), |out, pick| {
            out.push(b'"');
            out.extend_from_slice(self.status(pick, row).as_bytes());
            out.push(b'"');
        });
        out.extend_from_slice(b"],\"event_times\":{");
        json::put_list(out, self.plan.blocks_json.iter().zip(&self.blocks), |out, (name, block)| {
            out.extend_from_slice(name);
            match block.event_time(row) {
                Some(time) => put_instant(out, time),
                None => out.extend_from_slice(b"null"),
            }
        });
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests;
