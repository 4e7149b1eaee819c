//! What a donor allows, as it stands in bodies, and how it is read into a change of [`Limits`].

use serde_json::json;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::clock::Timestamp;
use crate::money::{Caps, Limits, ModelGlobs, Usd, Window};

use super::fields::{Fields, Said};
use super::refused::Refused;
use super::text;

/// Patterns of one key.
const MODELS_MAX: usize = 64;
/// Characters of one pattern; the longest model's name has half as many.
const MODEL_MAX_CHARS: usize = 128;

const AMOUNT: &str = "a number of dollars above zero";
pub(super) const CONCURRENCY: &str = "a whole number above zero";
pub(super) const MODELS: &str = "a list of at most 64 patterns of model names, such as anthropic/*, each of at most 128 letters, \
     digits, -, _, ., :, /, @, ~, +, * and ?";
pub(super) const EXPIRES_AT: &str = "a time to come, such as 2027-01-01T00:00:00Z or 2027-01-01";

/// What a donor allows. A member that is absent stays as it is (in a donation: is not limited), and `null` lifts it.
#[derive(Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct LimitsWord {
    /// The most that the pool may spend on the key in each window; all of them hold at once. `null` lifts all.
    #[schema(value_type = Option<CapsWord>)]
    caps: Said<CapsWord>,
    /// Dollars that stay the owner's of whatever OpenRouter says is left of the key's limit and its account's credit.
    #[schema(value_type = Option<f64>, exclusive_minimum = 0, example = 1.5)]
    reserve: Said<Usd>,
    /// Which models may be asked for: patterns in which `*` stands for anything and `?` for one character. All when the
    /// list is empty.
    #[schema(value_type = Option<Vec<String>>, max_items = 64, example = json!(["anthropic/*"]))]
    models: Said<Vec<String>>,
    /// The most requests at a time.
    #[schema(value_type = Option<u32>, minimum = 1, example = 4)]
    concurrency: Said<u32>,
    /// Out of rotation until this is `false` again.
    #[schema(value_type = Option<bool>)]
    paused: Said<bool>,
    /// Out of rotation from then on: RFC 3339, or a date, which begins at 00:00 UTC.
    #[schema(value_type = Option<String>, example = "2027-01-01T00:00:00Z")]
    expires_at: Said<Timestamp>,
}

/// Caps in dollars. Windows are UTC: a day begins at 00:00, a week on Monday, a month on its first day.
#[derive(Debug, Default, PartialEq, Eq, ToSchema)]
pub(super) struct CapsWord {
    /// In a calendar day.
    #[schema(value_type = Option<f64>, exclusive_minimum = 0, example = 5)]
    day: Said<Usd>,
    /// From Monday to Sunday.
    #[schema(value_type = Option<f64>, exclusive_minimum = 0)]
    week: Said<Usd>,
    /// In a calendar month.
    #[schema(value_type = Option<f64>, exclusive_minimum = 0)]
    month: Said<Usd>,
    /// For ever: never starts anew.
    #[schema(value_type = Option<f64>, exclusive_minimum = 0)]
    total: Said<Usd>,
}

