//! Answers every window at one instant from stored states.

use std::sync::Arc;

use arrow_array::RecordBatch;

use super::format::{Header, Tiles, fingerprint};
use super::layout::Layout;
use super::sink::CellSink;
use crate::aggregates::Accumulator;
use crate::aggregates::value::Shape;
use crate::block::{Block, BlockBuilder, RowBuilder};
use crate::defaults::DefaultRow;
use crate::error::{KernelError, Result};
use crate::plan::WindowPlan;
use crate::status;
use crate::values::Columns;
use crate::wire::{Reader, damaged};

/// A plan made ready to read states.
pub struct StateReader {
    plan: Arc<WindowPlan>,
    columns: Arc<Columns>,
    defaults: DefaultRow,
    fingerprint: u16,
    /// Per window, its features.
    features: Vec<Vec<usize>>,
    shapes: Vec<Shape>,
}

impl StateReader {
    /// # Errors
    /// `Invalid` or `Type` for defaults of unknown features or of other types.
    pub fn new(plan: Arc<WindowPlan>, defaults: Option<&RecordBatch>) -> Result<Self> {
        let columns = Arc::new(Columns::new(&plan.output_schema())?);
        let mut features = vec![Vec::new(); plan.windows.len()];
        plan.features.iter().enumerate().for_each(|(i, feature)| features[feature.window].push(i));
        let shapes = plan.slots.iter().map(|slot| plan.lane_type(slot.lane).map_or(Shape::Int, |lane| lane.shape()));
        Ok(Self {
            defaults: DefaultRow::new(&columns, defaults)?,
            fingerprint: fingerprint(&plan),
            shapes: shapes.collect(),
            features,
            columns,
            plan,
        })
    }

    /// The answers at `instant` from the states of n keys; None is a key without a state.
    ///
    /// # Errors
    /// `Corrupt` for bytes that this plan did not write, `Invalid` for a state built after `instant`, `Overflow` for a
    /// sum that does not fit its type.
    pub fn read<'a>(&self, values: impl ExactSizeIterator<Item = Option<&'a [u8]>>, instant: i64) -> Result<Block> {
        let mut pass = Pass::new(self, instant);
        let mut block = BlockBuilder::new(&self.columns, &self.defaults, values.len());
        for value in values {
            match value {
                Some(bytes) => pass.read(bytes, &mut block)?,
                None => self.empty(&mut block.row(status::MISSING, None))?,
            }
        }
        block.finish()
    }

    /// The block of a read that failed: every value null or its default, with status `error`.
    pub fn failed(&self, rows: usize) -> Result<Block> {
        let mut block = BlockBuilder::new(&self.columns, &self.defaults, rows);
        (0..rows).for_each(|_| block.empty_row(status::ERROR, None));
        block.finish()
    }

    fn empty(&self, row: &mut RowBuilder<'_>) -> Result<()> {
        for (column, feature) in self.plan.features.iter().enumerate() {
            let mut sink = CellSink::new(row, column, feature.output);
            feature.finalize_empty(&mut sink);
            sink.finish()?;
        }
        Ok(())
    }
}

/// One read of many keys: what they share, and buffers.
struct Pass<'a> {
    reader: &'a StateReader,
    instant: i64,
    /// Windows by their tails, from the latest to the earliest.
    tails: Vec<(i64, usize)>,
    /// Running states: all windows share the head, so each window is a snapshot where its tail is reached.
    states: Vec<Accumulator>,
    layout: Layout,
}

impl<'a> Pass<'a> {
    fn new(reader: &'a StateReader, instant: i64) -> Self {
        let plan = &reader.plan;
        let windows = plan.windows.iter().enumerate();
        let mut tails: Vec<_> = windows.map(|(i, window)| (window.tail(instant), i)).collect();
        tails.sort_unstable_by_key(|(tail, _)| std::cmp::Reverse(*tail));
        let states = plan.slots.iter().map(|slot| plan.state(slot)).collect();
        Self { reader, instant, tails, states, layout: Layout::new(plan, instant) }
    }

    fn read(&mut self, bytes: &[u8], block: &mut BlockBuilder<'_>) -> Result<()> {
        let mut reader = Reader::new(bytes);
        let header = Header::read(self.reader.fingerprint, &mut reader)?;
        if self.instant < header.instant {
            return Err(KernelError::Invalid(format!(
                "The state was built at {} us and cannot answer the earlier instant {} us. Read it at a later one.",
                header.instant, self.instant
            )));
        }
        if self.layout.instant != header.instant {
            self.layout = Layout::new(&self.reader.plan, header.instant);
        }
        let mut tiles = Tiles::new(&header, reader)?;
        let mut tile = tiles.next()?;
        while tile.is_some_and(|(first, _)| first >= self.instant) {
            tile = tiles.next()?;
        }
        let ahead = tile.map(|(first, _)| first).filter(|first| *first >= header.instant);
        let newest = ahead.or(header.newest);
        match newest {
            Some(_) => self.merge(tile, tiles, &mut block.row(status::PRESENT, newest)),
            None => self.reader.empty(&mut block.row(status::MISSING, None)),
        }
    }

    /// Walks over the tiles from the newest to the oldest, once, and finalizes each window where its tail is passed.
    fn merge<'b>(
        &mut self,
        mut tile: Option<(i64, &'b [u8])>,
        mut tiles: Tiles<'b>,
        row: &mut RowBuilder<'_>,
    ) -> Result<()> {
        self.states.iter_mut().for_each(Accumulator::clear);
        let mut open = 0;
        while let Some((first, body)) = tile {
            while self.tails.get(open).is_some_and(|(tail, _)| first < *tail) {
                self.finalize(self.tails[open].1, row)?;
                open += 1;
            }
            if open == self.tails.len() {
                return Ok(());
            }
            self.add_tile(first, body)?;
            tile = tiles.next()?;
        }
        for i in open..self.tails.len() {
            self.finalize(self.tails[i].1, row)?;
        }
        Ok(())
    }

    fn add_tile(&mut self, first: i64, body: &[u8]) -> Result<()> {
        let mut reader = Reader::new(body);
        for (slot, state) in self.states.iter_mut().enumerate() {
            if self.layout.holds(slot, first) {
                state.merge_encoded(self.reader.shapes[slot], self.layout.instant, &mut reader)?;
            }
        }
        if reader.is_empty() { Ok(()) } else { Err(damaged("a tile goes on after its last state")) }
    }

    fn finalize(&self, window: usize, row: &mut RowBuilder<'_>) -> Result<()> {
        for &column in &self.reader.features[window] {
            let feature = &self.reader.plan.features[column];
            let mut sink = CellSink::new(row, column, feature.output);
            feature.finalize(&self.states[feature.slot], &mut sink)?;
            sink.finish()?;
        }
        Ok(())
    }
}
