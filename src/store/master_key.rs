//! The master key: where it comes from, and how its file is made and guarded.
//!
//! It lies outside the database on purpose: a copy of the database alone opens nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use chacha20poly1305::aead::Generate;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secret::{Secret, SecretBytes};

/// Room for any spelling of 32 bytes and the white space around it; a longer file is not ours.
const FILE_MAX_BYTES: usize = 256;
const KEY_BYTES: usize = 32;
const VARIABLE: &str = "POTLUCK_MASTER_KEY";

/// Why there is no usable master key. Never holds the key.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// Not 32 bytes in a known spelling.
    #[error(
        "{origin} does not hold a master key: 64 hex digits, or base64 of 32 bytes (as from `openssl rand -hex 32`)"
    )]
    Malformed {
        /// The variable or file.
        origin: String,
    },
    /// Others can read the file.
    #[error(
        "{path} can be read by others (mode {mode:o}): whoever did can open every stored key. Run `chmod 600 {path}` \
         once you know who had access",
        path = .path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file cannot be read or made.
    #[error("{path}: {reason}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: Arc<str>,
    },
    /// The database is sealed, and there is nothing to open it with.
    #[error(
        "the stored keys are sealed with a master key that is not here: restore {path} or set {VARIABLE}. \
         (If it is lost for good, move the database away and add the keys again.)",
        path = .path.display()
    )]
    Missing {
        /// Where the file belongs.
        path: PathBuf,
    },
    /// The key does not open the database.
    #[error(
        "the master key from {origin} is not the one the stored keys are sealed with: give the right one (in {VARIABLE} \
         or the file master.key beside the database). Nothing was changed"
    )]
    Wrong {
        /// The variable or file the key came from.
        origin: String,
    },
    /// The system gives no random numbers.
    #[error("the system's random number generator failed")]
    NoRandomness,
}

/// 32 secret bytes, wiped on drop, and where they came from.
pub(super) struct MasterKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    origin: String,
}

impl MasterKey {
    /// The key of the environment, or else of the file; `None` when there is neither.
    pub(super) fn find(given: Option<&Secret>, file: &Path) -> Result<Option<Self>, MasterKeyError> {
        match given {
            Some(text) => Self::parse(text.expose(), VARIABLE.to_owned()).map(Some),
            None => Self::read(file),
        }
    }

    /// Make a new key and its file. When another process was quicker, its key is taken.
    pub(super) fn create(file: &Path) -> Result<Self, MasterKeyError> {
        let bytes = Zeroizing::new(<[u8; KEY_BYTES]>::try_generate().map_err(|_| MasterKeyError::NoRandomness)?);
        let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
        for byte in bytes.iter() {
            text.push(hex_digit(byte >> 4));
            text.push(hex_digit(byte & 15));
        }
        text.push('\n');
        place(file, text.as_bytes()).map_err(|error| fault(file, &error))?;
        Self::read(file)?.ok_or_else(|| MasterKeyError::Missing { path: file.to_owned() })
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    /// A key for another purpose than sealing, from which nothing about this one can be told.
    pub(super) fn derive(&self, purpose: &str) -> SecretBytes {
        let mac = Hmac::<Sha256>::new_from_slice(&*self.bytes).expect("HMAC takes keys of any length");
        SecretBytes::new(mac.chain_update(purpose).finalize().into_bytes().into())
    }

    /// The variable or file the key came from.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    fn read(path: &Path) -> Result<Option<Self>, MasterKeyError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault(path, &error)),
        };
        let mode = file.metadata().map_err(|error| fault(path, &error))?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(MasterKeyError::Exposed { path: path.to_owned(), mode });
        }
        // One allocation of the full size: a growing buffer would leave copies of the key behind.
        let mut text = Zeroizing::new(vec![0; FILE_MAX_BYTES]);
        let mut length = 0;
        while let Some(free) = text.get_mut(length..).filter(|free| !free.is_empty()) {
            match file.read(free).map_err(|error| fault(path, &error))? {
                0 => break,
                read => length += read,
            }
        }
        let origin = path.display().to_string();
        let text = text.get(..length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
        Self::parse(text, origin).map(Some)
    }

    fn parse(text: &str, origin: String) -> Result<Self, MasterKeyError> {
        let text = text.trim().as_bytes();
        let bytes = if text.len() == 2 * KEY_BYTES { parse_hex(text) } else { parse_base64(text) };
        match bytes {
            Some(bytes) => Ok(Self { bytes, origin }),
            None => Err(MasterKeyError::Malformed { origin }),
        }
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey(from {})", self.origin)
    }
}

