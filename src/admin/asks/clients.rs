//! The bodies of writes about clients.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use crate::clients::{Allowance, Terms, Weight};
use crate::clock::Timestamp;
use crate::money::{ClientId, ModelGlobs};

use super::super::allowance::AllowanceWord;
use super::super::fields::{Fields, Said};
use super::super::limits::{CapsWord, EXPIRES_AT, MODELS, patterns, to_come};
use super::super::refused::Refused;
use super::super::text::{self, NAME_MAX_CHARS, NOTE_MAX_CHARS};

const NAME: &str = "a name of at most 100 printable characters, which does not look like a key";
const NOTE: &str = "a text of at most 300 printable characters, which does not look like a key";
const WEIGHT: &str = "a whole number from 1 to 1000";

/// `POST /clients`: somebody who may use the pool. What `PATCH` may say, with a name.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct ClientOffer(ClientChange);

impl PartialSchema for ClientOffer {
    fn schema() -> RefOr<Schema> {
        let mut schema = ClientChange::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.description = Some("Somebody who may use the pool.".to_owned());
            object.required.push("name".to_owned());
        }
        schema
    }
}

impl ToSchema for ClientOffer {
    fn name() -> Cow<'static, str> {
        "ClientOffer".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ClientChange::schemas(schemas);
    }
}

impl ClientOffer {
    pub(in super::super) fn read(body: &[u8], now: Timestamp) -> Result<Self, Refused> {
        let offer = ClientChange::read_any(body, now)?;
        match offer.name {
            Said::Set(_) => Ok(Self(offer)),
            Said::Nothing | Said::Lift => Err(Refused::Missing { field: "name" }),
        }
    }

    pub(in super::super) fn into_terms(self) -> Terms {
        let mut terms = Terms::default();
        self.0.apply(&mut terms);
        terms
    }
}

/// `PATCH /clients/{id}`: what is to be different about a client. What is not named stays as it is, and `null` lifts it.
#[derive(Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in super::super) struct ClientChange {
    /// Its name: up to 100 printable characters.
    #[schema(value_type = String, required = false, max_length = 100, example = "ann")]
    name: Said<String>,
    /// A note about it: up to 300 printable characters.
    #[schema(value_type = Option<String>, max_length = 300)]
    note: Said<String>,
    /// Its key and tokens are no good from then on: RFC 3339, or a date, which begins at 00:00 UTC.
    #[schema(value_type = Option<String>, example = "2027-01-01T00:00:00Z")]
    expires_at: Said<Timestamp>,
    /// Which models it may ask for: patterns in which `*` stands for anything and `?` for one character. All when the list
    /// is empty.
    #[schema(value_type = Option<Vec<String>>, max_items = 64, example = json!(["openai/*"]))]
    models: Said<Vec<String>>,
    /// The most that may be spent for it in each window, in dollars; all of them hold at once. `null` lifts all.
    #[schema(value_type = Option<CapsWord>)]
    budgets: Said<CapsWord>,
    /// The most requests in a minute; as many may come at once.
    #[schema(value_type = Option<u32>, minimum = 1, example = 60)]
    requests_per_minute: Said<u32>,
    /// The most tokens in a minute, of prompts and answers together; as many may come at once.
    #[schema(value_type = Option<u32>, minimum = 1, example = 100_000)]
    tokens_per_minute: Said<u32>,
    /// The most requests at a time.
    #[schema(value_type = Option<u32>, minimum = 1, example = 4)]
    concurrency: Said<u32>,
    /// What each of its users may use, of those that it names in `POST /auth/token`. `null` lifts all of it.
    #[schema(value_type = Option<AllowanceWord>)]
    per_user: Said<AllowanceWord>,
    /// Its share when there are more requests than the pool can serve: how much more it gets than a client of weight 1, which
    /// is what it has when nothing is said.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000, example = 1)]
    weight: Said<Weight>,
}

impl ClientChange {
    pub(in super::super) fn read(body: &[u8], now: Timestamp) -> Result<Self, Refused> {
        let change = Self::read_any(body, now)?;
        if change == Self::default() {
            return Err(Refused::NothingToChange);
        }
        match change.name {
            Said::Lift => Err(Refused::WrongValue { field: "name", expected: NAME }),
            _ => Ok(change),
        }
    }