/// The whole names of an object of amounts by window, and of its members: day, week, month, total.
pub(super) type CapNames = [&'static str; 5];

const CAPS: CapNames = ["limits.caps", "limits.caps.day", "limits.caps.week", "limits.caps.month", "limits.caps.total"];

impl LimitsWord {
    /// Take `limits` out of a body.
    pub(super) fn take(body: &mut Fields, now: Timestamp) -> Result<Option<Self>, Refused> {
        let Said::Set(mut fields) = body.object("limits")? else { return Ok(None) };
        let word = Self {
            caps: CapsWord::take(&mut fields, &CAPS)?,
            reserve: fields.said("limits.reserve", AMOUNT, amount)?,
            models: fields.said("limits.models", MODELS, patterns)?,
            concurrency: fields.said("limits.concurrency", CONCURRENCY, |text| text.parse().ok().filter(|n| *n > 0))?,
            paused: fields.said("limits.paused", "true or false", |text| text.parse().ok())?,
            expires_at: fields.said("limits.expiresAt", EXPIRES_AT, |text| to_come(text, now))?,
        };
        fields.finish()?;
        Ok(Some(word))
    }

    /// Whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Do so.
    pub(super) fn apply(self, limits: &mut Limits) {
        let Self { caps, reserve, models, concurrency, paused, expires_at } = self;
        match caps {
            Said::Nothing => {}
            Said::Lift => limits.caps = Default::default(),
            Said::Set(caps) => caps.apply(&mut limits.caps),
        }
        reserve.apply(&mut limits.reserve);
        match models {
            Said::Nothing => {}
            Said::Lift => limits.models = ModelGlobs::default(),
            Said::Set(patterns) => limits.models = ModelGlobs::new(patterns),
        }
        concurrency.apply(&mut limits.concurrency);
        match paused {
            Said::Nothing => {}
            Said::Lift => limits.paused = false,
            Said::Set(paused) => limits.paused = paused,
        }
        expires_at.apply(&mut limits.expires_at);
    }
}

impl CapsWord {
    /// Take it out of a body, under the names that a refusal tells.
    pub(super) fn take(within: &mut Fields, names: &CapNames) -> Result<Said<Self>, Refused> {
        let [object, day, week, month, total] = *names;
        let mut fields = match within.object(object)? {
            Said::Nothing => return Ok(Said::Nothing),
            Said::Lift => return Ok(Said::Lift),
            Said::Set(fields) => fields,
        };
        let caps = Self {
            day: fields.said(day, AMOUNT, amount)?,
            week: fields.said(week, AMOUNT, amount)?,
            month: fields.said(month, AMOUNT, amount)?,
            total: fields.said(total, AMOUNT, amount)?,
        };
        fields.finish()?;
        Ok(Said::Set(caps))
    }

    /// Do so.
    pub(super) fn apply(self, caps: &mut Caps) {
        let Self { day, week, month, total } = self;
        for (window, said) in Window::ALL.into_iter().zip([day, week, month, total]) {
            let mut cap = caps.of(window);
            said.apply(&mut cap);
            caps.set(window, cap);
        }
    }
}

/// `limit` of a donation: one cap, said shortly. A number is dollars in all.
#[derive(Debug, PartialEq, Eq, ToSchema)]
pub(super) struct LimitWord {
    /// Dollars.
    #[schema(value_type = f64, exclusive_minimum = 0, example = 5)]
    amount: Usd,
    /// When they begin anew.
    window: Window,
}

/// A number, or an amount and its window.
pub(super) fn limit_schema() -> Schema {
    let number = ObjectBuilder::new().schema_type(Type::Number).exclusive_minimum(Some(0)).examples([json!(5)]);
    let about = "One cap, said shortly: a number is dollars in all.";
    OneOfBuilder::new().description(Some(about)).item(number).item(LimitWord::schema()).build().into()
}

impl LimitWord {
    /// Take `limit` out of a body.
    pub(super) fn take(body: &mut Fields) -> Result<Option<Self>, Refused> {
        if !body.is_object("limit") {
            let expected = "a number of dollars above zero, or an object of amount and window";
            return Ok(match body.said("limit", expected, amount)? {
                Said::Set(amount) => Some(Self { amount, window: Window::Total }),
                Said::Nothing | Said::Lift => None,
            });
        }
        let Said::Set(mut fields) = body.object("limit")? else { return Ok(None) };
        let amount = fields.said("limit.amount", AMOUNT, amount)?;
        let window = fields.said("limit.window", "one of day, week, month and total", |text| {
            Window::from_name(&serde_json::from_str::<String>(text).ok()?)
        })?;
        fields.finish()?;
        match (amount, window) {
            (Said::Set(amount), Said::Set(window)) => Ok(Some(Self { amount, window })),
            (Said::Set(_), _) => Err(Refused::Missing { field: "limit.window" }),
            _ => Err(Refused::Missing { field: "limit.amount" }),
        }
    }

    /// Set it, where `limits` has no cap for the same window.
    pub(super) fn apply(self, limits: &mut Limits) -> Result<(), Refused> {
        let Self { amount, window } = self;
        if limits.caps.of(window).is_some() {
            return Err(Refused::WrongValue { field: "limit", expected: "absent where limits.caps has its window" });
        }
        limits.caps.set(window, Some(amount));
        Ok(())
    }
}

fn amount(text: &str) -> Option<Usd> {
    Usd::parse(text.as_bytes()).ok().filter(|amount| *amount > Usd::ZERO)
}

pub(super) fn patterns(text: &str) -> Option<Vec<String>> {
    let patterns: Vec<String> = serde_json::from_str(text).ok()?;
    let good = |pattern: &String| {
        let clean = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/@~+*?".contains(&b);
        !pattern.is_empty() && pattern.len() <= MODEL_MAX_CHARS && pattern.bytes().all(clean)
    };
    (patterns.len() <= MODELS_MAX && patterns.iter().all(good)).then_some(patterns)
}

pub(super) fn to_come(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text: String = serde_json::from_str(text).ok()?;
    text::time(&text).or_else(|| text::day(&text).map(|day| day.start())).filter(|at| *at > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_489_200);

    fn read(body: &str) -> Result<Limits, Refused> {
        let mut fields = Fields::parse(body.as_bytes())?;
        let (word, limit) = (LimitsWord::take(&mut fields, NOW)?, LimitWord::take(&mut fields)?);
        fields.finish()?;
        let mut limits = before();
        if let Some(word) = word {
            word.apply(&mut limits);
        }
        if let Some(limit) = limit {
            limit.apply(&mut limits)?;
        }
        Ok(limits)
    }

    /// What is set already.
    fn before() -> Limits {
        Limits {
            caps: [(Window::Day, usd(1)), (Window::Month, usd(9))].into_iter().collect(),
            reserve: Some(usd(2)),
            models: ModelGlobs::new(["*:free"]),
            concurrency: Some(3),
            paused: true,
            expires_at: Some(Timestamp::from_secs(2_000_000_000)),
        }
    }

    fn usd(dollars: i64) -> Usd {
        Usd::from_pico(dollars * 1_000_000_000_000)
    }

    #[test]
    fn what_is_said_is_set_what_is_null_is_lifted_and_the_rest_stays() {
        let check = |limits: &str, change: &dyn Fn(&mut Limits)| {
            let mut expected = before();
            change(&mut expected);
            assert_eq!(read(&format!(r#"{{"limits":{limits}}}"#)), Ok(expected), "{limits}");
        };
        check("{}", &|_| {});
        check("null", &|_| {});
        check(r#"{"caps":{}}"#, &|_| {});
        check(r#"{"caps":{"day":5}}"#, &|l| l.caps.set(Window::Day, Some(usd(5))));
        check(r#"{"caps":{"day":null,"week":0.000000000001}}"#, &|l| {
            l.caps.set(Window::Day, None);
            l.caps.set(Window::Week, Some(Usd::from_pico(1)));
        });
        check(r#"{"caps":{"month":7.669e-7,"total":1e2}}"#, &|l| {
            l.caps.set(Window::Month, Some(Usd::from_pico(766_900)));
            l.caps.set(Window::Total, Some(usd(100)));
        });
        check(r#"{"caps":null}"#, &|l| l.caps = Default::default());
        check(r#"{"reserve":null}"#, &|l| l.reserve = None);
        check(r#"{"reserve":1.5}"#, &|l| l.reserve = Some(Usd::from_pico(1_500_000_000_000)));
        check(r#"{"models":["anthropic/*","~x/y-1.5:?+"]}"#, &|l| {
            l.models = ModelGlobs::new(["anthropic/*", "~x/y-1.5:?+"]);
        });
        check(r#"{"models":null}"#, &|l| l.models = ModelGlobs::default());
        check(r#"{"models":[]}"#, &|l| l.models = ModelGlobs::default());
        check(r#"{"concurrency":4}"#, &|l| l.concurrency = Some(4));
        check(r#"{"concurrency":null,"paused":false}"#, &|l| {
            l.concurrency = None;
            l.paused = false;
        });
        check(r#"{"paused":null}"#, &|l| l.paused = false);
        check(r#"{"expiresAt":null}"#, &|l| l.expires_at = None);
        let new_year = Timestamp::parse_rfc3339("2027-01-01T00:00:00Z");
        for text in ["2027-01-01T00:00:00Z", "2027-01-01", "2027-01-01T01:00:00+01:00"] {
            check(&format!(r#"{{"expiresAt":"{text}"}}"#), &|l| l.expires_at = new_year);
        }
    }

    #[test]
    fn a_limit_is_a_cap_said_shortly() {
        let check = |limit: &str, window: Window, cap: Usd| {
            let mut expected = before();
            expected.caps.set(window, Some(cap));
            assert_eq!(read(&format!(r#"{{"limit":{limit}}}"#)), Ok(expected), "{limit}");
        };
        check("5", Window::Total, usd(5));
        check("0.25", Window::Total, Usd::from_pico(250_000_000_000));
        check(r#"{"amount":5,"window":"week"}"#, Window::Week, usd(5));
        assert_eq!(read(r#"{"limit":null}"#), Ok(before()));
        let twice = read(r#"{"limit":5,"limits":{"caps":{"total":6}}}"#);
        assert_eq!(twice.map_err(|r| r.code()), Err("field_wrong_value"));
    }

    #[test]
    fn what_is_no_limit_is_refused_by_its_whole_name() {
        let check = |body: &str, code: &str, field: &str| {
            let refused = read(body).expect_err(body);
            assert_eq!((refused.code(), refused.field()), (code, Some(field)), "{body}");
        };
        for wrong in ["0", "-5", "-0", "1e-13", "1e30", "\"5\"", "true", "[]", "{}"] {
            check(&format!(r#"{{"limits":{{"caps":{{"day":{wrong}}}}}}}"#), "field_wrong_value", "limits.caps.day");
            check(&format!(r#"{{"limits":{{"reserve":{wrong}}}}}"#), "field_wrong_value", "limits.reserve");
        }
        check(r#"{"limits":5}"#, "field_wrong_value", "limits");
        check(r#"{"limits":[]}"#, "field_wrong_value", "limits");
        check(r#"{"limits":{"caps":5}}"#, "field_wrong_value", "limits.caps");
        check(r#"{"limits":{"caps":{"year":5}}}"#, "field_unknown", "limits.caps.year");
        check(r#"{"limits":{"cap":{}}}"#, "field_unknown", "limits.cap");
        check(r#"{"limits":{"paused":true,"paused":false}}"#, "field_twice", "limits.paused");
        check(r#"{"limits":{"caps":{"day":1,"day":2}}}"#, "field_twice", "limits.caps.day");
        for wrong in
            ["\"anthropic/*\"", "[1]", "[\"\"]", "[\"a b\"]", "[\"[ab]\"]", "[\"{a,b}\"]", "[\"!x\"]", "[\"é\"]"]
        {
            check(&format!(r#"{{"limits":{{"models":{wrong}}}}}"#), "field_wrong_value", "limits.models");
        }
        let many = vec!["\"a\""; 65].join(",");
        check(&format!(r#"{{"limits":{{"models":[{many}]}}}}"#), "field_wrong_value", "limits.models");
        let long = "x".repeat(129);
        check(&format!(r#"{{"limits":{{"models":["{long}"]}}}}"#), "field_wrong_value", "limits.models");
        for wrong in ["0", "-1", "1.5", "\"4\"", "4294967296", "true"] {
            check(&format!(r#"{{"limits":{{"concurrency":{wrong}}}}}"#), "field_wrong_value", "limits.concurrency");
        }
        check(r#"{"limits":{"paused":1}}"#, "field_wrong_value", "limits.paused");
        check(r#"{"limits":{"paused":"true"}}"#, "field_wrong_value", "limits.paused");
        for wrong in ["\"2026-11-24T02:59:59Z\"", "\"2026-11-24\"", "\"soon\"", "5", "\"2027-13-01\"", "\"20270101\""] {
            check(&format!(r#"{{"limits":{{"expiresAt":{wrong}}}}}"#), "field_wrong_value", "limits.expiresAt");
        }
        check(r#"{"limit":0}"#, "field_wrong_value", "limit");
        check(r#"{"limit":"5"}"#, "field_wrong_value", "limit");
        check(r#"{"limit":{}}"#, "field_missing", "limit.amount");
        check(r#"{"limit":{"amount":5}}"#, "field_missing", "limit.window");
        check(r#"{"limit":{"amount":-5,"window":"day"}}"#, "field_wrong_value", "limit.amount");
        check(r#"{"limit":{"amount":5,"window":"year"}}"#, "field_wrong_value", "limit.window");
        check(r#"{"limit":{"amount":5,"window":"day","x":1}}"#, "field_unknown", "limit.x");
    }
}