fn fault(path: &Path, error: &std::io::Error) -> MasterKeyError {
    MasterKeyError::File { path: path.to_owned(), reason: error.to_string().into() }
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

fn parse_hex(text: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16)?;
            *byte = *byte << 4 | u8::try_from(value).ok()?;
        }
    }
    Some(bytes)
}

fn parse_base64(text: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    const PADDING_AS_GIVEN: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    [alphabet::STANDARD, alphabet::URL_SAFE].iter().find_map(|alphabet| {
        let engine = GeneralPurpose::new(alphabet, PADDING_AS_GIVEN);
        engine.decode_slice(text, bytes.as_mut_slice()).ok().filter(|length| *length == KEY_BYTES)
    })?;
    Some(bytes)
}

/// Put a file in its place whole or not at all, for the owner only, never over another file.
fn place(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let directory = parent(path);
    let draft = directory.join(format!(".master.key.{:016x}", rand::random::<u64>()));
    let written = write_new(&draft, content).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    fs::remove_file(&draft)?;
    written?;
    File::open(directory)?.sync_all()
}

fn write_new(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Make the directory of `path`, for the owner only, unless it exists.
pub(super) fn prepare_directory(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(parent(path))
}

/// The directory a file lies in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn find(text: &str) -> Option<[u8; 32]> {
        let found = MasterKey::find(Some(&Secret::new(text)), Path::new("/nonexistent"));
        found.ok().flatten().map(|key| *key.bytes())
    }

    #[test]
    fn every_spelling_of_32_bytes_is_read() {
        let expected: Vec<u8> = (0..32).collect();
        for text in [
            HEX,
            &HEX.to_uppercase(),
            &format!(" {HEX}\n"),
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        ] {
            assert_eq!(find(text).as_ref().map(|k| k.as_slice()), Some(expected.as_slice()), "{text}");
        }
        assert_eq!(
            find("--__--__--__--__--__--__--__--__--__--__--8"),
            find("++//++//++//++//++//++//++//++//++//++//++8=")
        );
        for text in ["", " ", "00", &HEX[1..], &format!("{HEX}00"), &HEX.replace('0', "g"), "AAECAwQF", "\u{e9}"] {
            assert_eq!(find(text), None, "{text}");
        }
    }

    #[test]
    fn a_made_key_is_read_again_and_nobody_else_can_read_it() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("data").join("master.key");
        prepare_directory(&path).expect("made");
        assert!(MasterKey::find(None, &path).expect("readable").is_none());
        let made = MasterKey::create(&path).expect("made");
        let again = MasterKey::find(None, &path).expect("readable").expect("there");
        assert_eq!(made.bytes(), again.bytes());
        assert_eq!(MasterKey::create(&path).expect("the first one counts").bytes(), made.bytes());
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(parent(&path))), (0o600, 0o700));
        assert_eq!(fs::read_dir(parent(&path)).expect("readable").count(), 1, "no draft is left");
        assert!(!format!("{made:?}").contains(fs::read_to_string(&path).expect("text").trim()));
    }

    #[test]
    fn an_exposed_or_empty_file_is_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("master.key");
        let check = |content: &str, mode: u32, expected: &str| {
            fs::write(&path, content).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            let error = MasterKey::find(None, &path).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(fs::read_to_string(&path).expect("untouched"), content);
        };
        check(HEX, 0o640, "chmod 600");
        check(HEX, 0o604, "mode 604");
        check("", 0o600, "does not hold a master key");
        check(&HEX[..62], 0o600, "does not hold a master key");
        check(&"0".repeat(1000), 0o600, "does not hold a master key");
    }
}
