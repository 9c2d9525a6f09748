//! The compiled form of an event view: which states its features need, and how each is finalized from its own.
//! History and online states share it.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};

use crate::aggregates::grouped::Grouped;
use crate::aggregates::value::LaneType;
use crate::aggregates::{Accumulator, Kind, unit_of};
use crate::error::{KernelError, Result};
use crate::history::grouping::same_length;
use crate::output::OutputType;

/// One feature as the caller declares it.
#[derive(Clone, Debug, Default)]
pub struct FeatureSpec {
    pub name: String,
    pub function: String,
    /// Index of the input column; `None` counts events.
    pub lane: Option<usize>,
    /// Window length; `None` is lifetime.
    pub window_us: Option<i64>,
    pub hop_us: Option<i64>,
    pub n: Option<usize>,
    pub quantile: Option<f64>,
    /// Index of the column to group by; `None` gives one value for all events.
    pub by: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    Count,
    Sum,
    Mean,
    Variance,
    Stddev,
    Min,
    Max,
    First,
    Last,
    FirstN(usize),
    LastN(usize),
    CountDistinct,
    ApproxCountDistinct,
    Percentile(f64),
    TopK(usize),
}

/// An input column.
#[derive(Clone, Debug)]
pub struct Lane {
    pub name: String,
    pub lane_type: LaneType,
}

/// How far back a feature looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Lifetime,
    Sliding { length_us: i64, hop_us: i64 },
}

impl Window {
    /// The earliest event time inside the window at `t`: `floor(t - length, hop)`, towards minus infinity from the epoch.
    #[inline]
    pub fn tail(self, t: i64) -> i64 {
        match self {
            Self::Lifetime => i64::MIN,
            Self::Sliding { length_us, hop_us } => match t.checked_sub(length_us) {
                Some(start) => start.checked_sub(start.rem_euclid(hop_us)).unwrap_or(i64::MIN),
                None => i64::MIN,
            },
        }
    }
}

/// A partial state that some features share: one per (lane, secondary key, kind), whatever the window.
#[derive(Clone, Debug)]
pub struct Slot {
    pub lane: Option<usize>,
    /// The lane of the secondary key, where there is one state of `kind` per value of it.
    pub by: Option<usize>,
    pub kind: Kind,
}

/// A feature, resolved.
#[derive(Clone, Debug)]
pub struct Feature {
    pub name: String,
    pub function: Function,
    pub lane: Option<usize>,
    /// The lane of the secondary key.
    pub by: Option<usize>,
    /// Index into the plan's windows.
    pub window: usize,
    /// Index into the plan's slots.
    pub slot: usize,
    pub output: OutputType,
    /// The type that the function gives: that of the output, or of a value in it where it is a map.
    pub given: OutputType,
    /// The unscaled value of one, for decimals.
    pub unit: f64,
}

/// Features of one event view, compiled. Slots and windows are in first-use order, each once.
#[derive(Clone, Debug)]
pub struct WindowPlan {
    pub lanes: Vec<Lane>,
    pub features: Vec<Feature>,
    pub windows: Vec<Window>,
    pub slots: Vec<Slot>,
}

impl WindowPlan {
    /// # Errors
    /// `Type` for a lane or a function on a lane that the kernel does not take, `Invalid` for anything else wrong.
    pub fn new(schema: &Schema, specs: &[FeatureSpec]) -> Result<Self> {
        let lanes = schema.fields().iter().map(|field| {
            let lane_type = LaneType::from_arrow(field.name(), field.data_type())?;
            Ok(Lane { name: field.name().clone(), lane_type })
        });
        let mut plan =
            Self { lanes: lanes.collect::<Result<_>>()?, features: Vec::new(), windows: Vec::new(), slots: Vec::new() };
        for spec in specs {
            plan.add(spec)?;
        }
        Ok(plan)
    }

    /// One field per feature, in order.
    pub fn output_schema(&self) -> Schema {
        let fields = self.features.iter().map(|f| Arc::new(Field::new(&f.name, f.output.to_arrow(), true)));
        Schema::new(fields.collect::<Vec<_>>())
    }

    pub fn lane_type(&self, lane: Option<usize>) -> Option<LaneType> {
        lane.map(|i| self.lanes[i].lane_type)
    }

