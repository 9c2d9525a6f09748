use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, StringArray};

use super::*;
use crate::error::KernelError;

fn ints(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn keys(columns: Vec<ArrayRef>) -> KeyColumns {
    KeyColumns::new(columns).expect("valid key columns")
}

fn encoded(columns: Vec<ArrayRef>) -> Vec<Option<Vec<u8>>> {
    encode_keys(&keys(columns)).iter().map(|key| key.map(<[u8]>::to_vec)).collect()
}

#[test]
fn parts_never_run_into_each_other() {
    let first = encoded(vec![texts(&[Some("ab"), Some("a")]), texts(&[Some("c"), Some("bc")])]);
    assert_ne!(first[0], first[1]);
}

#[test]
fn types_never_collide() {
    let text = encoded(vec![texts(&[Some("1")])]);
    let binary = encoded(vec![Arc::new(BinaryArray::from(vec![Some(b"1".as_slice())]))]);
    let boolean = encoded(vec![Arc::new(BooleanArray::from(vec![true]))]);
    assert!(text != binary && binary != boolean && boolean != encoded(vec![ints(&[Some(1)])]));
}

#[test]
fn integer_keys_sort_as_their_values() {
    let values = [i64::MIN, -5, -1, 0, 1, 256, i64::MAX];
    let bytes = encoded(vec![ints(&values.map(Some))]);
    assert!(bytes.is_sorted() && bytes.iter().all(Option::is_some));
}

#[test]
fn a_null_part_makes_a_null_key() {
    assert_eq!(encoded(vec![ints(&[Some(1), None]), texts(&[None, Some("x")])]), vec![None, None]);
}

#[test]
fn long_keys_are_hashed_and_stay_distinct() {
    let long = "x".repeat(KEY_MAX_BYTES);
    let other = format!("{}y", &long[1..]);
    let bytes = encoded(vec![texts(&[Some(&long), Some(&other), Some(&long)])]);
    assert_eq!(bytes[0].as_ref().map(Vec::len), Some(33));
    assert!(bytes[0] != bytes[1] && bytes[0] == bytes[2]);
}

#[test]
fn unequal_lengths_no_columns_and_floats_are_refused() {
    assert!(matches!(KeyColumns::new(vec![]), Err(KernelError::Invalid(_))));
    assert!(matches!(KeyColumns::new(vec![ints(&[Some(1)]), ints(&[])]), Err(KernelError::Invalid(_))));
    assert!(matches!(KeyColumns::new(vec![Arc::new(Float64Array::from(vec![1.0]))]), Err(KernelError::Type(_))));
}

fn check_codes(batches: &[Vec<Option<i64>>]) {
    let mut index = KeyIndex::new(vec![KeyType::Int64]);
    let mut expected = HashMap::new();
    for batch in batches {
        let codes = index.extend(&keys(vec![ints(batch)])).expect("same types");
        for (key, code) in batch.iter().zip(&codes) {
            let next = expected.len() as i32;
            let want = key.map_or(-1, |key| *expected.entry(key).or_insert(next));
            assert_eq!(*code, want);
        }
        assert_eq!(index.lookup(&keys(vec![ints(batch)])).expect("same types"), codes);
    }
    assert_eq!(index.len(), expected.len());
}

#[test]
fn codes_follow_first_sight_across_dense_and_hashed_tables() {
    check_codes(&[vec![Some(5), None, Some(5), Some(2)], vec![Some(-100), Some(70_000), Some(2)]]);
    check_codes(&[vec![Some(5), Some(7)], vec![Some(i64::MAX), Some(i64::MIN), Some(6), Some(7)], vec![Some(8)]]);
    check_codes(&[vec![Some(i64::MAX), Some(i64::MAX - 3)], vec![Some(i64::MAX - 9)]]);
    check_codes(&[vec![None], vec![], vec![Some(i64::MIN), Some(i64::MIN + 1)]]);
}

#[test]
fn unknown_integers_outside_the_dense_range_are_minus_one() {
    let mut index = KeyIndex::new(vec![KeyType::Int64]);
    index.extend(&keys(vec![ints(&[Some(i64::MAX - 2)])])).expect("same types");
    let unknown = keys(vec![ints(&[Some(i64::MIN), Some(0), Some(i64::MAX), Some(i64::MAX - 2)])]);
    assert_eq!(index.lookup(&unknown).expect("same types"), [-1, -1, -1, 0]);
}

#[test]
fn composite_and_text_keys_get_codes_too() {
    let pair = |a: &[Option<i64>], b: &[Option<&str>]| keys(vec![ints(a), texts(b)]);
    let mut index = KeyIndex::new(vec![KeyType::Int64, KeyType::Utf8]);
    let rows = pair(&[Some(1), Some(1), None, Some(1)], &[Some("a"), Some("b"), Some("a"), Some("a")]);
    assert_eq!(index.extend(&rows).expect("same types"), [0, 1, -1, 0]);
    assert_eq!(index.lookup(&pair(&[Some(2)], &[Some("a")])).expect("same types"), [-1]);
    assert!(matches!(index.lookup(&keys(vec![ints(&[Some(1)])])), Err(KernelError::Type(_))));
}

#[test]
fn partitions_are_in_range_spread_out_and_fixed_for_ever() {
    let rows: Vec<_> = (0..10_000).map(Some).collect();
    let parts = partition(&keys(vec![ints(&rows)]), 7);
    let mut sizes = [0; 7];
    parts.iter().for_each(|part| sizes[*part as usize] += 1);
    assert!(sizes.iter().all(|size| (1200..1700).contains(size)), "{sizes:?}");
    let pinned = partition(&keys(vec![texts(&[Some("a"), Some("customer-17"), None])]), 1000);
    assert_eq!(pinned, [456, 644, 0]);
}
