//! Which credential of potluck's a request's head presents.
//!
//! SDKs send a key as `Authorization: Bearer …` (OpenAI's and everybody who follows it) or as `x-api-key` (Anthropic's); some
//! send both, with a placeholder in one of them. What is nobody's business here (a key of another service, a placeholder)
//! does not count; what claims to be ours must be it.

use http::{HeaderMap, HeaderName, header};

use super::key::{ClientKey, KeyHash, LastKey};
use super::token;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a head presents.
#[derive(Debug)]
pub enum Presented<'a> {
    /// Nothing that claims to be ours.
    Nothing,
    /// A well-formed client key.
    Key(ClientKey),
    /// The client key that was presented last, by its hash.
    Again(KeyHash),
    /// Something in the form of our tokens.
    Token(Token<'a>),
    /// A client key with a slip in it, or several credentials.
    Malformed,
}

/// A token's text. No `Debug` of it: it opens the pool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token<'a>(pub(super) &'a [u8]);

impl std::fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Find what `headers` present, after `last` on the same connection.
pub fn presented<'a>(headers: &'a HeaderMap, last: &LastKey) -> Presented<'a> {
    let bearers = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| bearer(value.as_bytes()));
    let keys = headers.get_all(X_API_KEY).iter().map(|value| value.as_bytes().trim_ascii());
    let mut ours = bearers.chain(keys).filter(|text| ClientKey::is_claimed_by(text) || token::is_claimed_by(text));
    let Some(text) = ours.next() else { return Presented::Nothing };
    // The same in both places is one credential.
    if ours.any(|other| other != text) {
        return Presented::Malformed;
    }
    if !ClientKey::is_claimed_by(text) {
        return Presented::Token(Token(text));
    }
    if let Some(hash) = last.hash_of(text) {
        return Presented::Again(hash);
    }
    ClientKey::parse(text).map_or(Presented::Malformed, Presented::Key)
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.trim_ascii().split_at_checked(6)?;
    let text = rest.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer") && text.len() < rest.len()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(fields: &[(&str, &str)], expected: &str) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let found = match presented(&headers, &LastKey::default()) {
            Presented::Nothing => "nothing",
            Presented::Key(_) | Presented::Again(_) => "key",
            Presented::Token(_) => "token",
            Presented::Malformed => "malformed",
        };
        assert_eq!(found, expected, "{fields:?}");
    }

    #[test]
    fn sdks_send_keys_in_one_of_two_ways() {
        let key = ClientKey::from_random([7; 32]).text();
        let key = key.expose();
        let other = ClientKey::from_random([8; 32]).text();
        let (bearer, second) = (format!("Bearer {key}"), format!("bearer  {} ", other.expose()));
        check(&[("authorization", &bearer)], "key");
        check(&[("authorization", &second)], "key");
        check(&[("x-api-key", key)], "key");
        check(&[("x-api-key", key), ("authorization", &bearer)], "key");
        check(&[("x-api-key", "sk-ant-placeholder"), ("authorization", &bearer)], "key");
        check(&[("x-api-key", key), ("authorization", "Bearer anything")], "key");
        check(&[("x-api-key", key), ("authorization", &second)], "malformed");
        check(&[("x-api-key", key), ("x-api-key", other.expose())], "malformed");
        check(&[("x-api-key", &key[..75])], "malformed");
        check(&[("x-api-key", &key.to_uppercase().replace("PTL", "ptl"))], "malformed");
        check(&[("authorization", &format!("Basic {key}"))], "nothing");
        check(&[("authorization", &format!("Bearer{key}"))], "nothing");
        check(&[("x-goog-api-key", key), ("cookie", key)], "nothing");
        for foreign in ["", "Bearer", "Bearer ", "Bearer sk-or-v1-00112233", "Bearer a.b.c", "Bearer PTL-00"] {
            check(&[("authorization", foreign)], "nothing");
        }
    }
}
