//! Key texts that cannot be printed.

use std::fmt;

use bytes::Bytes;
use chacha20poly1305::aead::Generate;
use http::HeaderValue;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret text: wiped on drop, redacted in `Debug`, compared in constant time. No `Display`, no `Serialize`.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Keep `text` as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the one place that must have it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same text, in time that depends on lengths only.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(other).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// 256 secret bits: wiped on drop, redacted in `Debug`.
#[derive(Clone)]
pub struct SecretBytes(Zeroizing<[u8; 32]>);

impl SecretBytes {
    /// Keep `bytes` as a secret.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Bits that nobody knows; `None` when the system has none to give.
    pub fn random() -> Option<Self> {
        <[u8; 32]>::try_generate().ok().map(Self::new)
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(…)")
    }
}

/// A well-formed OpenRouter key, ready to be put into a request.
#[derive(Clone)]
pub struct Credential {
    text: Secret,
    bearer: HeaderValue,
    fingerprint: Fingerprint,
}

/// Why a text is not an OpenRouter key. The text itself is never repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormatError {
    /// Empty after trimming.
    #[error("the key is empty")]
    Empty,
    /// Does not begin with `sk-or-v1-`.
    #[error("an OpenRouter key begins with sk-or-v1-")]
    Prefix,
    /// Holds something other than letters, digits, `-` or `_` behind the prefix.
    #[error("the key has characters that no OpenRouter key has (behind sk-or-v1- only letters, digits, - and _)")]
    Characters,
    /// Shorter or longer than any key.
    #[error("the key must have 8 to 128 characters behind sk-or-v1- (real ones have 64)")]
    Length,
}

const PREFIX: &str = "sk-or-v1-";
const BODY_MIN: usize = 8;
const BODY_MAX: usize = 128;

impl Credential {
    /// Check and keep a key.
    ///
    /// Real keys are `sk-or-v1-` and 64 hex digits (`openrouter-api.md` section 2); a wider but still header-safe
    /// alphabet is accepted so that a change of OpenRouter's does not turn donors away.
    ///
    /// # Errors
    /// [`KeyFormatError`] says what is wrong without repeating the text.
    pub fn parse(text: &str) -> Result<Self, KeyFormatError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(KeyFormatError::Empty);
        }
        let body = text.strip_prefix(PREFIX).ok_or(KeyFormatError::Prefix)?;
        if !body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return Err(KeyFormatError::Characters);
        }
        if !(BODY_MIN..=BODY_MAX).contains(&body.len()) {
            return Err(KeyFormatError::Length);
        }
        // Every clone shares these bytes; the last one to go wipes them.
        let line = Bytes::from_owner(Zeroizing::new(format!("Bearer {text}").into_bytes()));
        let mut bearer = HeaderValue::from_maybe_shared(line).map_err(|_| KeyFormatError::Characters)?;
        bearer.set_sensitive(true);
        Ok(Self { bearer, fingerprint: Fingerprint::of(text), text: Secret::new(text) })
    }

    /// The key's text. Only sealing and the upstream header may ask for it.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// `Bearer <key>`, marked sensitive; cloning it copies no bytes.
    pub fn bearer(&self) -> HeaderValue {
        self.bearer.clone()
    }

    /// What the key is recognised by.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// `sk-or-v1-…` and the last four characters: the most that is ever shown.
    pub fn masked(&self) -> String {
        let text = self.text.expose();
        // The alphabet is ASCII, so the cut is on a character; short test keys still hide at least half.
        let tail = text.get(text.len().saturating_sub(4)..).unwrap_or_default();
        format!("{PREFIX}…{tail}")
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// SHA-256 of a key's text: OpenRouter's own `hash` of it (`openrouter-api.md` 6.6), so a donor can find it there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a key's text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "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";

    #[test]
    fn nothing_printable_holds_the_key() {
        let credential = Credential::parse(KEY).expect("well formed");
        assert_eq!(credential.masked(), "sk-or-v1-…beef");
        let debug = format!("{credential:?} {:?} {:?}", Secret::new(KEY), credential.bearer());
        assert!(!debug.contains("0011"), "{debug}");
        assert!(Secret::new(KEY).matches(KEY.as_bytes()) && !Secret::new(KEY).matches(b"x"));
    }

    #[test]
    fn malformed_keys_are_refused_with_the_reason() {
        let check = |text: &str, error| assert_eq!(Credential::parse(text).err(), Some(error), "{text:?}");
        check("  ", KeyFormatError::Empty);
        check("sk-ant-123456789", KeyFormatError::Prefix);
        check("sk-or-v1-abc", KeyFormatError::Length);
        check("sk-or-v1-12345678\r\nX: y", KeyFormatError::Characters);
        check("sk-or-v1-1234567\u{e9}", KeyFormatError::Characters);
    }
}
