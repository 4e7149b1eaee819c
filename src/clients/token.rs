//! Tokens: signed, short-lived stand-ins for a client key, made for one user of its holder.
//!
//! A token is a JWT signed with HS256: whoever verifies it is who signed it. Its key id begins with `ptl-`, by which it is
//! told from other services' tokens. It names the client and dies with it; what the client may do is looked up at each
//! use, not written into it.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result as JwtResult};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::clock::Timestamp;
use crate::money::{ClientId, UserId};
use crate::secret::Secret;

use super::Rejection;
use super::presented::Token;

/// Characters of a user's id.
pub const USER_MAX_CHARS: usize = 128;
/// The longest token there can be, with room to spare.
const TOKEN_MAX_BYTES: usize = 2048;
const KEY_ID_PREFIX: &str = "ptl-";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The client whose key it was issued for.
    pub client: ClientId,
    /// Which of the client's users it was issued for.
    pub user: Option<ClientUser>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it is over.
    pub expires_at: Timestamp,
}

/// One of a client's users.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientUser {
    /// potluck's number for it.
    pub id: UserId,
    /// The client's own name for it.
    pub name: Box<str>,
}

/// The claims as they stand in a token, with times in seconds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    sub: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    iat: i64,
    exp: i64,
}

/// Whether a text can be a client's name for one of its users.
pub fn is_user_id(text: &str) -> bool {
    let length = text.chars().take(USER_MAX_CHARS + 1).count();
    (1..=USER_MAX_CHARS).contains(&length) && !text.chars().any(char::is_control)
}

/// Whether a text has the form of our tokens.
pub(super) fn is_claimed_by(text: &[u8]) -> bool {
    // Every JSON object in base64 begins so.
    text.starts_with(b"eyJ") && text.len() <= TOKEN_MAX_BYTES && key_id(text).is_some()
}

fn key_id(text: &[u8]) -> Option<String> {
    decode_header(text).ok()?.kid.filter(|kid| kid.starts_with(KEY_ID_PREFIX))
}

/// A signing key's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SigningKeyId(pub u32);

impl std::fmt::Display for SigningKeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{KEY_ID_PREFIX}{}", self.0)
    }
}

/// A key that tokens are signed with. Wiped on drop, redacted in `Debug`.
#[derive(Clone)]
pub struct SigningKey {
    id: SigningKeyId,
    signing: EncodingKey,
    verifying: DecodingKey,
    retired_at: Option<Timestamp>,
}

impl SigningKey {
    /// The key of 256 random bits; `retired_at` is when another one took its place.
    pub fn new(id: SigningKeyId, secret: &[u8; 32], retired_at: Option<Timestamp>) -> Self {
        Self { id, signing: EncodingKey::from_secret(secret), verifying: DecodingKey::from_secret(secret), retired_at }
    }

    /// Its number.
    pub fn id(&self) -> SigningKeyId {
        self.id
    }

    /// Whether none has taken its place.
    pub fn signs(&self) -> bool {
        self.retired_at.is_none()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({}, …)", self.id)
    }
}

/// The keys that tokens are signed with: one that signs, and those before it whose tokens are not over yet.
#[derive(Clone, Debug)]
pub struct Keyring {
    current: SigningKey,
    retired: Vec<SigningKey>,
}

/// How tokens are verified. Times are judged by the caller's clock, not by the library's.
static VALIDATION: LazyLock<Validation> = LazyLock::new(|| {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims = HashSet::new();
    validation
});

impl Keyring {
    /// No token lives longer, whatever is set.
    pub const LIFE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    /// Keys that are retired and still verify; a rotation that would make more of them has to wait or end their tokens.
    pub const RETIRED_MAX: usize = 16;

    /// A ring of these keys, of which the last one that is not retired signs; `None` when there is none.
    pub fn new(keys: Vec<SigningKey>) -> Option<Self> {
        // Taken once for the whole process. Where somebody else has set another one, that knows HS256 as well.
        PROVIDER.install_default().ok();
        let (mut current, retired): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.retired_at.is_none());
        Some(Self { current: current.pop()?, retired })
    }

    /// Whether another key may take over at `now`.
    pub fn has_room(&self, now: Timestamp, ends_tokens: bool) -> bool {
        ends_tokens || self.retired.iter().filter(|key| !key.is_over(now)).count() < Self::RETIRED_MAX
    }

    /// The ring after `next` has taken over at `now`; keys whose tokens are all over are left out, and all old ones where
    /// their tokens are to end.
    pub fn rotated(&self, next: SigningKey, now: Timestamp, ends_tokens: bool) -> Self {
        let mut retired = Vec::new();
        if !ends_tokens {
            retired.extend(self.retired.iter().filter(|key| !key.is_over(now)).cloned());
            retired.push(SigningKey { retired_at: Some(now), ..self.current.clone() });
        }
        Self { current: next, retired }
    }

    /// The keys there are, the one that signs last.
    pub fn ids(&self) -> impl Iterator<Item = SigningKeyId> + '_ {
        self.retired.iter().chain([&self.current]).map(SigningKey::id)
    }

    /// Sign a token. `None` is a fault of ours.
    pub fn sign(&self, claims: &Claims) -> Option<Secret> {
        let seconds = |at: Timestamp| at.as_millis().div_euclid(1000);
        let written = Written {
            sub: claims.client.0,
            user: claims.user.as_ref().map(|user| (&*user.name).into()),
            uid: claims.user.as_ref().map(|user| user.id.0),
            iat: seconds(claims.issued_at),
            exp: seconds(claims.expires_at),
        };
        let header = Header { kid: Some(self.current.id.to_string()), ..Header::new(Algorithm::HS256) };
        encode(&header, &written, &self.current.signing).ok().map(Secret::new)
    }

    /// Verify a token.
    ///
    /// # Errors
    /// Why it is no good. Whether its client is still there is for the caller to find out.
    pub fn verify(&self, token: Token<'_>, now: Timestamp) -> Result<Claims, Rejection> {
        let kid = key_id(token.0).ok_or(Rejection::Malformed)?;
        let mut keys = self.retired.iter().chain([&self.current]);
        let key = keys.find(|key| key.id.to_string() == kid).ok_or(Rejection::Unknown)?;
        let written: Written<'_> = decode(token.0, &key.verifying, &VALIDATION).map_err(|_| Rejection::Unknown)?.claims;
        let claims = Claims {
            client: ClientId(written.sub),
            user: match (written.uid, written.user) {
                (None, None) => None,
                (Some(id), Some(name)) => Some(ClientUser { id: UserId(id), name: name.into() }),
                // Signed by us it would have both.
                _ => return Err(Rejection::Unknown),
            },
            issued_at: Timestamp::from_secs(written.iat),
            expires_at: Timestamp::from_secs(written.exp),
        };
        if claims.expires_at <= now || key.is_over(now) { Err(Rejection::Expired) } else { Ok(claims) }
    }
}

impl SigningKey {
    /// Whether every token that it has signed is over.
    fn is_over(&self, now: Timestamp) -> bool {
        self.retired_at.is_some_and(|at| at.after(Keyring::LIFE_MAX) <= now)
    }
}

/// HS256 by the `hmac` crate, and nothing else: a token that claims another algorithm is refused before it gets here.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256::new(key.as_bytes())?)),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256::new(key.try_get_as_bytes()?)?)),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(key: &[u8]) -> JwtResult<Self> {
        Hmac::new_from_slice(key).map(Self).map_err(|_| ErrorKind::InvalidKeyFormat.into())
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.clone().chain_update(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        // In constant time.
        self.0.clone().chain_update(message).verify_slice(signature).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests;
