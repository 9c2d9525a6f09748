//! Values as JSON: numbers round-trip, times are ISO 8601, what JSON has no form for is a string.

use std::io::Write;

use crate::error::Result;
use crate::values::calendar::{DAY_US, civil, clock};
use crate::values::{Datum, Kind, list_items, map_entries};

/// Appends items separated by commas.
pub fn put_list<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, mut put: impl FnMut(&mut Vec<u8>, T)) {
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        put(out, item);
    }
}

/// Appends a value of the given kind. Infinities are the strings "Infinity" and "-Infinity", a NaN is null, decimals
/// are strings, binary is base64, durations are microseconds, lists are arrays, maps objects with their keys as text.
///
/// # Errors
/// `Corrupt` for a damaged list.
#[inline]
pub fn put_datum(out: &mut Vec<u8>, kind: &Kind, datum: Datum<'_>) -> Result<()> {
    match (kind, datum) {
        (_, Datum::Bool(value)) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        (Kind::Date, Datum::Int(days)) => quoted(out, |out| put_date(out, days)),
        (Kind::Timestamp, Datum::Int(time)) => put_instant(out, time),
        (Kind::Time, Datum::Int(time)) => quoted(out, |out| put_clock(out, time)),
        (_, Datum::Int(value)) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        (_, Datum::Float(value)) if !value.is_finite() => out.extend_from_slice(not_finite(value)),
        (Kind::Float32, Datum::Float(value)) => {
            out.extend_from_slice(ryu::Buffer::new().format_finite(value as f32).as_bytes());
        }
        (_, Datum::Float(value)) => out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes()),
        (Kind::Decimal { scale }, Datum::Decimal(value)) => quoted(out, |out| put_decimal(out, value, *scale)),
        (_, Datum::Decimal(value)) => quoted(out, |out| put_decimal(out, value, 0)),
        (Kind::Binary, Datum::Bytes(bytes)) => quoted(out, |out| put_base64(out, bytes)),
        (_, Datum::Bytes(bytes)) => put_utf8(out, bytes),
        (Kind::List(item), Datum::List(bytes)) => put_items(out, item, bytes)?,
        (Kind::Map(kinds), Datum::List(bytes)) => put_map(out, kinds, bytes)?,
        (_, Datum::List(_)) => out.extend_from_slice(b"null"),
    }
    Ok(())
}

fn put_items(out: &mut Vec<u8>, item: &Kind, bytes: &[u8]) -> Result<()> {
    out.push(b'[');
    for (i, value) in list_items(item, bytes)?.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        match value? {
            Some(datum) => put_datum(out, item, datum)?,
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b']');
    Ok(())
}

fn put_map(out: &mut Vec<u8>, kinds: &(Kind, Kind), bytes: &[u8]) -> Result<()> {
    out.push(b'{');
    for (i, entry) in map_entries(kinds, bytes)?.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let (key, value) = entry?;
        let start = out.len();
        put_datum(out, &kinds.0, key)?;
        if out[start] != b'"' {
            out.insert(start, b'"');
            out.push(b'"');
        }
        out.push(b':');
        match value {
            Some(datum) => put_datum(out, &kinds.1, datum)?,
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
    Ok(())
}

fn quoted(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    put(out);
    out.push(b'"');
}

fn not_finite(value: f64) -> &'static [u8] {
    match value {
        f64::INFINITY => b"\"Infinity\"",
        f64::NEG_INFINITY => b"\"-Infinity\"",
        _ => b"null",
    }
}

/// Appends microseconds since the epoch as a quoted ISO 8601 instant in UTC, without a fraction where it is zero.
pub fn put_instant(out: &mut Vec<u8>, time: i64) {
    quoted(out, |out| {
        put_date(out, time.div_euclid(DAY_US));
        out.push(b'T');
        put_clock(out, time.rem_euclid(DAY_US));
        out.push(b'Z');
    });
}

fn put_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    if (0..=9999).contains(&year) {
        put_digits(out, year as u32, 4);
    } else {
        // ISO 8601 writes years of more than four digits with a sign.
        write!(out, "{year:+07}").expect("a Vec takes every write");
    }
    out.push(b'-');
    put_digits(out, month.into(), 2);
    out.push(b'-');
    put_digits(out, day.into(), 2);
}

fn put_clock(out: &mut Vec<u8>, micros: i64) {
    let (hour, minute, second, fraction) = clock(micros);
    put_digits(out, hour.into(), 2);
    out.push(b':');
    put_digits(out, minute.into(), 2);
    out.push(b':');
    put_digits(out, second.into(), 2);
    if fraction > 0 {
        out.push(b'.');
        put_digits(out, fraction, 6);
    }
}

fn put_digits(out: &mut Vec<u8>, mut value: u32, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Appends an unscaled decimal as plain digits with `scale` of them after the point.
pub fn put_decimal(out: &mut Vec<u8>, value: i128, scale: i8) {
    if value < 0 {
        out.push(b'-');
    }
    let scale = scale as usize;
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    out.extend_from_slice(whole.as_bytes());
    if scale > 0 {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
}

fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let digit = |i: usize| DIGITS[(word >> (18 - 6 * i)) as usize & 63];
        out.extend((0..4).map(|i| if i <= chunk.len() { digit(i) } else { b'=' }));
    }
}

/// Appends a quoted string.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put_utf8(out, text.as_bytes());
}

fn put_utf8(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let mut copied = 0;
    for (i, byte) in bytes.iter().enumerate().filter(|(_, byte)| **byte < 0x20 || matches!(**byte, b'"' | b'\\')) {
        out.extend_from_slice(&bytes[copied..i]);
        copied = i + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => write!(out, "\\u{byte:04x}").expect("a Vec takes every write"),
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}
