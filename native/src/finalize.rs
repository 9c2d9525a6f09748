//! How a feature's value comes from a state of its slot: one value, or a map with one value per group.

use crate::aggregates::Accumulator;
use crate::aggregates::moments::Moments;
use crate::aggregates::value::{LaneType, ValueRef};
use crate::error::{KernelError, Result};
use crate::output::{OneValue, OutputType, Sink};
use crate::plan::{Feature, Function};

impl Feature {
    /// Appends this feature's value for a state of its slot's kind.
    ///
    /// # Errors
    /// `Overflow`, naming the feature, if an exact sum does not fit its type.
    ///
    /// # Panics
    /// If the state is of another kind.
    pub fn finalize(&self, state: &Accumulator, out: &mut impl Sink) -> Result<()> {
        match state {
            Accumulator::Grouped(groups) => {
                self.finalize_groups(groups.iter(), out, |state, value| self.finalize_value(state, value))
            }
            state => self.finalize_value(state, out),
        }
    }

    /// Appends a map from the states of the groups that there are, ascending by key; none of them is an empty window.
    ///
    /// # Errors
    /// As [`Feature::finalize`], and what `finalize` returns.
    pub fn finalize_groups<'k, S>(
        &self,
        groups: impl Iterator<Item = (ValueRef<'k>, S)>,
        out: &mut impl Sink,
        finalize: impl Fn(S, &mut OneValue) -> Result<()>,
    ) -> Result<()> {
        let entry = |(key, state)| {
            let mut value = OneValue::default();
            finalize(state, &mut value)?;
            Ok((key, value.0))
        };
        let entries = groups.map(entry).collect::<Result<Vec<_>>>()?;
        if entries.is_empty() {
            return self.finalize_empty(out);
        }
        out.push_map(&entries)
    }

    fn finalize_value(&self, state: &Accumulator, out: &mut impl Sink) -> Result<()> {
        match (state, self.function) {
            (Accumulator::Moments(moments), _) => return self.finalize_moments(moments, out),
            (Accumulator::Min(best) | Accumulator::Max(best), _) => {
                out.push_value(best.as_ref().map(|v| v.as_ref()));
            }
            (Accumulator::Ends(ends), Function::First) => out.push_value(ends.values().next()),
            (Accumulator::Ends(ends), Function::Last) => out.push_value(ends.values().next_back()),
            (Accumulator::Ends(ends), _) if ends.values().len() == 0 => out.push_null(),
            (Accumulator::Ends(ends), Function::FirstN(n)) => return out.push_list(ends.values().take(n)),
            (Accumulator::Ends(ends), Function::LastN(n)) => {
                let skipped = ends.values().len().saturating_sub(n);
                return out.push_list(ends.values().skip(skipped));
            }
            (Accumulator::Values(counts), Function::CountDistinct) => out.push_int(counts.distinct() as i64),
            (Accumulator::Values(counts), Function::TopK(_)) if counts.distinct() == 0 => out.push_null(),
            (Accumulator::Values(counts), Function::TopK(k)) => return out.push_list(counts.top(k).into_iter()),
            (Accumulator::Histogram { counts, .. }, Function::Percentile(q)) => out.push_float(counts.percentile(q)),
            (Accumulator::Hll(hll), _) => out.push_int(hll.count()),
            (state, function) => unreachable!("{function:?} of {state:?}"),
        }
        Ok(())
    }

    /// [`Feature::finalize`] for counts, sums and what follows from them.
    #[inline]
    pub fn finalize_moments(&self, moments: &Moments, out: &mut impl Sink) -> Result<()> {
        match self.function {
            Function::Count => out.push_int(moments.count as i64),
            Function::Sum => return self.finalize_sum(moments, out),
            Function::Mean => out.push_float(moments.mean(self.unit)),
            Function::Variance => out.push_float(moments.variance(self.unit)),
            Function::Stddev => out.push_float(moments.variance(self.unit).map(f64::sqrt)),
            function => unreachable!("{function:?} of moments"),
        }
        Ok(())
    }

    fn finalize_sum(&self, moments: &Moments, out: &mut impl Sink) -> Result<()> {
        match self.given {
            OutputType::Scalar(LaneType::Float64) => out.push_float(moments.float_sum()),
            OutputType::Scalar(LaneType::Decimal { .. }) => match moments.integer_sum() {
                None => out.push_null(),
                Some(sum) => out.push_decimal(
                    sum.filter(|s| s.unsigned_abs() < 10u128.pow(38))
                        .ok_or_else(|| self.overflow("decimal128 of 38 digits", "round it to a smaller scale"))?,
                ),
            },
            _ => match moments.integer_sum() {
                None => out.push_null(),
                Some(sum) => out.push_int(
                    sum.and_then(|s| i64::try_from(s).ok())
                        .ok_or_else(|| self.overflow("int64", "cast the column to decimal or float64"))?,
                ),
            },
        }
        Ok(())
    }

    fn overflow(&self, held: &str, fix: &str) -> KernelError {
        KernelError::Overflow(format!(
            "Feature '{}' is a sum too large for {held}. Sums are exact and never wrap: {fix}, or use a shorter window.",
            self.name
        ))
    }

    /// The value of an empty window: 0 for counts, an empty map for counts by a key, null for the rest.
    ///
    /// # Errors
    /// `Overflow` if the sink is full.
    pub fn finalize_empty(&self, out: &mut impl Sink) -> Result<()> {
        match self.function {
            Function::Count if self.by.is_some() => return out.push_map(&[]),
            Function::Count | Function::CountDistinct | Function::ApproxCountDistinct => out.push_int(0),
            _ => out.push_null(),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, Field, Schema};

    use super::*;
    use crate::output::OutputColumn;
    use crate::plan::{FeatureSpec, WindowPlan};

    #[test]
    fn a_decimal_sum_past_38_digits_names_its_feature() {
        let schema = Schema::new(vec![Field::new("price", DataType::Decimal128(9, 2), true)]);
        let spec =
            FeatureSpec { name: "total".into(), function: "sum".into(), lane: Some(0), ..FeatureSpec::default() };
        let plan = WindowPlan::new(&schema, &[spec]).unwrap();
        let mut state = plan.state(&plan.slots[0]);
        let mut out = OutputColumn::new(plan.features[0].output, 1);
        let value = ValueRef::Decimal(10i128.pow(38) - 1);
        state.add(value, 0, 0);
        assert!(plan.features[0].finalize(&state, &mut out).is_ok());
        state.add(value, 1, 1);
        let error = plan.features[0].finalize(&state, &mut out).unwrap_err();
        assert!(matches!(&error, KernelError::Overflow(text) if text.contains("'total'")), "{error}");
    }
}
