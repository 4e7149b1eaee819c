//! The bodies of writes about clients.

use utoipa::ToSchema;

use crate::clients::{Terms, Weight};
use crate::clock::Timestamp;
use crate::money::{ClientId, ModelGlobs};

use super::super::fields::{Fields, Said};
use super::super::limits::{CONCURRENCY, EXPIRES_AT, MODELS, patterns, to_come};
use super::super::refused::Refused;
use super::super::text::{self, NAME_MAX_CHARS, NOTE_MAX_CHARS};

const NAME: &str = "a name of at most 100 printable characters, which does not look like a key";
const NOTE: &str = "a text of at most 300 printable characters, which does not look like a key";
const WEIGHT: &str = "a whole number from 1 to 1000";

/// `POST /clients`: somebody who may use the pool.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in super::super) struct ClientOffer {
    /// Its name: up to 100 printable characters.
    #[schema(max_length = 100, example = "ann")]
    name: String,
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
    /// The most requests at a time.
    #[schema(value_type = Option<u32>, minimum = 1, example = 4)]
    concurrency: Said<u32>,
    /// Its share when there are more requests than the pool can serve: how much more it gets than a client of weight 1, which
    /// is what it has when nothing is said.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000, example = 1)]
    weight: Said<Weight>,
}

impl ClientOffer {
    pub(in super::super) fn read(body: &[u8], now: Timestamp) -> Result<Self, Refused> {
        let ClientChange { name, note, expires_at, models, concurrency, weight } = ClientChange::read_any(body, now)?;
        match name {
            Said::Set(name) => Ok(Self { name, note, expires_at, models, concurrency, weight }),
            Said::Nothing | Said::Lift => Err(Refused::Missing { field: "name" }),
        }
    }

    pub(in super::super) fn into_terms(self) -> Terms {
        let Self { name, note, expires_at, models, concurrency, weight } = self;
        let mut terms = Terms::default();
        ClientChange { name: Said::Set(name), note, expires_at, models, concurrency, weight }.apply(&mut terms);
        terms
    }
}

/// `PATCH /clients/{id}`: what is to be different about a client. What is not named stays as it is, and `null` lifts it.
#[derive(Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in super::super) struct ClientChange {
    /// As in `POST /clients`.
    #[schema(value_type = String, required = false, max_length = 100)]
    name: Said<String>,
    /// As in `POST /clients`.
    #[schema(value_type = Option<String>, max_length = 300)]
    note: Said<String>,
    /// As in `POST /clients`.
    #[schema(value_type = Option<String>, example = "2027-01-01T00:00:00Z")]
    expires_at: Said<Timestamp>,
    /// As in `POST /clients`.
    #[schema(value_type = Option<Vec<String>>, max_items = 64, example = json!(["openai/*"]))]
    models: Said<Vec<String>>,
    /// As in `POST /clients`.
    #[schema(value_type = Option<u32>, minimum = 1, example = 4)]
    concurrency: Said<u32>,
    /// As in `POST /clients`.
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
        let change = Self {
            name: fields.said("name", NAME, |json| text_within(json, NAME_MAX_CHARS))?,
            note: fields.said("note", NOTE, |json| text_within(json, NOTE_MAX_CHARS))?,
            expires_at: fields.said("expiresAt", EXPIRES_AT, |json| to_come(json, now))?,
            models: fields.said("models", MODELS, patterns)?,
            concurrency: fields.said("concurrency", CONCURRENCY, |json| json.parse().ok().filter(|n| *n > 0))?,
            weight: fields.said("weight", WEIGHT, |json| Weight::new(json.parse().ok()?))?,
        };
        fields.finish()?;
        Ok(change)
    }

    /// Do so.
    pub(in super::super) fn apply(self, terms: &mut Terms) {
        let Self { name, note, expires_at, models, concurrency, weight } = self;
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
        concurrency.apply(&mut terms.concurrency);
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

    const NOW: Timestamp = Timestamp::from_secs(1_795_489_200);

    #[test]
    fn offers_are_read_whole_or_refused_by_name() {
        let body = r#"{"name":" ann ","note":"of the library","expiresAt":"2027-01-01","models":["openai/*"],"concurrency":3,"weight":7}"#;
        let terms = ClientOffer::read(body.as_bytes(), NOW).expect("a good offer").into_terms();
        let expected = Terms {
            name: "ann".to_owned(),
            note: Some("of the library".to_owned()),
            expires_at: Timestamp::parse_rfc3339("2027-01-01T00:00:00Z"),
            models: ModelGlobs::new(["openai/*"]),
            concurrency: Some(3),
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
        check(r#"{"name":"a","key":"x"}"#, "field_unknown", Some("key"));
    }

    #[test]
    fn changes_set_lift_and_leave() {
        let mut terms = Terms {
            name: "ann".to_owned(),
            note: Some("a note".to_owned()),
            expires_at: Some(NOW),
            models: ModelGlobs::new(["openai/*"]),
            concurrency: Some(3),
            weight: Weight::new(7).expect("a weight"),
        };
        let mut change = |body: &str| {
            ClientChange::read(body.as_bytes(), NOW).expect(body).apply(&mut terms);
            terms.clone()
        };
        assert_eq!(change(r#"{"concurrency":5}"#).concurrency, Some(5));
        assert_eq!(change(r#"{"weight":1000}"#).weight.get(), 1000);
        let lifted = change(r#"{"note":null,"expiresAt":null,"models":null,"concurrency":null,"weight":null}"#);
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