    /// # Errors
    /// `Invalid` or `Type` for a batch of other columns than the plan's, or of another number of rows.
    pub fn check_lanes(&self, batch: &RecordBatch, rows: usize) -> Result<()> {
        same_length("lanes", batch.num_rows(), rows)?;
        if batch.num_columns() != self.lanes.len() {
            return Err(KernelError::Invalid(format!(
                "The plan reads {} input columns and the batch has {}. Pass the columns the plan was compiled for.",
                self.lanes.len(),
                batch.num_columns()
            )));
        }
        for (lane, column) in self.lanes.iter().zip(batch.columns()) {
            if *column.data_type() != lane.lane_type.to_arrow() {
                return Err(KernelError::Type(format!(
                    "Column '{}' has type {} and the plan was compiled for {}. Pass the columns the plan was compiled for.",
                    lane.name,
                    column.data_type(),
                    lane.lane_type.to_arrow()
                )));
            }
        }
        Ok(())
    }

    /// An empty state for a slot.
    pub fn state(&self, slot: &Slot) -> Accumulator {
        let lane = self.lane_type(slot.lane);
        match self.lane_type(slot.by) {
            None => Accumulator::new(&slot.kind, lane),
            Some(key) => Accumulator::Grouped(Grouped::new(&slot.kind, lane, key)),
        }
    }

    fn add(&mut self, spec: &FeatureSpec) -> Result<()> {
        if self.features.iter().any(|f| f.name == spec.name) {
            return Err(invalid(spec, "its name is already taken; rename one of the two"));
        }
        let function = spec.function()?;
        let lane = match spec.lane {
            None if function == Function::Count => None,
            None => return Err(invalid(spec, "it names no input column; only count works without one")),
            Some(i) => Some(self.lanes.get(i).ok_or_else(|| {
                invalid(spec, &format!("input column {i} does not exist; there are {}", self.lanes.len()))
            })?),
        };
        let given = function.output(spec, lane)?;
        let output = self.output(spec, given)?;
        let unit = unit_of(lane.map_or(0, |l| l.lane_type.scale()));
        let window = position(&mut self.windows, spec.window()?);
        let slot = self.slot(spec.lane, spec.by, function.kind());
        let (name, lane, by) = (spec.name.clone(), spec.lane, spec.by);
        self.features.push(Feature { name, function, lane, by, window, slot, output, given, unit });
        Ok(())
    }

    /// The type of a feature whose function gives `given`.
    fn output(&self, spec: &FeatureSpec, given: OutputType) -> Result<OutputType> {
        let Some(by) = spec.by else { return Ok(given) };
        let missing = || invalid(spec, &format!("column {by} to group by does not exist"));
        let key = self.lanes.get(by).ok_or_else(missing)?.lane_type;
        if matches!(key, LaneType::Float64 | LaneType::Decimal { .. }) {
            return Err(invalid(spec, "it groups by a column of floats or decimals, which are no keys"));
        }
        match given {
            OutputType::Scalar(value) if spec.function()?.groups() => Ok(OutputType::Map { key, value }),
            _ => Err(invalid(spec, "this function cannot be grouped")),
        }
    }

    /// The slot that serves `kind` on `lane`, widened where an existing one holds too little.
    fn slot(&mut self, lane: Option<usize>, by: Option<usize>, kind: Kind) -> usize {
        for (i, slot) in self.slots.iter_mut().enumerate() {
            if slot.lane == lane
                && slot.by == by
                && let Some(both) = slot.kind.covering(&kind)
            {
                slot.kind = both;
                return i;
            }
        }
        self.slots.push(Slot { lane, by, kind });
        self.slots.len() - 1
    }
}

impl Kind {
    /// The one kind that serves both, if they can share a state.
    pub fn covering(&self, other: &Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Moments { sum, squares }, Self::Moments { sum: s, squares: q }) => {
                Self::Moments { sum: *sum || *s, squares: *squares || *q }
            }
            (Self::First { n }, Self::First { n: m }) => Self::First { n: *n.max(m) },
            (Self::Last { n }, Self::Last { n: m }) => Self::Last { n: *n.max(m) },
            (a, b) if a == b => a.clone(),
            _ => return None,
        })
    }
}

fn position(windows: &mut Vec<Window>, window: Window) -> usize {
    windows.iter().position(|w| *w == window).unwrap_or_else(|| {
        windows.push(window);
        windows.len() - 1
    })
}

