//! Answers every window at one instant from stored states.

use std::sync::Arc;

use arrow_array::RecordBatch;

use super::events::add_events;
use super::format::{Form, Header, fingerprint, read_tile};
use super::layout::{Cursor, Layout, Zone};
use super::sink::CellSink;
use super::stored::{Ahead, AheadTile, add_states, all_read, pieces, shapes};
use crate::aggregates::Accumulator;
use crate::aggregates::value::Shape;
use crate::block::{Block, BlockBuilder, RowBuilder};
use crate::defaults::DefaultRow;
use crate::error::{KernelError, Result};
use crate::plan::WindowPlan;
use crate::status;
use crate::values::Columns;
use crate::wire::Reader;

/// A plan made ready to read states.
pub struct StateReader {
    plan: Arc<WindowPlan>,
    columns: Arc<Columns>,
    defaults: DefaultRow,
    fingerprint: u16,
    /// Per window, those of its features that are asked for.
    features: Vec<Vec<usize>>,
    /// Per slot, the shape of its values.
    shapes: Vec<Shape>,
}

impl StateReader {
    /// Of features that are not `chosen` (by position; `None` is all), values are not to be looked at.
    ///
    /// # Errors
    /// `Invalid` or `Type` for defaults of unknown features or of other types, or a position that is none.
    pub fn new(plan: Arc<WindowPlan>, defaults: Option<&RecordBatch>, chosen: Option<&[usize]>) -> Result<Self> {
        let columns = Arc::new(Columns::new(&plan.output_schema())?);
        if let Some(position) = chosen.and_then(|listed| listed.iter().find(|i| **i >= plan.features.len())) {
            let count = plan.features.len();
            return Err(KernelError::Invalid(format!("There is no feature {position}; there are {count}.")));
        }
        let mut features = vec![Vec::new(); plan.windows.len()];
        let wanted = |i: &usize| chosen.is_none_or(|listed| listed.contains(i));
        (0..plan.features.len()).filter(wanted).for_each(|i| features[plan.features[i].window].push(i));
        Ok(Self {
            defaults: DefaultRow::new(&columns, defaults)?,
            fingerprint: fingerprint(&plan),
            shapes: shapes(&plan),
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
        let mut layout = Layout::new(&self.plan, instant);
        let mut block = BlockBuilder::new(&self.columns, &self.defaults, values.len());
        for value in values {
            match value {
                Some(bytes) => pass.read(bytes, &mut layout, &mut block)?,
                None => self.empty(&mut block.row(status::MISSING, None))?,
            }
        }
        block.finish()
    }

    /// What the tiles of one state hold, from the oldest to the newest: where each begins, and every feature as of its
    /// events alone; a tile that no window of a feature reaches any more does not hold it, and has it empty.
    ///
    /// # Errors
    /// As [`StateReader::read`].
    pub fn tiles(&self, bytes: &[u8]) -> Result<(Vec<i64>, Block)> {
        let mut reader = Reader::new(bytes);
        let header = Header::read(self.fingerprint, &mut reader)?;
        let layout = Layout::new(&self.plan, header.instant);
        let mut tiles = Vec::new();
        pieces(&header, &layout, &mut reader, &mut tiles)?;
        let mut states: Vec<_> = self.plan.slots.iter().map(|slot| self.plan.state(slot)).collect();
        let mut block = BlockBuilder::new(&self.columns, &self.defaults, tiles.len());
        for tile in &tiles {
            states.iter_mut().for_each(Accumulator::clear);
            tile.add(&layout, &self.shapes, &mut states)?;
            let mut row = block.row(status::PRESENT, Some(tile.time));
            for &column in self.features.iter().flatten() {
                let feature = &self.plan.features[column];
                let mut sink = CellSink::new(&mut row, column, feature.output);
                feature.finalize(&states[feature.slot], &mut sink)?;
                sink.finish()?;
            }
        }
        Ok((tiles.iter().map(|tile| tile.time).collect(), block.finish()?))
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
            feature.finalize_empty(&mut sink)?;
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
    /// How many of the windows are finalized for the key at hand.
    done: usize,
}

impl<'a> Pass<'a> {
    fn new(reader: &'a StateReader, instant: i64) -> Self {
        let plan = &reader.plan;
        let windows = plan.windows.iter().enumerate();
        let mut tails: Vec<_> = windows.map(|(i, window)| (window.tail(instant), i)).collect();
        tails.sort_unstable_by_key(|(tail, _)| std::cmp::Reverse(*tail));
        let states = plan.slots.iter().map(|slot| plan.state(slot)).collect();
        Self { reader, instant, tails, states, done: 0 }
    }

    /// Reads one state; `layout` is that of the state before it and becomes its own.
    fn read(&mut self, bytes: &[u8], layout: &mut Layout, block: &mut BlockBuilder<'_>) -> Result<()> {
        let mut reader = Reader::new(bytes);
        let header = Header::read(self.reader.fingerprint, &mut reader)?;
        if self.instant < header.instant {
            return Err(KernelError::Invalid(format!(
                "The state was built at {} us and cannot answer the earlier instant {} us. Read it at a later one.",
                header.instant, self.instant
            )));
        }
        if layout.instant != header.instant {
            *layout = Layout::new(&self.reader.plan, header.instant);
        }
        let mut ahead = Ahead::new(header.instant, reader.bytes()?);
        let mut tile = ahead.next()?;
        while tile.as_ref().is_some_and(|tile| tile.time >= self.instant) {
            tile = ahead.next()?;
        }
        let newest = tile.as_ref().map(|tile| tile.time).or(header.newest);
        if newest.is_none() {
            return self.reader.empty(&mut block.row(status::MISSING, None));
        }
        let mut row = block.row(status::PRESENT, newest);
        self.states.iter_mut().for_each(Accumulator::clear);
        self.done = 0;
        while let Some(AheadTile { time, form, mut body }) = tile
            && self.reaches(time, &mut row)?
        {
            self.add(&layout.zones[0], time, form, &mut body)?;
            all_read(&body)?;
            tile = ahead.next()?;
        }
        self.add_past(layout, &mut reader, &mut row)?;
        (self.done..self.tails.len()).try_for_each(|i| self.finalize(self.tails[i].1, &mut row))
    }

    /// Walks over the tiles before the state's instant, from the newest to the oldest, as far as a window reaches.
    fn add_past(&mut self, layout: &Layout, reader: &mut Reader<'_>, row: &mut RowBuilder<'_>) -> Result<()> {
        if self.done == self.tails.len() {
            return Ok(());
        }
        let mut cursor = Cursor::new(layout);
        for _ in 0..reader.length()? {
            let (distance, form) = read_tile(reader)?;
            cursor.back(distance)?;
            if !self.reaches(cursor.time, row)? {
                return Ok(());
            }
            self.add(cursor.zone(), cursor.time, form, reader)?;
        }
        all_read(reader)
    }

    /// Finalizes the windows that begin after `time`; returns whether there are others.
    #[inline]
    fn reaches(&mut self, time: i64, row: &mut RowBuilder<'_>) -> Result<bool> {
        while let Some(&(tail, window)) = self.tails.get(self.done) {
            if tail <= time {
                return Ok(true);
            }
            self.finalize(window, row)?;
            self.done += 1;
        }
        Ok(false)
    }

    /// Adds the body of a tile to the states.
    #[inline]
    fn add(&mut self, zone: &Zone, time: i64, form: Form, body: &mut Reader<'_>) -> Result<()> {
        match form {
            Form::Events(n) => add_events(zone, time, n.into(), false, body, &mut self.states),
            Form::Gaps => {
                let n = body.length()?;
                add_events(zone, time, n, true, body, &mut self.states)
            }
            Form::States => add_states(zone, time, &self.reader.shapes, body, &mut self.states),
        }
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
