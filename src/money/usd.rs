//! [`Usd`]: an exact amount of US dollars.
//!
//! OpenRouter's credits are dollars, and its JSON prints costs the way JavaScript prints doubles: `0`, `0.002672`,
//! `7.669e-7` (`openrouter-api.md` section 3). Amounts are therefore read from the decimal text itself, never
//! through a float.

use std::fmt;
use std::str::FromStr;

/// An amount of US dollars, counted in pico-dollars (1e-12 USD) in 64 bits: up to about ±9.2 million dollars, exactly.
///
/// There is no `From<f64>` and no `+`: sums are checked, and an overflow is the caller's to handle.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(i64);

const PICO_DIGITS: i32 = 12;
const PICO: i64 = 1_000_000_000_000;
/// JavaScript prints a double with at most 21 integer digits and 17 significant ones; anything longer is not a cost.
const TEXT_MAX_BYTES: usize = 64;

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsdError {
    /// Not a decimal number in JSON's or plain notation.
    #[error("not a decimal number")]
    Syntax,
    /// Beyond what 64 bits of pico-dollars hold.
    #[error("amount out of range")]
    Range,
}

impl Usd {
    /// Nothing, known to be nothing.
    pub const ZERO: Self = Self(0);

    /// So many pico-dollars.
    pub const fn from_pico(pico: i64) -> Self {
        Self(pico)
    }

    /// The amount in pico-dollars.
    pub const fn as_pico(self) -> i64 {
        self.0
    }

    /// Whether the amount is below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// The sum, or `None` on overflow.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or `None` on overflow.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// The sum, held at the largest amount on overflow. For orderings and gauges, never for the books.
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Read a decimal number in JSON notation (`1`, `-0.5`, `7.669e-7`, `3E-7`).
    ///
    /// Digits below one pico-dollar are rounded half away from zero: doubles printed by JavaScript carry noise in the
    /// 17th digit (`0.30000000000000004`), far below what anybody is billed.
    ///
    /// # Errors
    /// [`UsdError::Syntax`] when the bytes are no JSON number, [`UsdError::Range`] when it does not fit.
    pub fn parse(text: &[u8]) -> Result<Self, UsdError> {
        let (negative, rest) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            _ => (false, text),
        };
        let magnitude = Decimal::split(rest)?.pico(Rounding::HalfAway)?;
        let signed = if negative { -magnitude } else { magnitude };
        i64::try_from(signed).map(Self).map_err(|_| UsdError::Range)
    }

    /// Read a price: like [`Usd::parse`], but never negative, and with digits below one pico-dollar rounded up, so that
    /// what is reckoned with it is never below the truth.
    ///
    /// # Errors
    /// As [`Usd::parse`]; a sign is no part of a price.
    pub fn parse_price(text: &[u8]) -> Result<Self, UsdError> {
        let pico = Decimal::split(text)?.pico(Rounding::Up)?;
        i64::try_from(pico).map(Self).map_err(|_| UsdError::Range)
    }
}

/// What becomes of digits below one pico-dollar.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rounding {
    HalfAway,
    Up,
}

/// A JSON number without its sign, taken apart: digits, of which `fraction` stand behind the point, times 10^exponent.
struct Decimal<'a> {
    integer: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
}

impl<'a> Decimal<'a> {
    fn split(text: &'a [u8]) -> Result<Self, UsdError> {
        if text.len() > TEXT_MAX_BYTES {
            return Err(UsdError::Syntax);
        }
        let (integer, rest) = split_digits(text);
        if integer.is_empty() || (integer.len() > 1 && integer.first() == Some(&b'0')) {
            return Err(UsdError::Syntax);
        }
        let (fraction, rest) = match rest.split_first() {
            Some((b'.', rest)) => match split_digits(rest) {
                ([], _) => return Err(UsdError::Syntax),
                split => split,
            },
            _ => (&[][..], rest),
        };
        let exponent = match rest.split_first() {
            None => 0,
            Some((b'e' | b'E', rest)) => read_exponent(rest)?,
            Some(_) => return Err(UsdError::Syntax),
        };
        Ok(Self { integer, fraction, exponent })
    }

    /// The value in pico-dollars (the sign is applied by the caller).
    fn pico(&self, rounding: Rounding) -> Result<i128, UsdError> {
        // How many of the digits count whole pico-dollars; the first one after decides the rounding.
        let whole = self.integer.len() as i64 + i64::from(self.exponent) + i64::from(PICO_DIGITS);
        let digits = self.integer.len() as i64 + self.fraction.len() as i64;
        let mut value: i128 = 0;
        let mut text = (0i64..).zip(self.integer.iter().chain(self.fraction));
        while let Some((at, digit)) = text.next() {
            if at < whole {
                value = value * 10 + i128::from(digit - b'0');
                if value > i128::from(i64::MAX) + 1 {
                    return Err(UsdError::Range);
                }
            } else {
                let more = match rounding {
                    Rounding::HalfAway => at == whole && *digit >= b'5',
                    Rounding::Up => *digit != b'0' || text.any(|(_, digit)| *digit != b'0'),
                };
                return Ok(value + i128::from(more));
            }
        }
        if value == 0 {
            return Ok(0);
        }
        for _ in digits..whole {
            value *= 10;
            if value > i128::from(i64::MAX) + 1 {
                return Err(UsdError::Range);
            }
        }
        Ok(value)
    }
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

fn read_exponent(text: &[u8]) -> Result<i32, UsdError> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(UsdError::Syntax);
    }
    // Past a thousand every nonzero amount is out of range or rounds to nothing, so the digits need not be kept.
    let magnitude = digits.iter().fold(0i32, |n, d| (n * 10 + i32::from(d - b'0')).min(1000));
    Ok(if negative { -magnitude } else { magnitude })
}

