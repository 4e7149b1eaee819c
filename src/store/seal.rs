//! Sealing keys at rest: XChaCha20-Poly1305, a fresh random nonce each time, bound to the row.
//!
//! A sealed text is `version (1 byte) · nonce (24) · ciphertext and tag`. What it belongs to — a pooled key's id and
//! fingerprint, a signing key's id — is authenticated with it, so a text moved to another row does not open.

use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::clients::SigningKeyId;
use crate::pool::KeyId;
use crate::secret::{Credential, Fingerprint, SecretBytes};

use super::master_key::{MasterKey, MasterKeyError};

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
/// What the check value says: opened correctly, it shows that the master key is the right one.
const CHECK: &[u8] = b"sealed by this master key";

/// What a sealed text belongs to.
enum Place<'a> {
    Key { id: KeyId, fingerprint: &'a Fingerprint },
    Signing { id: SigningKeyId },
    Check,
}

impl Place<'_> {
    /// The bytes authenticated with a text. Each kind begins with its own name, so none can pass for another.
    fn name(&self) -> Vec<u8> {
        match self {
            Self::Key { id, fingerprint } => [b"potluck key\0", &id.0.to_be_bytes()[..], &fingerprint.0].concat(),
            Self::Signing { id } => [b"potluck signing key\0", &id.0.to_be_bytes()[..]].concat(),
            Self::Check => b"potluck check\0".to_vec(),
        }
    }
}

/// Seals and opens with one master key. Wiped on drop.
pub(super) struct Sealer(XChaCha20Poly1305);

impl Sealer {
    pub(super) fn new(key: &MasterKey) -> Self {
        Self(XChaCha20Poly1305::new(&Key::from(*key.bytes())))
    }

    /// The sealed text of a key.
    pub(super) fn seal_key(&self, id: KeyId, credential: &Credential) -> Result<Vec<u8>, MasterKeyError> {
        let place = Place::Key { id, fingerprint: &credential.fingerprint() };
        self.seal(&place, credential.expose().as_bytes())
    }

    /// The key sealed for this row, or `None` when the text was not sealed for it, or was changed.
    pub(super) fn open_key(&self, id: KeyId, fingerprint: &Fingerprint, sealed: &[u8]) -> Option<Credential> {
        let text = self.open(&Place::Key { id, fingerprint }, sealed)?;
        let credential = Credential::parse(std::str::from_utf8(&text).ok()?).ok()?;
        (credential.fingerprint() == *fingerprint).then_some(credential)
    }

    /// The sealed text of a key for signing tokens.
    pub(super) fn seal_signing(&self, id: SigningKeyId, secret: &SecretBytes) -> Result<Vec<u8>, MasterKeyError> {
        self.seal(&Place::Signing { id }, secret.expose())
    }

    /// The signing key sealed for this row, or `None` when the text was not sealed for it, or was changed.
    pub(super) fn open_signing(&self, id: SigningKeyId, sealed: &[u8]) -> Option<SecretBytes> {
        let bytes = self.open(&Place::Signing { id }, sealed)?;
        Some(SecretBytes::new(<[u8; 32]>::try_from(&bytes[..]).ok()?))
    }

    /// A value that only this master key opens.
    pub(super) fn seal_check(&self) -> Result<Vec<u8>, MasterKeyError> {
        self.seal(&Place::Check, CHECK)
    }

    /// Whether `sealed` is a check value of this master key.
    pub(super) fn opens_check(&self, sealed: &[u8]) -> bool {
        self.open(&Place::Check, sealed).is_some_and(|text| *text == CHECK)
    }

    fn seal(&self, place: &Place<'_>, text: &[u8]) -> Result<Vec<u8>, MasterKeyError> {
        let nonce = XNonce::try_generate().map_err(|_| MasterKeyError::NoRandomness)?;
        let payload = Payload { msg: text, aad: &aad(place) };
        // The cipher only refuses texts of gigabytes.
        let sealed = self.0.encrypt(&nonce, payload).map_err(|_| MasterKeyError::NoRandomness)?;
        Ok([&[VERSION][..], &nonce[..], &sealed].concat())
    }

    fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (&VERSION, rest) = sealed.split_first()? else { return None };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: &aad(place) };
        self.0.decrypt(&XNonce::from(*nonce), payload).ok().map(Zeroizing::new)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(…)")
    }
}

fn aad(place: &Place<'_>) -> Vec<u8> {
    [&[VERSION][..], &place.name()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn sealer(digit: &str) -> Sealer {
        let text = Secret::new(digit.repeat(64));
        let key = MasterKey::find(Some(&text), std::path::Path::new("/none")).expect("well formed").expect("given");
        Sealer::new(&key)
    }

    fn credential() -> Credential {
        Credential::parse("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").expect("valid")
    }

    #[test]
    fn a_key_opens_in_its_own_row_only() {
        let (sealer, credential) = (sealer("1"), credential());
        let fingerprint = credential.fingerprint();
        let sealed = sealer.seal_key(KeyId(7), &credential).expect("sealed");
        let opened = sealer.open_key(KeyId(7), &fingerprint, &sealed).expect("opens");
        assert_eq!(opened.expose(), credential.expose());
        assert!(sealer.open_key(KeyId(8), &fingerprint, &sealed).is_none());
        assert!(sealer.open_key(KeyId(7), &Fingerprint([0; 32]), &sealed).is_none());
        assert!(super::tests::sealer("2").open_key(KeyId(7), &fingerprint, &sealed).is_none());
        assert!(!sealer.opens_check(&sealed));
    }

    #[test]
    fn a_signing_key_opens_in_its_own_row_only() {
        let (sealer, secret) = (sealer("1"), SecretBytes::new([7; 32]));
        let sealed = sealer.seal_signing(SigningKeyId(7), &secret).expect("sealed");
        let opened = sealer.open_signing(SigningKeyId(7), &sealed).expect("opens");
        assert_eq!(opened.expose(), secret.expose());
        assert!(sealer.open_signing(SigningKeyId(8), &sealed).is_none());
        assert!(super::tests::sealer("2").open_signing(SigningKeyId(7), &sealed).is_none());
        assert!(sealer.open_key(KeyId(7), &credential().fingerprint(), &sealed).is_none());
    }

    #[test]
    fn a_changed_or_cut_text_does_not_open() {
        let (sealer, credential) = (sealer("1"), credential());
        let fingerprint = credential.fingerprint();
        let sealed = sealer.seal_key(KeyId(7), &credential).expect("sealed");
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                assert!(sealer.open_key(KeyId(7), &fingerprint, &changed).is_none(), "byte {at} bit {bit}");
            }
            assert!(sealer.open_key(KeyId(7), &fingerprint, &sealed[..at]).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn the_same_key_never_looks_the_same_twice() {
        let (sealer, credential) = (sealer("1"), credential());
        let seal = || sealer.seal_key(KeyId(7), &credential).expect("sealed");
        assert_ne!(seal(), seal());
        let check = sealer.seal_check().expect("sealed");
        assert!(sealer.opens_check(&check) && !super::tests::sealer("2").opens_check(&check));
    }
}
