//! The bodies of writes, as they stand on the wire, and how they are read.

mod clients;

use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::money::{Limits, Usd};
use crate::pool::{Health, KeyId};
use crate::pot::{Donation, KeyRef};
use crate::secret::Credential;

use super::fields::Fields;
use super::limits::{LimitWord, LimitsWord, limit_schema};
use super::refused::Refused;
use super::text::{NAME_MAX_CHARS, NOTE_MAX_CHARS};

pub(super) use clients::{CLIENT_ID, ClientChange, ClientOffer, RotationWord, client_id, nothing, parse_client_id};

/// `POST /keys/openrouter`: a key for the pool.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct KeyOffer {
    /// The key, `sk-or-v1-…`. An ordinary API key, not a management key.
    #[schema(value_type = String, format = Password, example = "sk-or-v1-0123…")]
    key: Credential,
    /// A name for the key: up to 100 printable characters, shown to everybody who sees the pool.
    #[schema(max_length = 100, example = "alice")]
    label: Option<String>,
    /// Who gives it, by your own numbering; as `label`.
    #[schema(max_length = 100)]
    donor_id: Option<String>,
    /// Who gives it, by name; as `label`.
    #[schema(max_length = 100)]
    donor_name: Option<String>,
    /// What its donor allows; without it, everything.
    #[schema(value_type = Option<LimitsWord>)]
    limits: Limits,
    /// One cap, said shortly: a number is dollars in all.
    #[schema(schema_with = limit_schema, required = false)]
    limit: Option<LimitWord>,
}

impl KeyOffer {
    pub(super) fn read(body: &[u8], now: Timestamp) -> Result<Self, Refused> {
        let mut fields = Fields::parse(body)?;
        let key = fields.string("key")?.ok_or(Refused::Missing { field: "key" })?;
        let label = fields.text("label", NAME_MAX_CHARS)?;
        let donor_id = fields.text("donorId", NAME_MAX_CHARS)?;
        let donor_name = fields.text("donorName", NAME_MAX_CHARS)?;
        let mut limits = Limits::default();
        if let Some(word) = LimitsWord::take(&mut fields, now)? {
            word.apply(&mut limits);
        }
        let limit = LimitWord::take(&mut fields)?;
        fields.finish()?;
        let key = Credential::parse(&key).map_err(Refused::KeyMalformed)?;
        Ok(Self { key, label, donor_id, donor_name, limits, limit })
    }

    pub(super) fn into_donation(self) -> Result<Donation, Refused> {
        let Self { key, label, donor_id, donor_name, mut limits, limit } = self;
        if let Some(limit) = limit {
            limit.apply(&mut limits)?;
        }
        Ok(Donation { credential: key, label, donor_id, donor_name, limits })
    }
}

/// `PATCH /keys/openrouter/{id}`: what is to be different about a key.
#[derive(Debug, ToSchema)]
pub(super) struct KeyChange {
    /// Limits to set or, with `null`, to lift; at least one. Those that are not named stay.
    pub(super) limits: LimitsWord,
}

impl KeyChange {
    pub(super) fn read(body: &[u8], now: Timestamp) -> Result<Self, Refused> {
        let mut fields = Fields::parse(body)?;
        let limits = LimitsWord::take(&mut fields, now)?.filter(|limits| !limits.is_empty());
        fields.finish()?;
        Ok(Self { limits: limits.ok_or(Refused::Missing { field: "limits" })? })
    }
}

/// `POST /ledger/settle`: what an attempt cost whose cost could not be found out.
#[derive(Debug, PartialEq, Eq, ToSchema)]
pub(super) struct CostWord {
    /// The attempt's line in the ledger, as in `GET /ledger/suspense`.
    #[schema(example = 1234)]
    pub(super) entry: u64,
    /// Dollars; 0 when nothing was charged.
    #[schema(value_type = f64, minimum = 0, example = 0.0123)]
    pub(super) cost: Usd,
}

impl CostWord {
    pub(super) fn read(body: &[u8]) -> Result<Self, Refused> {
        let mut fields = Fields::parse(body)?;
        let entry = fields.whole("entry")?;
        let cost = fields.amount("cost")?;
        fields.finish()?;
        match (entry, cost) {
            (Some(entry), Some(cost)) => Ok(Self { entry, cost }),
            (None, _) => Err(Refused::Missing { field: "entry" }),
            (_, None) => Err(Refused::Missing { field: "cost" }),
        }
    }
}

/// `DELETE /keys/openrouter`: which key to take out, by exactly one of the two.
// No `Debug`: the text is printed by it.
#[derive(ToSchema)]
pub(super) struct KeyNamed {
    /// The key itself.
    #[schema(value_type = Option<String>, format = Password, example = "sk-or-v1-0123…")]
    key: Option<Zeroizing<String>>,
    /// Its id.
    #[schema(value_type = Option<String>, example = "k1")]
    id: Option<Zeroizing<String>>,
}

