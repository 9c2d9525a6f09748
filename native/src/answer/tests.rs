use arrow_schema::DataType;

use super::json::{put_decimal, put_text};
use super::*;

fn json(kind: &Kind, datum: Datum<'_>) -> String {
    let mut out = Vec::new();
    put_datum(&mut out, kind, datum).expect("a whole value");
    String::from_utf8(out).expect("JSON is UTF-8")
}

#[test]
fn floats_are_the_shortest_that_round_trip() {
    let texts = [0.1, -0.0, 1e300, 5e-324, 3.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]
        .map(|value| json(&Kind::Float64, Datum::Float(value)));
    assert_eq!(texts, ["0.1", "-0.0", "1e300", "5e-324", "3.0", "\"Infinity\"", "\"-Infinity\"", "null"]);
    assert_eq!(json(&Kind::Float32, Datum::Float(f64::from(0.1f32))), "0.1");
}

#[test]
fn maps_are_objects_with_text_keys() {
    use crate::values::put_entries;
    let map = |key: Kind, entries: &[(Datum<'_>, Option<Datum<'_>>)]| {
        let mut bytes = Vec::new();
        put_entries(&mut bytes, (&key, &Kind::Float64), entries);
        json(&Kind::Map(Box::new((key, Kind::Float64))), Datum::List(&bytes))
    };
    let texts = [(Datum::Bytes(b"a\""), Some(Datum::Float(0.5))), (Datum::Bytes(b"b"), None)];
    assert_eq!(map(Kind::Utf8, &texts), r#"{"a\"":0.5,"b":null}"#);
    assert_eq!(map(Kind::Int, &[(Datum::Int(-7), Some(Datum::Float(1.0)))]), r#"{"-7":1.0}"#);
    assert_eq!(map(Kind::Bool, &[(Datum::Bool(true), None)]), r#"{"true":null}"#);
    assert_eq!(map(Kind::Date, &[(Datum::Int(0), None)]), r#"{"1970-01-01":null}"#);
    assert_eq!(map(Kind::Utf8, &[]), "{}");
}

#[test]
fn times_are_iso_8601() {
    let times = [0, -1, 1_500_000, 253_402_300_799_999_999, 253_402_300_800_000_000, i64::MIN]
        .map(|time| json(&Kind::Timestamp, Datum::Int(time)));
    let expected = [
        "\"1970-01-01T00:00:00Z\"",
        "\"1969-12-31T23:59:59.999999Z\"",
        "\"1970-01-01T00:00:01.500000Z\"",
        "\"9999-12-31T23:59:59.999999Z\"",
        "\"+010000-01-01T00:00:00Z\"",
        "\"-290308-12-21T19:59:05.224192Z\"",
    ];
    assert_eq!(times, expected);
    assert_eq!(json(&Kind::Date, Datum::Int(-1)), "\"1969-12-31\"");
    assert_eq!(json(&Kind::Time, Datum::Int(3_600_000_001)), "\"01:00:00.000001\"");
}

#[test]
fn decimals_keep_every_digit() {
    let cases = [(5, 2), (-5, 2), (12345, 2), (0, 0), (i128::MIN, 3)].map(|(value, scale)| {
        let mut out = Vec::new();
        put_decimal(&mut out, value, scale);
        String::from_utf8(out).expect("digits")
    });
    assert_eq!(cases, ["0.05", "-0.05", "123.45", "0", "-170141183460469231731687303715884105.728"]);
}

#[test]
fn text_is_escaped_and_bytes_are_base64() {
    let mut out = Vec::new();
    put_text(&mut out, "a\"\\\n\u{1}ü");
    assert_eq!(String::from_utf8(out).expect("UTF-8"), "\"a\\\"\\\\\\n\\u0001ü\"");
    let texts = [b"".as_slice(), b"f", b"fo", b"foo", b"foob"].map(|b| json(&Kind::Binary, Datum::Bytes(b)));
    assert_eq!(texts, ["\"\"", "\"Zg==\"", "\"Zm8=\"", "\"Zm9v\"", "\"Zm9vYg==\""]);
}

#[test]
fn lists_are_arrays_with_nulls() {
    let kind = Kind::of("x", &DataType::new_list(DataType::Int64, true)).expect("stored");
    assert_eq!(json(&kind, Datum::List(&[3, 0b010, 2, 6])), "[1,null,3]");
    assert_eq!(json(&kind, Datum::List(&[0])), "[]");
}

#[test]
fn plans_and_blocks_must_fit() {
    let pick = |block| Pick { block, column: 0, name: "x".into() };
    assert!(AnswerPlan::new(vec!["a".into()], vec![pick(1)]).is_err());
    let plan = Arc::new(AnswerPlan::new(vec!["a".into()], vec![pick(0)]).expect("valid"));
    assert!(Answer::new(plan, vec![]).is_err());
}
