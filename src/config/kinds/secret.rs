//! The kinds of settings that are secrets: never in the configuration file, never repeated in a message.

use super::{Describe, Kind, Sample};
use crate::config::fault::Source;
use crate::config::raw::{Given, Value};
use crate::secret::{Credential, Secret};

/// A token or passphrase that a human or a deployment made.
pub(in crate::config) struct SecretText {
    pub(in crate::config) min_bytes: usize,
}

const SECRET_MAX_BYTES: usize = 4096;

/// Words that only examples and careless defaults have.
const EXAMPLES: [&str; 8] =
    ["changeme", "change-me", "change_me", "example", "password", "placeholder", "your-", "your_"];

impl Kind for SecretText {
    type Checked = Option<Secret>;

    fn default(&self) -> Option<Secret> {
        None
    }

    fn read(&self, given: &Given) -> Result<Option<Secret>, String> {
        // Files end with a line break, and so do many shell substitutions.
        let text = secret_text(given)?.trim_end_matches(['\r', '\n']);
        let lower = text.to_ascii_lowercase();
        let first = text.bytes().next();
        if text.len() < self.min_bytes || text.len() > SECRET_MAX_BYTES {
            let (min, is) = (self.min_bytes, text.len());
            return Err(format!(
                "must have {min} to {SECRET_MAX_BYTES} characters, not {is}; make one with `openssl rand -hex 32`"
            ));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("must hold only ASCII characters without spaces; make one with `openssl rand -hex 32`".into());
        }
        if EXAMPLES.iter().any(|word| lower.contains(word)) || text.bytes().all(|b| Some(b) == first) {
            return Err("is an example value that everybody knows; make one with `openssl rand -hex 32`".into());
        }
        Ok(Some(Secret::new(text)))
    }
}

impl Describe for SecretText {
    fn describe(&self) -> String {
        format!("At least {} characters; default none.", self.min_bytes)
    }

    fn sample(&self) -> Sample {
        Sample::Never
    }
}

/// OpenRouter keys, comma separated.
pub(in crate::config) struct KeyList {
    pub(in crate::config) entries_max: usize,
}

impl Kind for KeyList {
    type Checked = Vec<Credential>;

    fn default(&self) -> Vec<Credential> {
        Vec::new()
    }

    fn read(&self, given: &Given) -> Result<Vec<Credential>, String> {
        let texts: Vec<&str> = secret_text(given)?.split(',').map(str::trim).collect();
        let given = texts.iter().enumerate().filter(|(_, text)| !text.is_empty());
        let mut keys = Vec::new();
        let mut wrong = Vec::new();
        for (index, text) in given {
            match Credential::parse(text) {
                Ok(key) => keys.push(key),
                Err(error) => wrong.push(format!("key {} of {}: {error}", index + 1, texts.len())),
            }
        }
        if keys.len() > self.entries_max {
            wrong.push(format!("at most {} keys; add the others through the admin API", self.entries_max));
        }
        if wrong.is_empty() { Ok(keys) } else { Err(wrong.join("; ")) }
    }
}

impl Describe for KeyList {
    fn describe(&self) -> String {
        format!("Comma separated, up to {}; default none.", self.entries_max)
    }

    fn sample(&self) -> Sample {
        Sample::Never
    }
}

fn secret_text(given: &Given) -> Result<&str, String> {
    match (&given.value, &given.source) {
        (Value::Text(text), Source::Environment(_) | Source::SecretFile(_)) => Ok(text),
        _ => Err("is a secret: set it in the environment".into()),
    }
}
