//! All features of one key after another, appended to the columns of a range of keys.

use super::codes::{BucketsSlide, Codes, CountsSlide, HllRanks, HllSlide};
use super::columns::{LaneColumn, LaneValue, Loaded, Local, Locals};
use super::ends::ends;
use super::extremes::Extremes;
use super::groups::{GroupOf, GroupsSlide};
use super::slide::{MomentsSlide, slide};
use super::tasks::{LaneTasks, Pass, Tasks};
use super::timeline::{Timeline, switch};
use super::{Answers, HistoryInput};
use crate::aggregates::histogram::{bucket_of, number_of};
use crate::aggregates::hll::register_of;
use crate::aggregates::moments::Moments;
use crate::aggregates::{Kind, unit_of};
use crate::error::Result;
use crate::output::{OutputColumn, Sink};
use crate::plan::{Function, WindowPlan};

/// Working memory of one thread, reused from key to key, and what its keys have answered so far.
pub struct KeyWorker<'a> {
    plan: &'a WindowPlan,
    tasks: &'a Tasks,
    input: &'a HistoryInput<'a>,
    columns: &'a [LaneColumn<'a>],
    timeline: Timeline,
    locals: Locals<'a>,
    scratch: Scratch,
    out: Vec<OutputColumn>,
    status: Vec<u8>,
    event_time: Vec<Option<i64>>,
    places: Vec<u32>,
}

#[derive(Debug, Default)]
struct Scratch {
    tree: Extremes,
    ranks: HllRanks,
    found: Vec<usize>,
}

impl<'a> KeyWorker<'a> {
    pub fn new(
        plan: &'a WindowPlan,
        tasks: &'a Tasks,
        input: &'a HistoryInput<'a>,
        columns: &'a [LaneColumn<'a>],
    ) -> Self {
        Self {
            plan,
            tasks,
            input,
            columns,
            timeline: Timeline::default(),
            locals: Locals::default(),
            scratch: Scratch::default(),
            out: plan.features.iter().map(|f| OutputColumn::new(f.output, 0)).collect(),
            status: Vec::new(),
            event_time: Vec::new(),
            places: Vec::new(),
        }
    }

    /// # Errors
    /// `Overflow` for a sum that does not fit its type.
    pub fn run(&mut self, event_rows: &[u32], query_rows: &[u32]) -> Result<()> {
        if query_rows.is_empty() {
            return Ok(());
        }
        let base = self.status.len() as u32;
        let timeline = &mut self.timeline;
        let windows = &self.plan.windows;
        timeline.load(self.input, windows, event_rows, query_rows, &mut self.status, &mut self.event_time);
        self.places.extend(timeline.places.iter().map(|place| base + place));
        if timeline.len() == 0 {
            for (feature, out) in self.plan.features.iter().zip(&mut self.out) {
                timeline.queries.iter().try_for_each(|_| feature.finalize_empty(out))?;
            }
            return Ok(());
        }
        for tasks in &self.tasks.lanes {
            let column = tasks.lane.map(|lane| &self.columns[lane]);
            let mut work = LaneWork {
                plan: self.plan,
                tasks,
                columns: self.columns,
                timeline: &self.timeline,
                scratch: &mut self.scratch,
                out: &mut self.out,
            };
            match self.locals.load(column, &self.timeline) {
                Loaded::Ints(local) => work.run(local)?,
                Loaded::Floats(local) => work.run(local)?,
                Loaded::Decimals(local) => work.run(local)?,
                Loaded::Bytes(local) => work.run(local)?,
            }
        }
        Ok(())
    }

    /// # Errors
    /// `Invalid` if a column cannot be built.
    pub fn finish(self) -> Result<Answers> {
        Ok(Answers {
            columns: self.out.into_iter().map(OutputColumn::finish).collect::<Result<_>>()?,
            status: self.status,
            event_time: self.event_time,
            places: self.places,
        })
    }
}

/// One key's work on one lane.
struct LaneWork<'w> {
    plan: &'w WindowPlan,
    tasks: &'w LaneTasks,
    columns: &'w [LaneColumn<'w>],
    timeline: &'w Timeline,
    scratch: &'w mut Scratch,
    out: &'w mut [OutputColumn],
}