    fn read_any(body: &[u8], now: Timestamp) -> Result<Self, Refused> {
        let mut fields = Fields::parse(body)?;
        let AllowanceWord { budgets, requests_per_minute, tokens_per_minute, concurrency } =
            AllowanceWord::of_client(&mut fields)?;
        let change = Self {
            name: fields.said("name", NAME, |json| text_within(json, NAME_MAX_CHARS))?,
            note: fields.said("note", NOTE, |json| text_within(json, NOTE_MAX_CHARS))?,
            expires_at: fields.said("expiresAt", EXPIRES_AT, |json| to_come(json, now))?,
            models: fields.said("models", MODELS, patterns)?,
            budgets,
            requests_per_minute,
            tokens_per_minute,
            concurrency,
            per_user: AllowanceWord::of_user(&mut fields)?,
            weight: fields.said("weight", WEIGHT, |json| Weight::new(json.parse().ok()?))?,
        };
        fields.finish()?;
        Ok(change)
    }

    /// Do so.
    pub(in super::super) fn apply(self, terms: &mut Terms) {
        let Self { name, note, expires_at, models, per_user, weight, .. } = self;
        let Self { budgets, requests_per_minute, tokens_per_minute, concurrency, .. } = self;
        if let Said::Set(name) = name {
            terms.name = name;
        }
        note.apply(&mut terms.note);
        expires_at.apply(&mut terms.expires_at);
        match models {
            Said::Nothing => {}
            Said::Lift => terms.models = ModelGlobs::default(),
            Said::Set(patterns) => terms.models = ModelGlobs::new(patterns),
        }
        AllowanceWord { budgets, requests_per_minute, tokens_per_minute, concurrency }.apply(&mut terms.allowance);
        match per_user {
            Said::Nothing => {}
            Said::Lift => terms.per_user = Allowance::default(),
            Said::Set(word) => word.apply(&mut terms.per_user),
        }
        match weight {
            Said::Nothing => {}
            Said::Lift => terms.weight = Weight::default(),
            Said::Set(weight) => terms.weight = weight,
        }
    }
}

fn text_within(json: &str, max_chars: usize) -> Option<String> {
    text::check(&serde_json::from_str::<String>(json).ok()?, max_chars).ok()
}

/// `POST /tokens/rotate`: sign tokens with a new key.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in super::super) struct RotationWord {
    /// Whether the tokens that are out end here and now; otherwise they stay good until they are over.
    #[schema(required = false, default = false)]
    pub(in super::super) end_tokens: bool,
}

impl RotationWord {
    pub(in super::super) fn read(body: &[u8]) -> Result<Self, Refused> {
        let mut fields = Fields::parse(body)?;
        let end_tokens = fields.said("endTokens", "true or false", |json| json.parse().ok())?;
        fields.finish()?;
        Ok(Self { end_tokens: end_tokens == Said::Set(true) })
    }
}

/// A call that takes no body may have an empty one.
pub(in super::super) fn nothing(body: &[u8]) -> Result<(), Refused> {
    if body.is_empty() { Ok(()) } else { Fields::parse(body)?.finish() }
}

/// A client's id as text.
pub(in super::super) fn client_id(field: &'static str, text: &str) -> Result<ClientId, Refused> {
    parse_client_id(text.trim()).ok_or(Refused::WrongValue { field, expected: CLIENT_ID })
}

pub(in super::super) const CLIENT_ID: &str = "a client's id, such as c1";

