use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};

use super::*;
use crate::values::Datum;

fn schema() -> Schema {
    Schema::new(vec![Field::new("score", DataType::Float64, true), Field::new("name", DataType::Utf8, true)])
}

/// (code, event time, available at, deleted); the score is the row number, the name its text.
fn built(plan: &RowPlan, rows: &[(i32, i64, i64, bool)], instant: i64) -> Vec<Option<Vec<u8>>> {
    let ints = |f: fn(&(i32, i64, i64, bool)) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(f)))
    };
    let codes: ArrayRef = Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0)));
    let deleted: ArrayRef = Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.3))));
    let source = SourceRows::new(&codes, &ints(|row| row.1), Some(&ints(|row| row.2)), Some(&deleted), None);
    let scores = Float64Array::from_iter((0..rows.len()).map(|row| Some(row as f64)));
    let names = StringArray::from_iter((0..rows.len()).map(|row| Some(row.to_string())));
    let batch = RecordBatch::try_new(Arc::new(schema()), vec![Arc::new(scores), Arc::new(names)]).expect("valid");
    let values = plan.build(&source.expect("valid"), &batch, 2, instant).expect("valid");
    values.iter().map(|value| value.map(<[u8]>::to_vec)).collect()
}

fn read(plan: &RowPlan, value: Option<&[u8]>, instant: i64) -> (Option<f64>, u8, Option<i64>) {
    let block = plan.read([value].into_iter(), instant).expect("readable");
    let score = block.value(0, 0).map(|datum| if let Datum::Float(score) = datum { score } else { f64::NAN });
    (score, block.status(0, 0), block.event_time(0))
}

#[test]
fn the_newest_known_row_wins_and_later_ones_wait() {
    let plan = RowPlan::new(&schema(), Some(5), None).expect("valid");
    let rows =
        [(0, 3, 3, false), (0, 3, 4, false), (0, 2, 2, false), (0, 9, 1, false), (0, 9, 1, false), (0, 4, 99, false)];
    let value = built(&plan, &rows, 4)[0].clone();
    let at = |instant| read(&plan, value.as_deref(), instant);
    assert_eq!(at(4), (Some(1.0), status::PRESENT, Some(3)));
    assert_eq!(at(8), (Some(1.0), status::PRESENT, Some(3)));
    assert_eq!(at(9), (Some(4.0), status::PRESENT, Some(9)));
    assert_eq!(at(14), (Some(4.0), status::PRESENT, Some(9)));
    assert_eq!(at(15), (None, status::EXPIRED, Some(9)));
    assert_eq!(built(&plan, &rows, 4)[1], None);
}

#[test]
fn a_tombstone_hides_and_unknown_keys_are_missing() {
    let plan = RowPlan::new(&schema(), None, None).expect("valid");
    let values = built(&plan, &[(0, 1, 1, false), (0, 2, 2, true), (-1, 0, 0, false)], 5);
    assert_eq!(read(&plan, values[0].as_deref(), 5), (None, status::MISSING, None));
    assert_eq!(read(&plan, None, 5), (None, status::MISSING, None));
}

#[test]
fn merging_never_lets_an_older_row_win() {
    let plan = RowPlan::new(&schema(), None, None).expect("valid");
    let older = built(&plan, &[(0, 1, 9, false)], 9)[0].clone();
    let newer = built(&plan, &[(1, 0, 0, false), (0, 2, 2, false), (0, 20, 3, false)], 9)[0].clone();
    for (old, new) in [(&older, &newer), (&newer, &older)] {
        let merged = plan.merge([old.as_deref()].into_iter(), [new.as_deref()].into_iter(), 9).expect("readable");
        assert_eq!(Some(merged.value(0)), newer.as_deref());
    }
}

#[test]
fn damaged_bytes_are_errors_and_never_panic() {
    let plan = RowPlan::new(&schema(), None, None).expect("valid");
    let value = built(&plan, &[(0, 1, 1, false)], 5)[0].clone().expect("a value");
    for cut in (1..value.len()).filter(|cut| *cut != 3) {
        assert!(plan.read([Some(&value[..cut])].into_iter(), 5).is_err(), "cut at {cut}");
    }
    for at in 0..value.len() {
        for bit in 0..8 {
            let mut bad = value.clone();
            bad[at] ^= 1 << bit;
            let _ = plan.read([Some(bad.as_slice())].into_iter(), 5);
        }
    }
    let other = RowPlan::new(&Schema::new(vec![Field::new("x", DataType::Int64, true)]), None, None).expect("valid");
    assert!(matches!(other.read([Some(value.as_slice())].into_iter(), 5), Err(KernelError::Corrupt(_))));
}
