use std::sync::Arc;

use arrow_array::types::Float32Type;
use arrow_array::types::Int64Type;
use arrow_array::{
    Array, ArrayRef, Decimal128Array, FixedSizeListArray, Float64Array, Int8Array, ListArray, StringArray,
};
use arrow_schema::DataType;

use super::*;
use crate::wire::Reader;

fn round_trip(array: ArrayRef) {
    let kind = Kind::of("x", array.data_type()).expect("a stored type");
    let source = Source::new("x", array.clone()).expect("a stored type");
    let mut bytes = Vec::new();
    (0..array.len()).filter(|row| !source.is_null(*row)).for_each(|row| source.put(row, &mut bytes));
    let mut reader = Reader::new(&bytes);
    let values: Vec<_> =
        (0..array.len()).map(|row| (!array.is_null(row)).then(|| kind.decode(&mut reader).expect("whole"))).collect();
    assert!(reader.is_empty());
    assert_eq!(&to_array(array.data_type(), values.into_iter()).expect("fits"), &array);
    for cut in 0..bytes.len() {
        let mut reader = Reader::new(&bytes[..cut]);
        let all: crate::error::Result<Vec<_>> =
            (0..array.len() - array.null_count()).map(|_| kind.decode(&mut reader)).collect();
        assert!(all.is_err(), "a cut at {cut} must be noticed");
    }
}

#[test]
fn values_survive_the_round_trip_and_cuts_are_noticed() {
    round_trip(Arc::new(Int8Array::from(vec![Some(-128), None, Some(127)])));
    round_trip(Arc::new(Float64Array::from(vec![Some(f64::NEG_INFINITY), Some(-0.0), None])));
    round_trip(Arc::new(StringArray::from(vec![Some(""), None, Some("ü")])));
    let decimals = vec![Some(i128::MAX / 2), Some(-1), None];
    round_trip(Arc::new(Decimal128Array::from(decimals).with_precision_and_scale(38, 3).expect("valid")));
    let lists = vec![Some(vec![Some(1), None, Some(-3)]), None, Some(vec![]), Some(vec![None; 9])];
    round_trip(Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)));
    let vectors = vec![Some(vec![Some(1.5), Some(2.5)]), None, Some(vec![Some(0.0), None])];
    round_trip(Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 2)));
}

#[test]
fn a_value_that_does_not_fit_its_type_is_an_error() {
    assert!(to_array(&DataType::Int8, [Some(Datum::Int(300))].into_iter()).is_err());
    assert!(to_array(&DataType::Utf8, [Some(Datum::Bytes(&[0xff]))].into_iter()).is_err());
    assert!(Kind::Utf8.decode(&mut Reader::new(&[1, 0xff])).is_err());
    assert!(list_items(&Kind::Int, &[0xff, 0xff, 3]).is_err());
}

#[test]
fn unsupported_types_name_the_column() {
    let error = Kind::of("when", &DataType::Float16).expect_err("not stored");
    assert!(error.to_string().contains("'when'"));
}

#[test]
fn days_become_dates() {
    let dates = [0, -1, 59, 11_016, 19_782, -719_468, 2_932_896].map(calendar::civil);
    let expected =
        [(1970, 1, 1), (1969, 12, 31), (1970, 3, 1), (2000, 2, 29), (2024, 2, 29), (0, 3, 1), (9999, 12, 31)];
    assert_eq!(dates, expected);
    assert_eq!(calendar::clock(86_399_999_999), (23, 59, 59, 999_999));
}