impl LaneWork<'_> {
    fn run<T: LaneValue>(&mut self, local: &mut Local<T>) -> Result<()> {
        for pass in &self.tasks.moments {
            self.moments(local, pass)?;
        }
        if !self.tasks.minima.is_empty() {
            self.extremes::<T, false>(local, &self.tasks.minima);
        }
        if !self.tasks.maxima.is_empty() {
            self.extremes::<T, true>(local, &self.tasks.maxima);
        }
        if !self.tasks.ends.is_empty() {
            self.ends(local)?;
        }
        self.values(local)?;
        self.histograms(local)?;
        self.hlls(local)?;
        self.grouped(local)
    }

    fn moments<T: LaneValue>(&mut self, local: &mut Local<T>, pass: &Pass) -> Result<()> {
        let Kind::Moments { sum, squares } = pass.kind else { unreachable!("a pass of moments") };
        let (values, valid, present) = local.split(self.timeline);
        let mut moments = Moments::new(sum, squares);
        let mut state = MomentsSlide { values, moments: &mut moments };
        slide(self.timeline, pass.window, valid, present, &mut state, |state| {
            for &i in &pass.features {
                self.plan.features[i].finalize_moments(state.moments, &mut self.out[i])?;
            }
            Ok(())
        })
    }

    fn extremes<T: LaneValue, const MAX: bool>(&mut self, local: &mut Local<T>, features: &[usize]) {
        let (values, valid, present) = local.split_set(self.timeline);
        let tree = &mut self.scratch.tree;
        tree.build::<T, MAX>(values, present);
        let mut toggles = 0;
        for query in 0..self.timeline.queries.len() {
            self.timeline.toggle(&mut toggles, query, |position, on| {
                if valid.get(position) {
                    switch(present, position, on);
                    tree.update::<T, MAX>(values, present, position);
                }
            });
            for &i in features {
                let (low, high) = self.timeline.bounds(self.plan.features[i].window, query);
                let best = tree.best::<T, MAX>(values, present, low, high);
                self.out[i].push_value(best.map(|position| values[position].value()));
            }
        }
    }

    fn ends<T: LaneValue>(&mut self, local: &mut Local<T>) -> Result<()> {
        let (values, valid, present) = local.split_set(self.timeline);
        let found = &mut self.scratch.found;
        let mut toggles = 0;
        for query in 0..self.timeline.queries.len() {
            self.timeline.toggle(&mut toggles, query, |position, on| {
                if valid.get(position) {
                    switch(present, position, on);
                }
            });
            for &i in &self.tasks.ends {
                let feature = &self.plan.features[i];
                let (low, high) = self.timeline.bounds(feature.window, query);
                let (n, last, list) = match feature.function {
                    Function::FirstN(n) => (n, false, true),
                    Function::LastN(n) => (n, true, true),
                    Function::Last => (1, true, false),
                    _ => (1, false, false),
                };
                ends(present, low, high, n, last, found);
                match (found.first(), list) {
                    (None, _) => self.out[i].push_null(),
                    (Some(_), true) => self.out[i].push_list(found.iter().map(|&p| values[p].value()))?,
                    (Some(&position), false) => self.out[i].push_value(Some(values[position].value())),
                }
            }
        }
        Ok(())
    }

    fn values<T: LaneValue>(&mut self, local: &mut Local<T>) -> Result<()> {
        if self.tasks.values.is_empty() {
            return Ok(());
        }
        let codes = Codes::new(local.values.len(), local.valid(), |i| Keyed(local.values[i].canonical()));
        for pass in &self.tasks.values {
            let ranked = pass.features.iter().any(|&i| matches!(self.plan.features[i].function, Function::TopK(_)));
            let (_, valid, present) = local.split(self.timeline);
            let mut state = CountsSlide::new(&codes, if ranked { self.timeline.queries.len() } else { 0 });
            let found = &mut self.scratch.found;
            slide(self.timeline, pass.window, valid, present, &mut state, |state| {
                for &i in &pass.features {
                    match self.plan.features[i].function {
                        Function::TopK(_) if state.distinct() == 0 => self.out[i].push_null(),
                        Function::TopK(k) => {
                            state.top(k, found);
                            self.out[i].push_list(found.iter().map(|&code| codes.table[code].0.value()))?;
                        }
                        _ => self.out[i].push_int(state.distinct() as i64),
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn histograms<T: LaneValue>(&mut self, local: &mut Local<T>) -> Result<()> {
        if self.tasks.histograms.is_empty() {
            return Ok(());
        }
        let unit = unit_of(self.plan.lane_type(self.tasks.lane).map_or(0, |lane| lane.scale()));
        let bucket = |i: usize| bucket_of(number_of(local.values[i].value(), unit));
        let codes = Codes::new(local.values.len(), local.valid(), bucket);
        for pass in &self.tasks.histograms {
            let (_, valid, present) = local.split(self.timeline);
            let mut state = BucketsSlide::new(&codes);
            slide(self.timeline, pass.window, valid, present, &mut state, |state| {
                for &i in &pass.features {
                    if let Function::Percentile(q) = self.plan.features[i].function {
                        self.out[i].push_float(state.percentile(q));
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn hlls<T: LaneValue>(&mut self, local: &mut Local<T>) -> Result<()> {
        if self.tasks.hlls.is_empty() {
            return Ok(());
        }
        let codes = Codes::new(local.values.len(), local.valid(), |i| register_of(local.values[i].value()));
        for pass in &self.tasks.hlls {
            let (_, valid, present) = local.split(self.timeline);
            let mut state = HllSlide::new(&codes, &mut self.scratch.ranks);
            slide(self.timeline, pass.window, valid, present, &mut state, |state| {
                pass.features.iter().for_each(|&i| self.out[i].push_int(state.count()));
                Ok(())
            })?;
        }
        Ok(())
    }

    fn grouped<T: LaneValue>(&mut self, local: &mut Local<T>) -> Result<()> {
        for (by, pass) in &self.tasks.grouped {
            let groups = GroupOf::new(&self.columns[*by], &self.timeline.rows);
            let (values, valid, present) = local.split(self.timeline);
            let mut state = GroupsSlide::new(&groups, values, &pass.kind);
            slide(self.timeline, pass.window, valid, present, &mut state, |state| {
                pass.features.iter().try_for_each(|&i| state.finalize(&self.plan.features[i], &mut self.out[i]))
            })?;
        }
        Ok(())
    }
}

/// A value that orders by its key.
#[derive(Clone, Copy)]
struct Keyed<T>(T);

impl<T: LaneValue> Ord for Keyed<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.key().cmp(&other.0.key())
    }
}

impl<T: LaneValue> PartialOrd for Keyed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: LaneValue> PartialEq for Keyed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: LaneValue> Eq for Keyed<T> {}
