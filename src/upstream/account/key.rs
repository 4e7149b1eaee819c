//! A key and its account: `GET /key`, `GET /credits`.

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::figures::{Envelope, Raw, amount, charge, error_of, if_present, is_true, text};
use crate::clock::Timestamp;
use crate::money::Usd;
use crate::pool::KeyFacts;

/// Texts of a 401 that mean our request carried no credential at all, which says nothing about the key.
pub(in crate::upstream) const NO_CREDENTIAL: [&str; 3] =
    ["No cookie auth credentials found", "No auth credentials found", "Missing Authentication header"];

/// The answer to `GET /key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAnswer {
    /// The key exists; this is known about it.
    Facts {
        /// Limit, spend, account, expiry.
        facts: KeyFacts,
        /// It manages keys and cannot be used for inference; it must not be in a pool.
        management: bool,
    },
    /// The upstream does not know the key.
    Rejected,
    /// No statement: an error, or nothing that can be understood.
    Silent,
}

#[derive(Deserialize)]
struct KeyData<'a> {
    #[serde(borrow)]
    limit: Raw<'a>,
    #[serde(borrow)]
    limit_remaining: Raw<'a>,
    #[serde(borrow)]
    limit_reset: Raw<'a>,
    #[serde(borrow)]
    usage: Raw<'a>,
    #[serde(borrow)]
    is_management_key: Raw<'a>,
    #[serde(borrow)]
    is_provisioning_key: Raw<'a>,
    #[serde(borrow)]
    creator_user_id: Raw<'a>,
    #[serde(borrow)]
    workspace_id: Raw<'a>,
    #[serde(borrow)]
    organization_id: Raw<'a>,
    #[serde(borrow)]
    expires_at: Raw<'a>,
    #[serde(borrow)]
    effective_budget: Raw<'a>,
}

#[derive(Deserialize)]
struct BudgetData<'a> {
    #[serde(borrow)]
    limit_usd: Raw<'a>,
    #[serde(borrow)]
    remaining_usd: Raw<'a>,
    #[serde(borrow)]
    resets_at: Raw<'a>,
}

#[derive(Deserialize)]
struct CreditsData<'a> {
    #[serde(borrow)]
    total_credits: Raw<'a>,
    #[serde(borrow)]
    total_usage: Raw<'a>,
}

/// A spending limit: the key's own, or a budget of the workspace.
struct Ceiling {
    limit: Option<Usd>,
    remaining: Option<Usd>,
    resets_at: Option<Timestamp>,
}

/// Read the answer to `GET /key`, which came at `now`.
pub fn read_key(status: u16, body: &[u8], now: Timestamp) -> KeyAnswer {
    match status {
        200 => key_facts(body, now).unwrap_or(KeyAnswer::Silent),
        401 if error_of(body, 401).is_some_and(|message| !NO_CREDENTIAL.contains(&message.as_str())) => {
            KeyAnswer::Rejected
        }
        _ => KeyAnswer::Silent,
    }
}

fn key_facts(body: &[u8], now: Timestamp) -> Option<KeyAnswer> {
    let data: KeyData<'_> = serde_json::from_slice::<Envelope<_>>(body).ok()?.data;
    let own = Ceiling {
        limit: limit(data.limit)?,
        // Below zero when requests that were under way went over the limit: a statement all the same.
        remaining: if_present(data.limit_remaining, amount)?,
        resets_at: text(data.limit_reset).and_then(|every| next_reset(&every, now)),
    };
    let ceiling = match data.effective_budget {
        None => own,
        Some(raw) => tighter(own, budget(raw)?),
    };
    let facts = KeyFacts {
        limit: ceiling.limit,
        limit_remaining: ceiling.remaining,
        resets_at: ceiling.resets_at.filter(|at| *at > now),
        usage: data.usage.and_then(charge),
        account: account_name([data.creator_user_id, data.workspace_id, data.organization_id]),
        expires_at: text(data.expires_at).and_then(|at| Timestamp::parse_rfc3339(&at)),
    };
    let management = is_true(data.is_management_key) || is_true(data.is_provisioning_key);
    Some(KeyAnswer::Facts { facts, management })
}

/// `null` is uncapped; so is a missing field, since older answers had none.
fn limit(raw: Raw<'_>) -> Option<Option<Usd>> {
    if_present(raw, charge)
}

fn budget(raw: &RawValue) -> Option<Ceiling> {
    let data: BudgetData<'_> = serde_json::from_str(raw.get()).ok()?;
    Some(Ceiling {
        limit: limit(data.limit_usd)?,
        remaining: if_present(data.remaining_usd, amount)?,
        resets_at: text(data.resets_at).and_then(|at| Timestamp::parse_rfc3339(&at)),
    })
}