fn invalid(spec: &FeatureSpec, why: &str) -> KernelError {
    KernelError::Invalid(format!("Feature '{}' ({}) cannot be compiled: {why}.", spec.name, spec.function))
}

impl FeatureSpec {
    fn window(&self) -> Result<Window> {
        match (self.window_us, self.hop_us) {
            (None, None) => Ok(Window::Lifetime),
            (Some(length_us), Some(hop_us)) if length_us > 0 && hop_us > 0 => Ok(Window::Sliding { length_us, hop_us }),
            (Some(_), Some(_)) => Err(invalid(self, "window and hop must be positive")),
            _ => Err(invalid(self, "window and hop go together; a lifetime window has neither")),
        }
    }

    fn function(&self) -> Result<Function> {
        let n = || match self.n {
            Some(n) if n > 0 => Ok(n),
            _ => Err(invalid(self, "n must be a positive number")),
        };
        Ok(match self.function.as_str() {
            "count" => Function::Count,
            "sum" => Function::Sum,
            "mean" => Function::Mean,
            "variance" => Function::Variance,
            "stddev" => Function::Stddev,
            "min" => Function::Min,
            "max" => Function::Max,
            "first" => Function::First,
            "last" => Function::Last,
            "first_n" => Function::FirstN(n()?),
            "last_n" => Function::LastN(n()?),
            "count_distinct" => Function::CountDistinct,
            "approx_count_distinct" => Function::ApproxCountDistinct,
            "percentile" => match self.quantile {
                Some(q) if (0.0..=1.0).contains(&q) => Function::Percentile(q),
                _ => return Err(invalid(self, "quantile must lie between 0 and 1")),
            },
            "top_k" => Function::TopK(n()?),
            _ => return Err(invalid(self, "there is no such function")),
        })
    }
}

impl Function {
    /// Whether it may group by a secondary key: it gives one value from a state that events can leave one by one.
    fn groups(self) -> bool {
        matches!(
            self,
            Self::Count
                | Self::Sum
                | Self::Mean
                | Self::Variance
                | Self::Stddev
                | Self::Min
                | Self::Max
                | Self::First
                | Self::Last
        )
    }

    pub fn kind(self) -> Kind {
        match self {
            Self::Count => Kind::Moments { sum: false, squares: false },
            Self::Sum | Self::Mean => Kind::Moments { sum: true, squares: false },
            Self::Variance | Self::Stddev => Kind::Moments { sum: true, squares: true },
            Self::Min => Kind::Min,
            Self::Max => Kind::Max,
            Self::First => Kind::First { n: 1 },
            Self::Last => Kind::Last { n: 1 },
            Self::FirstN(n) => Kind::First { n },
            Self::LastN(n) => Kind::Last { n },
            Self::CountDistinct | Self::TopK(_) => Kind::Values,
            Self::ApproxCountDistinct => Kind::Hll,
            Self::Percentile(_) => Kind::Histogram,
        }
    }