pub(in super::super) fn parse_client_id(text: &str) -> Option<ClientId> {
    text.strip_prefix('c')?.parse().ok().map(ClientId)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::{Usd, Window};

    const NOW: Timestamp = Timestamp::from_secs(1_795_489_200);

    fn usd(thousandths: i64) -> Usd {
        Usd::from_pico(thousandths * 1_000_000_000)
    }

    #[test]
    fn offers_are_read_whole_or_refused_by_name() {
        let body = r#"{"name":" ann ","note":"of the library","expiresAt":"2027-01-01","models":["openai/*"],"concurrency":3,
            "budgets":{"day":0.25,"total":9},"requestsPerMinute":60,"weight":7,"perUser":{"tokensPerMinute":1000}}"#;
        let terms = ClientOffer::read(body.as_bytes(), NOW).expect("a good offer").into_terms();
        let expected = Terms {
            name: "ann".to_owned(),
            note: Some("of the library".to_owned()),
            expires_at: Timestamp::parse_rfc3339("2027-01-01T00:00:00Z"),
            models: ModelGlobs::new(["openai/*"]),
            allowance: Allowance {
                budgets: [(Window::Day, usd(250)), (Window::Total, usd(9_000))].into_iter().collect(),
                requests_per_minute: Some(60),
                tokens_per_minute: None,
                concurrency: Some(3),
            },
            per_user: Allowance { tokens_per_minute: Some(1_000), ..Allowance::default() },
            weight: Weight::new(7).expect("a weight"),
        };
        assert_eq!(terms, expected);
        let check = |body: &str, code: &str, field: Option<&str>| {
            let refused = ClientOffer::read(body.as_bytes(), NOW).expect_err(body);
            assert_eq!((refused.code(), refused.field()), (code, field), "{body}");
        };
        check("{}", "field_missing", Some("name"));
        check(r#"{"name":null}"#, "field_missing", Some("name"));
        check(r#"{"name":""}"#, "field_wrong_value", Some("name"));
        check(r#"{"name":"ptl-00112233"}"#, "field_wrong_value", Some("name"));
        check(r#"{"name":"a\nb"}"#, "field_wrong_value", Some("name"));
        check(r#"{"name":"a","expiresAt":"2020-01-01"}"#, "field_wrong_value", Some("expiresAt"));
        check(r#"{"name":"a","models":["a b"]}"#, "field_wrong_value", Some("models"));
        check(r#"{"name":"a","concurrency":0}"#, "field_wrong_value", Some("concurrency"));
        for weight in ["0", "1001", "-1", "1.5", "\"2\""] {
            check(&format!(r#"{{"name":"a","weight":{weight}}}"#), "field_wrong_value", Some("weight"));
        }
        check(r#"{"name":"a","budget":5}"#, "field_unknown", Some("budget"));
        check(r#"{"name":"a","budgets":{"day":0}}"#, "field_wrong_value", Some("budgets.day"));
        check(r#"{"name":"a","budgets":{"year":1}}"#, "field_unknown", Some("budgets.year"));
        check(r#"{"name":"a","requestsPerMinute":0}"#, "field_wrong_value", Some("requestsPerMinute"));
        check(r#"{"name":"a","perUser":{"models":[]}}"#, "field_unknown", Some("perUser.models"));
        check(r#"{"name":"a","perUser":{"budgets":{"day":"1"}}}"#, "field_wrong_value", Some("perUser.budgets.day"));
        check(r#"{"name":"a","key":"x"}"#, "field_unknown", Some("key"));
    }

    #[test]
    fn changes_set_lift_and_leave() {
        let mut terms = Terms {
            name: "ann".to_owned(),
            note: Some("a note".to_owned()),
            expires_at: Some(NOW),
            models: ModelGlobs::new(["openai/*"]),
            allowance: Allowance { concurrency: Some(3), ..Allowance::default() },
            per_user: Allowance { requests_per_minute: Some(3), ..Allowance::default() },
            weight: Weight::new(7).expect("a weight"),
        };
        let mut change = |body: &str| {
            ClientChange::read(body.as_bytes(), NOW).expect(body).apply(&mut terms);
            terms.clone()
        };
        assert_eq!(change(r#"{"concurrency":5}"#).allowance.concurrency, Some(5));
        let budgets = change(r#"{"budgets":{"day":0.25,"week":1}}"#).allowance.budgets;
        assert_eq!(budgets.iter().collect::<Vec<_>>(), [(Window::Day, usd(250)), (Window::Week, usd(1_000))]);
        let user = change(r#"{"budgets":{"day":null},"perUser":{"budgets":{"month":1}}}"#).per_user;
        assert_eq!((user.requests_per_minute, user.budgets.of(Window::Month)), (Some(3), Some(usd(1_000))));
        assert_eq!(change(r#"{"weight":1000}"#).weight.get(), 1000);
        let body = r#"{"note":null,"expiresAt":null,"models":null,"concurrency":null,"budgets":null,"perUser":null,
            "weight":null}"#;
        let lifted = change(body);
        assert_eq!(lifted, Terms { name: "ann".to_owned(), ..Terms::default() });
        assert_eq!(change(r#"{"name":"bob"}"#).name, "bob");
        for (body, code) in [("{}", "nothing_to_change"), (r#"{"name":null}"#, "field_wrong_value")] {
            assert_eq!(ClientChange::read(body.as_bytes(), NOW).map_err(|r| r.code()), Err(code), "{body}");
        }
    }

    #[test]
    fn a_rotation_ends_tokens_when_told_so() {
        for (body, ends) in [("{}", false), (r#"{"endTokens":false}"#, false), (r#"{"endTokens":true}"#, true)] {
            assert_eq!(RotationWord::read(body.as_bytes()), Ok(RotationWord { end_tokens: ends }), "{body}");
        }
        assert!(RotationWord::read(br#"{"endTokens":"yes"}"#).is_err() && RotationWord::read(b"").is_err());
        assert_eq!((nothing(b""), nothing(b"{}")), (Ok(()), Ok(())));
        assert!(nothing(br#"{"id":"c1"}"#).is_err());
        for (text, id) in [("c1", Some(1)), (" c12 ", Some(12)), ("k1", None), ("c", None), ("c-1", None), ("1", None)]
        {
            assert_eq!(client_id("id", text).ok(), id.map(ClientId), "{text}");
        }
    }
}
