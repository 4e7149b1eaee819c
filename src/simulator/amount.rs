//! The simulator's own money: whole pico-dollars, read from and printed as decimal text.
//!
//! Deliberately not `crate::money`: the bill must be able to disagree with the ledger.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Neg, Sub, SubAssign};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

const PER_USD: i128 = 1_000_000_000_000;

/// An amount of money in pico-dollars (1e-12 USD); negative when an account is overdrawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pico(pub i128);

impl Pico {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// That many whole dollars.
    pub const fn usd(dollars: i128) -> Self {
        Self(dollars * PER_USD)
    }

    /// Dollars from decimal text such as `5`, `0.002672` or `7.669e-7`. `None` if it is not a number or finer than a
    /// pico-dollar.
    pub fn parse_usd(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((m, e)) => (m, e.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, digits) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return None;
        }
        let all: i128 = format!("{whole}{fraction}").parse().ok()?;
        let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?.checked_add(12)?;
        let power = 10_i128.checked_pow(shift.unsigned_abs())?;
        let pico = if shift >= 0 {
            all.checked_mul(power)?
        } else if all % power == 0 {
            all / power
        } else {
            return None;
        };
        Some(Self(if negative { -pico } else { pico }))
    }

    /// The JSON number OpenRouter's servers would print: what JavaScript makes of the amount in dollars.
    #[allow(clippy::cast_precision_loss)]
    pub fn to_json(self) -> Value {
        if self.0 % PER_USD == 0
            && let Ok(whole) = i64::try_from(self.0 / PER_USD)
        {
            return Value::from(whole);
        }
        Value::from(self.0 as f64 / PER_USD as f64)
    }

    /// The larger of this and nothing.
    #[must_use]
    pub fn at_least_zero(self) -> Self {
        self.max(Self::ZERO)
    }
}

impl fmt::Display for Pico {
    /// Exact dollars, without trailing zeros and without an exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.unsigned_abs() / 1_000_000_000_000, self.0.unsigned_abs() % 1_000_000_000_000);
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:012}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl Add for Pico {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Pico {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Pico {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Mul<u64> for Pico {
    type Output = Self;
    fn mul(self, by: u64) -> Self {
        Self(self.0 * i128::from(by))
    }
}

impl AddAssign for Pico {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl SubAssign for Pico {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= other.0;
    }
}

impl Sum for Pico {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl Serialize for Pico {
    /// Exact dollars as text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pico {
    /// Dollars, as text or as a number.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            other => return Err(serde::de::Error::custom(format!("not an amount in dollars: {other}"))),
        };
        Self::parse_usd(&text).ok_or_else(|| serde::de::Error::custom(format!("not an amount in dollars: {text}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::json;

    #[test]
    fn amounts_read_and_print_exactly() {
        for (text, pico, printed, javascript) in [
            ("5", 5_000_000_000_000, "5", "5"),
            ("0.002672", 2_672_000_000, "0.002672", "0.002672"),
            ("0.000126255304", 126_255_304, "0.000126255304", "0.000126255304"),
            ("0.0000070581", 7_058_100, "0.0000070581", "0.0000070581"),
            ("7.669e-7", 766_900, "0.0000007669", "7.669e-7"),
            ("3E-7", 300_000, "0.0000003", "3e-7"),
            ("0.000001", 1_000_000, "0.000001", "0.000001"),
            ("0.000000999999", 999_999, "0.000000999999", "9.99999e-7"),
            ("1e-12", 1, "0.000000000001", "1e-12"),
            ("-0.5", -500_000_000_000, "-0.5", "-0.5"),
            ("0", 0, "0", "0"),
            ("99.999999999999", 99_999_999_999_999, "99.999999999999", "99.999999999999"),
        ] {
            let amount = Pico::parse_usd(text).unwrap();
            assert_eq!((amount.0, amount.to_string().as_str()), (pico, printed), "{text}");
            assert_eq!(json::text(&amount.to_json()), javascript, "{text}");
        }
        for text in ["", "-", ".5", "1e", "0x1", "1e-13", "1,5", "NaN"] {
            assert_eq!(Pico::parse_usd(text), None, "{text}");
        }
    }
}