impl FromStr for Usd {
    type Err = UsdError;

    fn from_str(text: &str) -> Result<Self, UsdError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for Usd {
    /// Dollars with every significant digit and at least four decimals: `$2.4567`, `$0.0000`, `$0.000126255304`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}${}", Plain(self.0.unsigned_abs(), 4))
    }
}

impl fmt::Debug for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Usd({self})")
    }
}

impl Usd {
    /// The amount as a plain decimal without a currency sign, exactly: `2.4567`, `0`, `-0.000000000001`.
    pub fn to_decimal(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        format!("{sign}{}", Plain(self.0.unsigned_abs(), 0))
    }

    /// The amount as a JSON number, for answers in OpenRouter's shape. Display only: it passes through a double.
    pub fn to_json(self) -> serde_json::Value {
        self.to_decimal().parse::<serde_json::Number>().map_or(serde_json::Value::Null, serde_json::Value::Number)
    }
}

/// Magnitude in pico-dollars, and the least number of decimals to print.
struct Plain(u64, usize);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, pico) = (self.0 / PICO as u64, self.0 % PICO as u64);
        let digits = format!("{pico:012}");
        let significant = digits.trim_end_matches('0').len().max(self.1);
        match digits.get(..significant) {
            Some(decimals) if !decimals.is_empty() => write!(f, "{dollars}.{decimals}"),
            _ => write!(f, "{dollars}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, pico: i64) {
        assert_eq!(Usd::parse(text.as_bytes()), Ok(Usd(pico)), "{text}");
    }

    #[test]
    fn reads_what_openrouter_prints() {
        check("0", 0);
        check("-0", 0);
        check("0.00492", 4_920_000_000);
        check("0.000126255304", 126_255_304);
        check("0.0000070581", 7_058_100);
        check("7.669e-7", 766_900);
        check("3e-7", 300_000);
        check("3E-7", 300_000);
        check("1e0", PICO);
        check("12.5E+1", 125 * PICO);
        check("0.30000000000000004", 300_000_000_000);
        check("0.0000000000005", 1);
        check("0.00000000000049999", 0);
        check("-0.0000000000005", -1);
        check("1e-400", 0);
        check("0e999999999999", 0);
        check("9223372.036854775807", i64::MAX);
    }

    #[test]
    fn refuses_what_is_no_amount() {
        for text in
            ["", "-", "+1", ".5", "5.", "1e", "1e+", "01", "0x5", "NaN", "Infinity", "1 ", "\"1\"", "1,5", "null"]
        {
            assert_eq!(Usd::parse(text.as_bytes()), Err(UsdError::Syntax), "{text}");
        }
        for text in ["9223372.036854775808", "1e7", "1e400", "-1e30"] {
            assert_eq!(Usd::parse(text.as_bytes()), Err(UsdError::Range), "{text}");
        }
    }

    #[test]
    fn prices_round_up_and_have_no_sign() {
        for (text, pico) in [
            ("0", 0),
            ("0.00000015", 150_000),
            ("0.0000000416666666666667", 41_667),
            ("0.0000000000001", 1),
            ("1.000000000000000000001e-12", 2),
            ("1e-400", 1),
            ("0e-400", 0),
            ("2e-7", 200_000),
            ("3", 3 * PICO),
        ] {
            assert_eq!(Usd::parse_price(text.as_bytes()), Ok(Usd(pico)), "{text}");
        }
        for text in ["-1", "-0", "+1", "", "free", "1,5", " 1", "0.5 "] {
            assert_eq!(Usd::parse_price(text.as_bytes()), Err(UsdError::Syntax), "{text}");
        }
    }

    #[test]
    fn prints_every_digit() {
        assert_eq!(Usd(2_456_700_000_000).to_string(), "$2.4567");
        assert_eq!(Usd(0).to_string(), "$0.0000");
        assert_eq!(Usd(126_255_304).to_string(), "$0.000126255304");
        assert_eq!(Usd(-1).to_string(), "-$0.000000000001");
        assert_eq!(Usd(5 * PICO).to_decimal(), "5");
        assert_eq!(Usd(-1_500_000_000_000).to_decimal(), "-1.5");
    }
}
