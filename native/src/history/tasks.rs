//! Which features of a plan are computed together: those of one lane and window that share a sliding state.

use crate::aggregates::Kind;
use crate::plan::{Function, WindowPlan};

/// Features that one pass over one lane and window answers.
#[derive(Clone, Debug)]
pub struct Pass {
    pub window: usize,
    pub kind: Kind,
    /// Indexes into the plan's features.
    pub features: Vec<usize>,
}

/// All work on one lane.
#[derive(Clone, Debug)]
pub struct LaneTasks {
    pub lane: Option<usize>,
    /// Counts, sums and sums of squares, by window.
    pub moments: Vec<Pass>,
    /// Exact counts by value, by window.
    pub values: Vec<Pass>,
    pub histograms: Vec<Pass>,
    pub hlls: Vec<Pass>,
    /// By a secondary key, its lane first.
    pub grouped: Vec<(usize, Pass)>,
    /// Features that search positions, whatever their windows.
    pub minima: Vec<usize>,
    pub maxima: Vec<usize>,
    pub ends: Vec<usize>,
}

#[derive(Clone, Debug)]
pub struct Tasks {
    pub lanes: Vec<LaneTasks>,
}

impl Tasks {
    pub fn new(plan: &WindowPlan) -> Self {
        let mut tasks = Self { lanes: Vec::new() };
        for (i, feature) in plan.features.iter().enumerate() {
            let lane = tasks.lane(feature.lane);
            if let Some(by) = feature.by {
                share_by(&mut lane.grouped, by, feature.window, feature.function.kind(), i);
                continue;
            }
            match feature.function {
                Function::Min => lane.minima.push(i),
                Function::Max => lane.maxima.push(i),
                Function::First | Function::Last | Function::FirstN(_) | Function::LastN(_) => lane.ends.push(i),
                Function::CountDistinct | Function::TopK(_) => share(&mut lane.values, feature.window, Kind::Values, i),
                Function::Percentile(_) => share(&mut lane.histograms, feature.window, Kind::Histogram, i),
                Function::ApproxCountDistinct => share(&mut lane.hlls, feature.window, Kind::Hll, i),
                Function::Count | Function::Sum | Function::Mean | Function::Variance | Function::Stddev => {
                    share(&mut lane.moments, feature.window, feature.function.kind(), i);
                }
            }
        }
        tasks
    }

    fn lane(&mut self, lane: Option<usize>) -> &mut LaneTasks {
        let at = self.lanes.iter().position(|l| l.lane == lane).unwrap_or_else(|| {
            self.lanes.push(LaneTasks {
                lane,
                moments: Vec::new(),
                values: Vec::new(),
                histograms: Vec::new(),
                hlls: Vec::new(),
                grouped: Vec::new(),
                minima: Vec::new(),
                maxima: Vec::new(),
                ends: Vec::new(),
            });
            self.lanes.len() - 1
        });
        &mut self.lanes[at]
    }
}

fn share(passes: &mut Vec<Pass>, window: usize, kind: Kind, feature: usize) {
    for pass in passes.iter_mut() {
        if pass.window == window
            && let Some(both) = pass.kind.covering(&kind)
        {
            pass.kind = both;
            pass.features.push(feature);
            return;
        }
    }
    passes.push(Pass { window, kind, features: vec![feature] });
}

fn share_by(passes: &mut Vec<(usize, Pass)>, by: usize, window: usize, kind: Kind, feature: usize) {
    for (its_by, pass) in passes.iter_mut() {
        if *its_by == by
            && pass.window == window
            && let Some(both) = pass.kind.covering(&kind)
        {
            pass.kind = both;
            pass.features.push(feature);
            return;
        }
    }
    passes.push((by, Pass { window, kind, features: vec![feature] }));
}