    fn output(self, spec: &FeatureSpec, lane: Option<&Lane>) -> Result<OutputType> {
        let Some(lane) = lane else { return Ok(OutputType::Scalar(LaneType::Int64)) };
        let numeric_only = matches!(self, Self::Sum | Self::Mean | Self::Variance | Self::Stddev | Self::Percentile(_));
        if numeric_only && !lane.lane_type.is_numeric() {
            return Err(KernelError::Type(format!(
                "Feature '{}' asks for the {} of column '{}', which is {}. Use a numeric or boolean column.",
                spec.name,
                spec.function,
                lane.name,
                lane.lane_type.to_arrow()
            )));
        }
        Ok(match self {
            Self::Count | Self::CountDistinct | Self::ApproxCountDistinct => OutputType::Scalar(LaneType::Int64),
            Self::Mean | Self::Variance | Self::Stddev | Self::Percentile(_) => OutputType::Scalar(LaneType::Float64),
            Self::Sum => OutputType::Scalar(match lane.lane_type {
                LaneType::Decimal { scale, .. } => LaneType::Decimal { precision: 38, scale },
                LaneType::Float64 => LaneType::Float64,
                _ => LaneType::Int64,
            }),
            Self::Min | Self::Max | Self::First | Self::Last => OutputType::Scalar(lane.lane_type),
            Self::FirstN(_) | Self::LastN(_) | Self::TopK(_) => OutputType::List(lane.lane_type),
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::DataType;

    use super::*;

    fn spec(name: &str, function: &str, lane: Option<usize>) -> FeatureSpec {
        FeatureSpec { name: name.into(), function: function.into(), lane, ..FeatureSpec::default() }
    }

    fn schema() -> Schema {
        Schema::new(vec![
            Field::new("amount", DataType::Float64, true),
            Field::new("shop", DataType::Utf8, true),
            Field::new("price", DataType::Decimal128(9, 2), true),
        ])
    }

    #[test]
    fn features_of_one_lane_share_a_state() {
        let specs = [
            spec("a", "count", Some(0)),
            spec("b", "stddev", Some(0)),
            spec("c", "sum", Some(0)),
            spec("d", "last", Some(1)),
            FeatureSpec { n: Some(5), ..spec("e", "last_n", Some(1)) },
            spec("f", "count", None),
        ];
        let plan = WindowPlan::new(&schema(), &specs).unwrap();
        let kinds: Vec<_> = plan.slots.iter().map(|s| (s.lane, s.kind.clone())).collect();
        assert_eq!(
            kinds,
            [
                (Some(0), Kind::Moments { sum: true, squares: true }),
                (Some(1), Kind::Last { n: 5 }),
                (None, Kind::Moments { sum: false, squares: false }),
            ]
        );
        assert_eq!(plan.features.iter().map(|f| f.slot).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 2]);
    }

    #[test]
    fn features_share_a_state_only_under_one_secondary_key() {
        let specs = [
            spec("a", "sum", Some(0)),
            FeatureSpec { by: Some(1), ..spec("b", "mean", Some(0)) },
            FeatureSpec { by: Some(1), ..spec("c", "count", Some(0)) },
            FeatureSpec { by: Some(1), ..spec("d", "count", None) },
        ];
        let plan = WindowPlan::new(&schema(), &specs).unwrap();
        assert_eq!(plan.features.iter().map(|f| f.slot).collect::<Vec<_>>(), [0, 1, 1, 2]);
        let map = OutputType::Map { key: LaneType::Utf8, value: LaneType::Float64 };
        assert_eq!(plan.features[1].output, map);
    }

    #[test]
    fn what_cannot_be_compiled_says_why() {
        let cases = [
            (spec("x", "median", Some(0)), "no such function"),
            (spec("x", "sum", Some(1)), "column 'shop', which is Utf8"),
            (spec("x", "sum", None), "names no input column"),
            (spec("x", "sum", Some(9)), "does not exist"),
            (spec("x", "top_k", Some(0)), "n must be"),
            (spec("x", "percentile", Some(0)), "quantile"),
            (FeatureSpec { by: Some(0), ..spec("x", "count", None) }, "floats or decimals"),
            (FeatureSpec { by: Some(9), ..spec("x", "count", None) }, "to group by does not exist"),
            (FeatureSpec { by: Some(1), ..spec("x", "count_distinct", Some(0)) }, "cannot be grouped"),
            (FeatureSpec { window_us: Some(5), ..spec("x", "sum", Some(0)) }, "go together"),
            (FeatureSpec { window_us: Some(-5), hop_us: Some(1), ..spec("x", "sum", Some(0)) }, "positive"),
        ];
        for (bad, why) in cases {
            let error = WindowPlan::new(&schema(), &[bad]).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("'x'"), "{error}");
        }
        let twice = [spec("x", "count", None), spec("x", "count", None)];
        assert!(WindowPlan::new(&schema(), &twice).unwrap_err().to_string().contains("already taken"));
        let odd = Schema::new(vec![Field::new("odd", DataType::Int8, true)]);
        assert!(WindowPlan::new(&odd, &[]).unwrap_err().to_string().contains("'odd' has type Int8"));
    }

    #[test]
    fn tails_sit_on_the_grid_below_and_never_overflow() {
        let window = Window::Sliding { length_us: 10, hop_us: 4 };
        assert_eq!([window.tail(25), window.tail(10), window.tail(9), window.tail(0)], [12, 0, -4, -12]);
        assert_eq!(window.tail(i64::MIN), i64::MIN);
        assert_eq!(window.tail(i64::MIN + 11), i64::MIN);
        assert_eq!(window.tail(i64::MAX), (i64::MAX - 10).div_euclid(4) * 4);
    }
}