/// The ceiling that is reached first. `effective_budget` may repeat the key's own limit and then knows the reset time
/// to the second.
fn tighter(own: Ceiling, budget: Ceiling) -> Ceiling {
    match (own.remaining, budget.remaining) {
        (_, None) => own,
        (Some(own_left), Some(budget_left)) if own_left < budget_left => own,
        (Some(own_left), Some(budget_left)) if own_left == budget_left => {
            Ceiling { resets_at: budget.resets_at.or(own.resets_at), ..own }
        }
        _ => budget,
    }
}

/// Limits turn at UTC midnight, weeks on Monday (`openrouter-api.md` 6.1).
fn next_reset(every: &str, now: Timestamp) -> Option<Timestamp> {
    match every {
        "daily" => Some(now.next_midnight()),
        "weekly" => Some(now.next_monday()),
        "monthly" => Some(now.next_month()),
        _ => None,
    }
}

/// A name under which keys of one account meet: a hash, so that the donor's own ids are stored nowhere.
///
/// Creator, workspace and organisation together: keys that differ in one of them may share a balance all the same,
/// and then find out by a refusal each; lumped together they would be blamed for each other's budgets.
fn account_name(ids: [Raw<'_>; 3]) -> Option<Box<str>> {
    let ids = ids.map(text);
    if ids.iter().all(Option::is_none) {
        return None;
    }
    let mut hash = Sha256::new_with_prefix(b"potluck account\0");
    for id in &ids {
        let id = id.as_deref().unwrap_or_default();
        hash.update((id.len() as u64).to_be_bytes());
        hash.update(id.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    Some(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into())
}

/// Read the answer to `GET /credits`: what the account has left, below zero where it is overdrawn. `None` is no
/// statement; accounts whose ordinary keys may not ask answer 403.
pub fn read_credits(status: u16, body: &[u8]) -> Option<Usd> {
    if status != 200 {
        return None;
    }
    let data: CreditsData<'_> = serde_json::from_slice::<Envelope<_>>(body).ok()?.data;
    charge(data.total_credits?)?.checked_sub(charge(data.total_usage?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-24T12:00:00Z";

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a time")
    }

    fn usd(text: &str) -> Usd {
        text.parse().expect("an amount")
    }

    fn facts(data: &str) -> Option<KeyFacts> {
        match read_key(200, format!(r#"{{"data":{data}}}"#).as_bytes(), at(NOW)) {
            KeyAnswer::Facts { facts, .. } => Some(facts),
            KeyAnswer::Rejected | KeyAnswer::Silent => None,
        }
    }

    #[test]
    fn a_whole_key_answer() {
        let body = br#"{"data":{"label":"sk-or-v1-au7...890","limit":5,"limit_remaining":4.999999233e0,"limit_reset":"weekly",
            "include_byok_in_limit":false,"usage":7.669e-7,"usage_daily":0,"is_free_tier":false,"is_management_key":false,
            "is_provisioning_key":false,"creator_user_id":"user_1","workspace_id":"w","expires_at":"2027-01-01T00:00:00Z",
            "rate_limit":{"requests":-1,"interval":"10s"},"unheard_of":[{}]}}"#;
        let KeyAnswer::Facts { facts, management } = read_key(200, body, at(NOW)) else { panic!("facts") };
        assert!(!management);
        let account = facts.account.clone().expect("an account");
        assert!(account.len() == 32 && !account.contains("user"), "{account}");
        let expected = KeyFacts {
            limit: Some(usd("5")),
            limit_remaining: Some(usd("4.999999233")),
            resets_at: Some(at("2026-11-30T00:00:00Z")),
            usage: Some(usd("0.0000007669")),
            account: Some(account),
            expires_at: Some(at("2027-01-01T00:00:00Z")),
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn limits_are_stated_or_not() {
        let check = |data: &str, limit: Option<&str>, remaining: Option<&str>, resets: Option<&str>| {
            let facts = facts(data).unwrap_or_else(|| panic!("{data}"));
            assert_eq!(
                (facts.limit, facts.limit_remaining, facts.resets_at),
                (limit.map(usd), remaining.map(usd), resets.map(at)),
                "{data}"
            );
        };
        check("{}", None, None, None);
        check(r#"{"limit":null,"limit_remaining":null,"limit_reset":null}"#, None, None, None);
        let midnight = Some("2026-11-25T00:00:00Z");
        check(r#"{"limit":1,"limit_remaining":-0.01,"limit_reset":"daily"}"#, Some("1"), Some("-0.01"), midnight);
        check(
            r#"{"limit":1,"limit_remaining":0,"limit_reset":"monthly"}"#,
            Some("1"),
            Some("0"),
            Some("2026-12-01T00:00:00Z"),
        );
        check(r#"{"limit":1,"limit_remaining":0,"limit_reset":"yearly"}"#, Some("1"), Some("0"), None);
        // The budget of the workspace is tighter, wider, the same, spent with its reset in the past.
        let budget = |remaining: &str, resets: &str| {
            format!(
                r#"{{"limit":10,"limit_remaining":4,"limit_reset":"daily","effective_budget":
                {{"scope":"workspace","limit_usd":8,"remaining_usd":{remaining},"resets_at":"{resets}"}}}}"#
            )
        };
        check(&budget("0", "2026-11-24T18:00:00Z"), Some("8"), Some("0"), Some("2026-11-24T18:00:00Z"));
        check(&budget("5", "2026-11-24T18:00:00Z"), Some("10"), Some("4"), midnight);
        check(&budget("4", "2026-11-25T00:00:01Z"), Some("10"), Some("4"), Some("2026-11-25T00:00:01Z"));
        check(&budget("0", "2026-11-24T11:00:00Z"), Some("8"), Some("0"), None);
    }

    #[test]
    fn what_cannot_be_read_is_no_statement() {
        for data in [
            "null",
            "[]",
            r#"{"limit":"5"}"#,
            r#"{"limit":-1}"#,
            r#"{"limit":5,"limit_remaining":"much"}"#,
            r#"{"limit":1e99}"#,
            r#"{"limit":null,"limit":5}"#,
            r#"{"limit":5,"effective_budget":{"remaining_usd":true}}"#,
        ] {
            assert_eq!(facts(data), None, "{data}");
        }
        assert_eq!(facts(r#"{"usage":-1,"expires_at":"never","workspace_id":7}"#), Some(KeyFacts::default()));
    }

    #[test]
    fn statuses_of_a_key_answer() {
        let check = |status, body: &str, expected: KeyAnswer| {
            assert_eq!(read_key(status, body.as_bytes(), at(NOW)), expected, "{status} {body}");
        };
        check(401, r#"{"error":{"message":"User not found.","code":401}}"#, KeyAnswer::Rejected);
        check(401, r#"{"error":{"message":"No cookie auth credentials found","code":401}}"#, KeyAnswer::Silent);
        check(401, r#"{"error":{"message":"Missing Authentication header","code":401}}"#, KeyAnswer::Silent);
        check(401, "<html>Unauthorized</html>", KeyAnswer::Silent);
        check(403, r#"{"error":{"message":"…","code":403}}"#, KeyAnswer::Silent);
        check(500, r#"{"data":{"limit":null}}"#, KeyAnswer::Silent);
        check(200, r#"{"error":{"message":"User not found.","code":401}}"#, KeyAnswer::Silent);
        let management = KeyAnswer::Facts { facts: KeyFacts::default(), management: true };
        check(200, r#"{"data":{"is_management_key":true}}"#, management.clone());
        check(200, r#"{"data":{"is_provisioning_key":true}}"#, management);
    }

    #[test]
    fn accounts_meet_by_all_their_ids() {
        let name = |data: &str| facts(data).expect("facts").account;
        let one = name(r#"{"creator_user_id":"u","workspace_id":"w"}"#);
        assert!(one.is_some());
        assert_eq!(one, name(r#"{"workspace_id":"w","creator_user_id":"u","organization_id":null}"#));
        for other in [
            r#"{"creator_user_id":"u"}"#,
            r#"{"creator_user_id":"uw"}"#,
            r#"{"creator_user_id":"w","workspace_id":"u"}"#,
            r#"{"creator_user_id":"u","workspace_id":"w","organization_id":"o"}"#,
        ] {
            assert_ne!(one, name(other), "{other}");
        }
    }

    #[test]
    fn credits_left() {
        let check = |status, body: &str, left: Option<&str>| {
            assert_eq!(read_credits(status, body.as_bytes()), left.map(usd), "{status} {body}");
        };
        check(200, r#"{"data":{"total_credits":100.5,"total_usage":25.75}}"#, Some("74.75"));
        check(200, r#"{"data":{"total_credits":10,"total_usage":10.000000000001}}"#, Some("-0.000000000001"));
        check(200, r#"{"data":{"total_credits":10,"total_usage":null}}"#, None);
        check(200, r#"{"data":{"total_credits":10}}"#, None);
        check(200, r#"{"data":{"total_credits":-10,"total_usage":1}}"#, None);
        check(403, r#"{"error":{"message":"Only management keys can perform this operation","code":403}}"#, None);
    }
}
