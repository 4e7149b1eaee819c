//! Client keys: how they are written, checked and recognised.
//!
//! `ptl-`, 64 hex digits of 256 random bits, and 8 hex digits of the CRC-32 of the 64. The prefix and the checksum are for
//! secret scanners, which find a key by `ptl-[0-9a-f]{72}` and can tell it from a lookalike without asking anybody.

use std::fmt;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::secret::Secret;

const PREFIX: &str = "ptl-";
/// Random bytes in a key: guessing is hopeless, so a fast hash keeps them well enough.
const BYTES: usize = 32;
const DIGITS: usize = 2 * BYTES;
const CHECKSUM_DIGITS: usize = 8;
const TEXT: usize = PREFIX.len() + DIGITS + CHECKSUM_DIGITS;

/// A well-formed client key. Wiped on drop, redacted in `Debug`.
#[derive(Clone)]
pub struct ClientKey(Zeroizing<[u8; BYTES]>);

impl ClientKey {
    /// The key that is made of these random bytes.
    pub fn from_random(bytes: [u8; BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Whether a text claims to be a client key of potluck's.
    pub fn is_claimed_by(text: &[u8]) -> bool {
        text.starts_with(PREFIX.as_bytes())
    }

    /// Read a key; `None` when it has another form or its checksum is wrong.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX.as_bytes())?;
        let (digits, checksum) = rest.split_at_checked(DIGITS)?;
        if checksum != *checksum_of(digits) {
            return None;
        }
        let mut bytes = Zeroizing::new([0; BYTES]);
        match HEXLOWER.decode_mut(digits, &mut *bytes) {
            Ok(BYTES) => Some(Self(bytes)),
            _ => None,
        }
    }

    /// The key as its holder gets it.
    pub fn text(&self) -> Secret {
        let mut digits = Zeroizing::new([0; DIGITS]);
        HEXLOWER.encode_mut(&*self.0, &mut *digits);
        // One allocation of the full size: a growing text would leave copies of itself behind.
        let mut text = String::with_capacity(TEXT);
        text.push_str(PREFIX);
        text.extend(digits.iter().copied().map(char::from));
        text.extend(checksum_of(&*digits).iter().copied().map(char::from));
        Secret::new(text)
    }

    /// `ptl-…` and the last four characters, which are the checksum's: the most that is ever shown again.
    pub fn mask(&self) -> String {
        let text = self.text();
        let tail = text.expose().get(TEXT - 4..).unwrap_or_default();
        format!("{PREFIX}…{tail}")
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey(…)")
    }
}

fn checksum_of(digits: &[u8]) -> Zeroizing<[u8; CHECKSUM_DIGITS]> {
    let mut checksum = Zeroizing::new([0; CHECKSUM_DIGITS]);
    HEXLOWER.encode_mut(&crc32fast::hash(digits).to_be_bytes(), &mut *checksum);
    checksum
}

/// What a client is found by: HMAC-SHA-256 of its key. Without the hasher's own key it tells nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// Hashes client keys with a key of its own. Wiped on drop.
#[derive(Clone)]
pub struct KeyHasher(Hmac<Sha256>);

impl KeyHasher {
    /// A hasher with this key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    /// The hash of a client key.
    pub fn hash(&self, key: &ClientKey) -> KeyHash {
        KeyHash(self.0.clone().chain_update(key.0.as_slice()).finalize().into_bytes().into())
    }
}

/// The key that was presented last on a connection, with its hash: who keeps a connection presents the same one each time.
/// Wiped on drop, redacted in `Debug`.
#[derive(Default)]
pub struct LastKey(Option<(Words, KeyHash)>);

/// A key's text by fours: whatever differs in any of them is gathered and looked at once, so that the time tells nothing of where.
type Words = Zeroizing<[u32; TEXT / 4]>;

fn words(text: &[u8; TEXT]) -> impl Iterator<Item = u32> {
    const { assert!(TEXT.is_multiple_of(4)) };
    text.as_chunks().0.iter().map(|bytes| u32::from_ne_bytes(*bytes))
}

impl LastKey {
    /// It is this one, and that is its hash.
    pub fn new(key: &ClientKey, hash: KeyHash) -> Self {
        Self(key.text().expose().as_bytes().try_into().ok().map(|text| {
            let mut last = Words::default();
            last.iter_mut().zip(words(text)).for_each(|(last, word)| *last = word);
            (last, hash)
        }))
    }