impl KeyNamed {
    pub(super) fn read(body: &[u8]) -> Result<KeyRef, Refused> {
        let mut fields = Fields::parse(body)?;
        let named = Self::take(&mut fields)?;
        fields.finish()?;
        named.resolve()
    }

    fn take(fields: &mut Fields) -> Result<Self, Refused> {
        Ok(Self { key: fields.string("key")?, id: fields.string("id")? })
    }

    fn resolve(&self) -> Result<KeyRef, Refused> {
        match (&self.key, &self.id) {
            (Some(key), None) => match Credential::parse(key) {
                Ok(credential) => Ok(KeyRef::Key(credential.fingerprint())),
                Err(fault) => Err(Refused::KeyMalformed(fault)),
            },
            (None, Some(id)) => key_id("id", id).map(KeyRef::Id),
            _ => Err(Refused::KeyOrId),
        }
    }
}

/// A key's id as text.
pub(super) fn key_id(field: &'static str, text: &str) -> Result<KeyId, Refused> {
    text.trim().parse().map_err(|()| Refused::WrongValue { field, expected: "a key's id, such as k1" })
}

/// `POST /health/openrouter`: an operator's word about a key, named by exactly one of `key` and `id`.
// No `Debug`: the text is printed by it.
#[derive(ToSchema)]
pub(super) struct HealthWord {
    /// The key itself.
    #[schema(value_type = Option<String>, format = Password, example = "sk-or-v1-0123…")]
    key: Option<Zeroizing<String>>,
    /// Its id.
    #[schema(value_type = Option<String>, example = "k1")]
    id: Option<Zeroizing<String>>,
    /// The state it is to be in.
    status: Health,
    /// Why, for people: up to 300 printable characters, shown to everybody who sees the pool.
    #[schema(max_length = 300)]
    error: Option<String>,
    /// Dollars that were charged to the key outside the pool.
    #[schema(value_type = Option<f64>, minimum = 0)]
    cost: Option<Usd>,
}

/// A [`HealthWord`], read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HealthChange {
    pub(super) which: KeyRef,
    pub(super) health: Health,
    pub(super) note: Option<String>,
    pub(super) cost: Option<Usd>,
}

impl HealthWord {
    pub(super) fn read(body: &[u8]) -> Result<HealthChange, Refused> {
        let mut fields = Fields::parse(body)?;
        let KeyNamed { key, id } = KeyNamed::take(&mut fields)?;
        let status = fields.string("status")?.ok_or(Refused::Missing { field: "status" })?;
        let status = Health::from_name(&status).ok_or(Refused::WrongValue {
            field: "status",
            expected: "one of healthy, depleted, degraded, failed and rate_limited",
        })?;
        let error = fields.text("error", NOTE_MAX_CHARS)?;
        let cost = fields.amount("cost")?;
        fields.finish()?;
        Self { key, id, status, error, cost }.resolve()
    }

