use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};

use super::layout::Layout;
use super::*;
use crate::error::KernelError;
use crate::plan::{FeatureSpec, WindowPlan};

fn plan() -> Arc<WindowPlan> {
    let schema = Schema::new(vec![Field::new("x", DataType::Float64, true), Field::new("s", DataType::Utf8, true)]);
    let spec = |function: &str, lane, by: Option<usize>, window: Option<(i64, i64)>| FeatureSpec {
        name: format!("{function}{lane:?}{by:?}{window:?}"),
        function: function.into(),
        lane: Some(lane),
        window_us: window.map(|window| window.0),
        hop_us: window.map(|window| window.1),
        n: Some(2),
        quantile: Some(0.5),
        by,
    };
    let numbers = ["count", "sum", "stddev", "min", "percentile", "approx_count_distinct"];
    let texts = ["max", "first", "last_n", "top_k"];
    let windows = [Some((20, 5)), Some((6, 2)), None];
    let specs: Vec<_> = windows
        .iter()
        .flat_map(|w| {
            let plain = numbers.map(|f| spec(f, 0, None, *w)).into_iter().chain(texts.map(|f| spec(f, 1, None, *w)));
            plain.chain(["sum", "last"].map(|f| spec(f, 0, Some(1), *w)))
        })
        .collect();
    Arc::new(WindowPlan::new(&schema, &specs).expect("valid"))
}

fn state(plan: &WindowPlan, times: &[i64], instant: i64) -> Vec<u8> {
    let x: ArrayRef = Arc::new(Float64Array::from_iter(times.iter().map(|t| Some(*t as f64 / 3.0))));
    let s: ArrayRef = Arc::new(StringArray::from_iter(times.iter().map(|t| Some(t.to_string()))));
    let lanes = RecordBatch::try_from_iter([("x", x), ("s", s)]).expect("valid");
    let long_ago = vec![i64::MIN; times.len()];
    let events = EventRows {
        codes: &vec![0; times.len()],
        event_time: times,
        available_at: Some(&long_ago),
        retracted_at: None,
        lanes: &lanes,
    };
    build(plan, &events, 1, instant, 1).expect("valid").value(0).to_vec()
}

#[test]
fn tiles_begin_where_a_window_can_begin() {
    let plan = plan();
    let layout = Layout::new(&plan, 33);
    // At 33 the tails are 10 (by 5) and 26 (by 2).
    let cuts = [0, 9, 10, 14, 24, 25, 26, 27, 31, 32, 33, 40].map(|first| layout.cut_after(&plan.windows, first));
    assert_eq!(cuts, [10, 10, 15, 15, 25, 26, 28, 28, 32, 33, 34, 41]);
}

#[test]
fn damaged_states_are_errors_and_never_panic() {
    let plan = plan();
    let reader = StateReader::new(plan.clone(), None, None).expect("valid");
    let value = state(&plan, &[1, 5, 12, 12, 29, 30, 32, 36, 40], 33);
    assert!(reader.read([Some(value.as_slice())].into_iter(), 50).is_ok());
    for cut in 0..value.len() {
        let error = reader.read([Some(&value[..cut])].into_iter(), 50).expect_err("a cut must be noticed");
        assert!(matches!(error, KernelError::Corrupt(_)), "{error}");
    }
    for at in 0..value.len() {
        for bit in 0..8 {
            let mut bad = value.clone();
            bad[at] ^= 1 << bit;
            let _ = reader.read([Some(bad.as_slice())].into_iter(), 50);
        }
    }
}
