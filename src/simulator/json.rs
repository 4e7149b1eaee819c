//! JSON as a JavaScript server prints it: whole numbers without a point, exponents from 1e-7 downwards.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Compact JSON with JavaScript's rules for numbers.
struct JavaScript;

impl Formatter for JavaScript {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let size = value.abs();
        if size != 0.0 && size < 1e-6 {
            return write!(writer, "{value:e}");
        }
        if size < 1e21 {
            return write!(writer, "{value}");
        }
        // JavaScript writes the plus sign of a large exponent, Rust does not.
        write!(writer, "{}", format!("{value:e}").replace('e', "e+"))
    }
}

/// The value's bytes.
pub fn bytes<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut serializer = Serializer::with_formatter(&mut out, JavaScript);
    match value.serialize(&mut serializer) {
        Ok(()) => out,
        // Only a map with keys that are not text can fail, and there is none here.
        Err(error) => error.to_string().into_bytes(),
    }
}

/// The value's text.
pub fn text<T: Serialize + ?Sized>(value: &T) -> String {
    String::from_utf8(bytes(value)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn numbers_as_javascript_prints_them() {
        for (value, expected) in [
            (json!(3.0), "3"),
            (json!(0.1), "0.1"),
            (json!(1e-7), "1e-7"),
            (json!(0.000_001), "0.000001"),
            (json!(1.5e22), "1.5e+22"),
            (json!({"a": [1, 2.5, "é", null]}), r#"{"a":[1,2.5,"é",null]}"#),
        ] {
            assert_eq!(super::text(&value), expected);
        }
    }
}