    /// The hash of the key with this text, if that is the one.
    pub fn hash_of(&self, text: &[u8]) -> Option<KeyHash> {
        let (last, hash) = self.0.as_ref()?;
        let pairs = words(text.try_into().ok()?).zip(last.iter());
        let difference = pairs.fold(0, |found, (word, last)| found | (word ^ last));
        bool::from(difference.ct_eq(&0)).then_some(*hash)
    }
}

impl fmt::Debug for LastKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LastKey(…)")
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHasher(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `printf %s 000102…1f | gzip -c | tail -c8 | head -c4` tells the same checksum.
    const KNOWN: &str = "ptl-000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn counting() -> ClientKey {
        ClientKey::from_random(std::array::from_fn(|n| n as u8))
    }

    #[test]
    fn a_key_is_its_prefix_its_digits_and_their_checksum() {
        let text = counting().text();
        assert_eq!(text.expose().len(), 76);
        assert!(text.expose().starts_with(KNOWN), "{}", text.expose());
        assert_eq!(&text.expose()[68..], format!("{:08x}", crc32fast::hash(&KNOWN.as_bytes()[4..])));
        assert_eq!(counting().mask(), format!("ptl-…{}", &text.expose()[72..]));
        let last = LastKey::new(&counting(), KeyHash([7; 32]));
        let printed = format!("{:?} {:?} {last:?}", counting(), KeyHasher::new(&[7; 32]));
        assert_eq!(printed, "ClientKey(…) KeyHasher(…) LastKey(…)");
    }

    #[test]
    fn hashes_depend_on_key_and_hasher() {
        let (one, two) = (KeyHasher::new(&[1; 32]), KeyHasher::new(&[2; 32]));
        let other = ClientKey::from_random([9; 32]);
        assert_eq!(one.hash(&counting()), one.hash(&counting()));
        assert_ne!(one.hash(&counting()), two.hash(&counting()));
        assert_ne!(one.hash(&counting()), one.hash(&other));
    }

    #[test]
    fn only_the_key_that_was_presented_last_is_known_again() {
        let (one, other, mut last) = (counting(), ClientKey::from_random([9; 32]), LastKey::default());
        let known = |last: &LastKey, key: &ClientKey| last.hash_of(key.text().expose().as_bytes());
        assert_eq!(known(&last, &one), None);
        for (key, stranger) in [(&one, &other), (&other, &one)] {
            last = LastKey::new(key, KeyHasher::new(&[1; 32]).hash(key));
            assert_eq!((known(&last, key), known(&last, stranger)), (Some(KeyHasher::new(&[1; 32]).hash(key)), None));
        }
        for text in [KNOWN.as_bytes(), b"", &[0; TEXT + 1], &[0; TEXT]] {
            assert_eq!(last.hash_of(text), None);
        }
    }

    proptest! {
        #[test]
        fn every_key_is_read_back(bytes: [u8; 32]) {
            let text = ClientKey::from_random(bytes).text();
            let key = ClientKey::parse(text.expose().as_bytes());
            prop_assert_eq!(key.map(|key| *key.0), Some(bytes));
        }

        #[test]
        fn a_slip_anywhere_is_noticed(bytes: [u8; 32], at in 0_usize..76, other in 0_u8..128) {
            let mut text = ClientKey::from_random(bytes).text().expose().as_bytes().to_vec();
            prop_assume!(text[at] != other);
            text[at] = other;
            prop_assert!(ClientKey::parse(&text).is_none());
            text.truncate(at);
            prop_assert!(ClientKey::parse(&text).is_none());
        }

        #[test]
        fn nothing_else_is_read(mut text: Vec<u8>) {
            prop_assert!(ClientKey::parse(&text).is_none());
            text.splice(0..0, *b"ptl-");
            prop_assert!(ClientKey::parse(&text).is_none());
        }
    }
}
