//! What must not be found, in all the forms in which it would still be of use.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// So much of a secret is already too much.
const FRAGMENT: usize = 16;

/// A set of forbidden byte strings.
pub struct Needles(Vec<(String, Vec<u8>)>);

impl Needles {
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// A secret text: every fragment of it, in hex, in base64 however it is shifted, and what it is in hex itself.
    pub fn secret(&mut self, name: &str, text: &str) {
        let bytes = text.as_bytes();
        let core = text.strip_prefix("sk-or-v1-").or(text.strip_prefix("ptl-")).unwrap_or(text).as_bytes();
        for window in core.windows(FRAGMENT.min(core.len())) {
            self.exactly(name, window);
            self.exactly(&format!("{name} in hex"), hex(window).as_bytes());
            self.exactly(&format!("{name} in HEX"), hex(window).to_ascii_uppercase().as_bytes());
        }
        self.base64(name, bytes);
        let digits: Option<Vec<u8>> =
            core.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
        if let Some(raw) = digits {
            self.exactly(&format!("{name} as bytes"), &raw[..FRAGMENT]);
            self.base64(&format!("{name} as bytes"), &raw);
        }
    }

    fn base64(&mut self, name: &str, bytes: &[u8]) {
        for shift in 0..3 {
            // The last quartets depend on what follows.
            let coded = STANDARD.encode(&bytes[shift..]);
            let whole = &coded.as_bytes()[..(bytes.len() - shift) / 3 * 4];
            whole.windows(24).step_by(4).for_each(|window| self.exactly(&format!("{name} in base64"), window));
            let url: Vec<u8> = whole
                .iter()
                .map(|b| {
                    if *b == b'+' {
                        b'-'
                    } else if *b == b'/' {
                        b'_'
                    } else {
                        *b
                    }
                })
                .collect();
            url.windows(24).step_by(4).for_each(|window| self.exactly(&format!("{name} in base64url"), window));
        }
    }

    /// Exactly these bytes.
    pub fn exactly(&mut self, name: &str, bytes: &[u8]) {
        self.0.push((name.to_owned(), bytes.to_vec()));
    }

    /// The first of them that is there.
    pub fn found_in(&self, hay: &[u8]) -> Option<&str> {
        self.0.iter().find(|(_, needle)| memchr::memmem::find(hay, needle).is_some()).map(|(name, _)| name.as_str())
    }

    pub fn assert_not_in(&self, place: &str, hay: &[u8]) {
        if let Some(name) = self.found_in(hay) {
            panic!("{name} is in {place}: {}", String::from_utf8_lossy(&hay[..hay.len().min(4000)]));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_form_is_found() {
    let key = "sk-or-v1-0fe1d2c3b4a5968778695a4b3c2d1e0f0123456789abcdef55aa55aa12ef90cd";
    let mut needles = Needles::new();
    needles.secret("a key", key);
    let core = &key[9..];
    let raw: Vec<u8> = (0..32).map(|n| u8::from_str_radix(&core[2 * n..2 * n + 2], 16).unwrap()).collect();
    let forms = [
        key.as_bytes().to_vec(),
        core.as_bytes()[20..40].to_vec(),
        STANDARD.encode(key).into_bytes(),
        STANDARD.encode(format!("x{key}")).into_bytes(),
        STANDARD.encode(format!("Bearer {key}")).into_bytes(),
        hex(key.as_bytes()).into_bytes(),
        STANDARD.encode(&raw).into_bytes(),
        raw,
    ];
    for form in forms {
        let hay = [b"before ", &form[..], b" after"].concat();
        assert!(needles.found_in(&hay).is_some(), "{}", String::from_utf8_lossy(&form));
    }
    assert_eq!(needles.found_in("sk-or-v1-…90cd and 0fe1d2c3b4a5968".as_bytes()), None);
}
