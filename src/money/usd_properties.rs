//! Properties of amounts as text: what was printed is read back, and every spelling of a number is the same amount.

use proptest::prelude::*;

use super::usd::{Usd, UsdError};

/// A decimal number as digits with a point, moved by an exponent: `(mantissa, decimals, exponent)`.
fn spelled(mantissa: u64, decimals: usize, exponent: i32, upper: bool) -> String {
    let digits = format!("{mantissa:0>width$}", width = decimals + 1);
    let (integer, fraction) = digits.split_at(digits.len() - decimals);
    let point = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    let e = if upper { 'E' } else { 'e' };
    format!("{integer}{point}{e}{exponent}")
}

/// `mantissa × 10^power` pico-dollars, by arithmetic that knows nothing of text; half away from zero.
fn exactly(mantissa: u64, power: i32) -> Option<i64> {
    let mantissa = i128::from(mantissa);
    let pico = match u32::try_from(power) {
        Ok(up) => mantissa.checked_mul(10i128.checked_pow(up)?)?,
        Err(_) => {
            let Some(unit) = 10i128.checked_pow(power.unsigned_abs()) else { return Some(0) };
            (mantissa + unit / 2) / unit
        }
    };
    i64::try_from(pico).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn what_is_printed_is_read_back(pico in any::<i64>()) {
        let amount = Usd::from_pico(pico);
        prop_assert_eq!(amount.to_decimal().parse::<Usd>(), Ok(amount));
        let shown = amount.to_string().replacen('$', "", 1);
        prop_assert_eq!(shown.parse::<Usd>(), Ok(amount));
    }

    #[test]
    fn every_spelling_is_the_same_amount(
        mantissa in 0u64..=99_999_999_999_999_999,
        decimals in 0usize..20,
        exponent in -30i32..=30,
        upper: bool,
        negative: bool,
    ) {
        let text = spelled(mantissa, decimals, exponent, upper);
        let magnitude = exactly(mantissa, exponent - decimals as i32 + 12);
        let expected = magnitude.map(|pico| Usd::from_pico(if negative { -pico } else { pico })).ok_or(UsdError::Range);
        let text = if negative { format!("-{text}") } else { text };
        prop_assert_eq!(text.parse::<Usd>(), expected, "{}", text);
    }

    #[test]
    fn prices_are_never_rounded_down(mantissa in 0u64..=99_999_999_999_999_999, decimals in 0usize..20, exponent in -30i32..=5) {
        let text = spelled(mantissa, decimals, exponent, false);
        let power = exponent - decimals as i32 + 12;
        let unit = 10i128.pow(power.unsigned_abs().min(37));
        let mantissa = i128::from(mantissa);
        let pico = if power >= 0 { mantissa * unit } else { (mantissa + unit - 1) / unit };
        let expected = i64::try_from(pico).map(Usd::from_pico).map_err(|_| UsdError::Range);
        prop_assert_eq!(Usd::parse_price(text.as_bytes()), expected, "{}", text);
    }

    #[test]
    fn javascripts_doubles_are_read_as_serde_json_reads_their_text(double in 0.0f64..1_000.0) {
        let text = serde_json::Number::from_f64(double).expect("finite").to_string();
        let amount: Usd = text.parse().expect("a JSON number");
        // A double of this size is exact to better than a pico-dollar's half in its 17 digits or so.
        let error = (amount.as_pico() as f64 - double * 1e12).abs();
        prop_assert!(error <= 1.0 + double * 1e12 * f64::EPSILON, "{} as {:?}", text, amount);
    }

    #[test]
    fn no_bytes_are_a_panic(text in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(amount) = Usd::parse(&text) {
            let number = std::str::from_utf8(&text).expect("digits");
            prop_assert!(serde_json::from_str::<f64>(number).is_ok(), "{} is no JSON number, yet {:?}", number, amount);
        }
    }

    #[test]
    fn sums_are_exact_or_refused(a in any::<i64>(), b in any::<i64>()) {
        let (left, right) = (Usd::from_pico(a), Usd::from_pico(b));
        prop_assert_eq!(left.checked_add(right), a.checked_add(b).map(Usd::from_pico));
        prop_assert_eq!(left.checked_sub(right), a.checked_sub(b).map(Usd::from_pico));
    }
}