    fn resolve(self) -> Result<HealthChange, Refused> {
        let Self { key, id, status, error, cost } = self;
        Ok(HealthChange { which: KeyNamed { key, id }.resolve()?, health: status, note: error, cost })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Window;
    use crate::secret::{Fingerprint, KeyFormatError};

    const NOW: Timestamp = Timestamp::from_secs(1_795_489_200);
    const KEY: &str = "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";

    #[test]
    fn offers_are_read_whole() {
        let body = format!(r#"{{"key":"{KEY}","donorId":"d-7","donorName":" Ann ","label":"alice"}}"#);
        let donation = KeyOffer::read(body.as_bytes(), NOW).and_then(KeyOffer::into_donation).expect("a good offer");
        assert_eq!(donation.credential.masked(), "sk-or-v1-…beef");
        assert_eq!(donation.label.as_deref(), Some("alice"));
        assert_eq!(donation.donor_id.as_deref(), Some("d-7"));
        assert_eq!(donation.donor_name.as_deref(), Some("Ann"));
        assert_eq!(donation.limits, Limits::default());
    }

    #[test]
    fn offers_bring_their_limits() {
        let body = format!(r#"{{"key":"{KEY}","limits":{{"caps":{{"day":5}},"paused":true}},"limit":20}}"#);
        let limits =
            KeyOffer::read(body.as_bytes(), NOW).and_then(KeyOffer::into_donation).expect("a good offer").limits;
        let usd = |dollars: i64| Usd::from_pico(dollars * 1_000_000_000_000);
        assert_eq!(limits.caps, [(Window::Day, usd(5)), (Window::Total, usd(20))].into_iter().collect());
        assert!(limits.paused);
    }

    #[test]
    fn changes_name_a_limit() {
        let code = |body: &str| KeyChange::read(body.as_bytes(), NOW).map_err(|refused| refused.code()).map(drop);
        assert_eq!(code(r#"{"limits":{"paused":false}}"#), Ok(()));
        for body in ["{}", r#"{"limits":null}"#, r#"{"limits":{}}"#] {
            assert_eq!(code(body), Err("field_missing"), "{body}");
        }
        assert_eq!(code(r#"{"limits":{"paused":false},"label":"x"}"#), Err("field_unknown"));
    }

    #[test]
    fn a_cost_is_told_of_an_entry() {
        let check =
            |body: &str, word: Result<CostWord, Refused>| assert_eq!(CostWord::read(body.as_bytes()), word, "{body}");
        check(r#"{"entry":7,"cost":0.5}"#, Ok(CostWord { entry: 7, cost: Usd::from_pico(500_000_000_000) }));
        check(r#"{"entry":7,"cost":0}"#, Ok(CostWord { entry: 7, cost: Usd::ZERO }));
        check(r#"{"cost":0}"#, Err(Refused::Missing { field: "entry" }));
        check(r#"{"entry":7}"#, Err(Refused::Missing { field: "cost" }));
        for entry in ["-1", "1.5", "\"7\"", "1e3", "99999999999999999999"] {
            let wrong = Refused::WrongValue { field: "entry", expected: "a whole number" };
            check(&format!(r#"{{"entry":{entry},"cost":0}}"#), Err(wrong));
        }
        let wrong = Refused::WrongValue { field: "cost", expected: "a number of dollars, zero or more" };
        check(r#"{"entry":7,"cost":-1}"#, Err(wrong));
    }

    #[test]
    fn offers_without_a_good_key_are_refused() {
        let check = |body: &str, refused: Refused| {
            assert_eq!(KeyOffer::read(body.as_bytes(), NOW).err(), Some(refused), "{body}");
        };
        check("{}", Refused::Missing { field: "key" });
        check(r#"{"key":null}"#, Refused::Missing { field: "key" });
        check(r#"{"key":""}"#, Refused::KeyMalformed(KeyFormatError::Empty));
        check(r#"{"key":"sk-ant-0011"}"#, Refused::KeyMalformed(KeyFormatError::Prefix));
        check(r#"{"id":"k1"}"#, Refused::Missing { field: "key" });
        let surplus = format!(r#"{{"key":"{KEY}","id":"k1"}}"#);
        check(&surplus, Refused::Unknown { field: Some("id".to_owned()) });
    }

    #[test]
    fn keys_are_named_one_way_or_the_other() {
        let check =
            |body: &str, named: Result<KeyRef, Refused>| assert_eq!(KeyNamed::read(body.as_bytes()), named, "{body}");
        check(&format!(r#"{{"key":" {KEY} "}}"#), Ok(KeyRef::Key(Fingerprint::of(KEY))));
        check(r#"{"id":"k12"}"#, Ok(KeyRef::Id(KeyId(12))));
        check("{}", Err(Refused::KeyOrId));
        check(&format!(r#"{{"key":"{KEY}","id":"k1"}}"#), Err(Refused::KeyOrId));
        let no_id = Refused::WrongValue { field: "id", expected: "a key's id, such as k1" };
        for id in ["12", "k", "kx", "k-1", "k99999999999", "a1", ""] {
            check(&format!(r#"{{"id":"{id}"}}"#), Err(no_id.clone()));
        }
        check(r#"{"id":12}"#, Err(Refused::WrongValue { field: "id", expected: "a string" }));
    }

    #[test]
    fn all_five_states_can_be_said() {
        for health in Health::ALL {
            let body = format!(r#"{{"id":"k1","status":"{}","error":"seen by hand","cost":0.1}}"#, health.name());
            let change = HealthChange {
                which: KeyRef::Id(KeyId(1)),
                health,
                note: Some("seen by hand".to_owned()),
                cost: Some(Usd::from_pico(100_000_000_000)),
            };
            assert_eq!(HealthWord::read(body.as_bytes()), Ok(change));
        }
        for status in ["Healthy", "ok", ""] {
            let body = format!(r#"{{"id":"k1","status":"{status}"}}"#);
            assert_eq!(HealthWord::read(body.as_bytes()).map_err(|r| r.code()), Err("field_wrong_value"));
        }
        assert_eq!(HealthWord::read(br#"{"id":"k1"}"#), Err(Refused::Missing { field: "status" }));
        assert_eq!(HealthWord::read(br#"{"status":"healthy"}"#), Err(Refused::KeyOrId));
    }
}
