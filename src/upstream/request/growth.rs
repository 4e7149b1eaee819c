//! By how much a text grows when a tokenizer brings its characters into normal form.
//!
//! A byte is at least as much as a token, but only of the text that the tokenizer sees. Some bring it into NFC or NFKC
//! first, where one character of three bytes can become eighteen (U+FDFA), and a hold by the bytes we see would be too
//! small. Ordinary text does not grow: of it nothing but the characters outside ASCII are looked at.

use memchr::memmem::Finder;
use once_cell::sync::Lazy;
use unicode_normalization::UnicodeNormalization;

/// Where a character may be written as `\uXXXX`.
pub(super) static ESCAPE: Lazy<Finder<'static>> = Lazy::new(|| Finder::new("\\u"));

/// Whether any character may be written so. Many bodies have not one backslash.
pub(super) fn has_escapes(body: &[u8]) -> bool {
    memchr::memchr(b'\\', body).is_some_and(|at| ESCAPE.find(body.get(at..).unwrap_or_default()).is_some())
}

/// Bytes that a body's characters, written out or (where that is `escaped`) as `\uXXXX`, have more in NFKC than here.
pub(super) fn growth(body: &[u8], escaped: bool) -> u64 {
    let written = if body.is_ascii() { 0 } else { written(body) };
    if !escaped {
        return written;
    }
    let escapes = ESCAPE.find_iter(body).map(|at| of_escape(body.get(at + 2..at + 6)));
    escapes.fold(written, u64::saturating_add)
}

fn written(body: &[u8]) -> u64 {
    let chars = body.utf8_chunks().flat_map(|chunk| chunk.valid().chars());
    chars.filter(|c| !c.is_ascii()).fold(0, |sum, c| sum + grown(c, c.len_utf8()))
}

/// A surrogate pair takes twelve bytes, and no character behind one grows beyond that.
fn of_escape(digits: Option<&[u8]>) -> u64 {
    let code = digits.and_then(|digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
    code.and_then(char::from_u32).map_or(0, |c| grown(c, 6))
}

fn grown(c: char, bytes: usize) -> u64 {
    // Chinese and Japanese as they are usually written, and Korean.
    if matches!(c, '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}')
    {
        return 0;
    }
    let normal: usize = std::iter::once(c).nfkc().map(char::len_utf8).sum();
    normal.saturating_sub(bytes) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn growth(body: &[u8]) -> u64 {
        super::growth(body, has_escapes(body))
    }

    #[test]
    fn ordinary_text_does_not_grow() {
        for text in [
            "",
            "plain",
            "naïve façade",
            "数字とかな、ひらがな。",
            "한국어 문장",
            "مرحبا",
            "Привет",
            "🍲🥘",
            "\\n \\u00e9",
        ] {
            assert_eq!(growth(text.as_bytes()), 0, "{text}");
        }
    }

    #[test]
    fn characters_that_become_sentences_do() {
        // 33 bytes of Arabic for three bytes, or for an escape of six.
        assert_eq!(growth("a\u{fdfa}b".as_bytes()), 30);
        assert_eq!(growth("\u{fdfa}\u{fdfa}".as_bytes()), 60);
        assert_eq!(growth(br"a\ufdfab"), 27);
        // In NFC already: musical symbols and letters of Devanagari that are never composed.
        assert_eq!(growth("\u{1d160}".as_bytes()), 8);
        assert_eq!(growth("\u{958}".as_bytes()), 3);
        assert_eq!(growth(br"\ud834\udd60 \u \u12"), 0);
    }

    #[test]
    fn no_kind_of_character_is_left_out() {
        let all = (0..=u32::from(char::MAX)).filter_map(char::from_u32);
        for c in all {
            let nfkc: usize = std::iter::once(c).nfkc().map(char::len_utf8).sum();
            let nfc: usize = std::iter::once(c).nfc().map(char::len_utf8).sum();
            assert!(grown(c, c.len_utf8()) as usize + c.len_utf8() >= nfkc.max(nfc), "{c:?}");
            assert!(c.len_utf8() < 4 || nfkc.max(nfc) <= 12, "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn a_text_in_normal_form_is_no_longer_than_reckoned(text in any::<String>()) {
            let reckoned = text.len() as u64 + growth(text.as_bytes());
            prop_assert!(text.nfkc().collect::<String>().len() as u64 <= reckoned);
            prop_assert!(text.nfc().collect::<String>().len() as u64 <= reckoned);
        }

        #[test]
        fn any_bytes_are_taken(body in any::<Vec<u8>>()) {
            growth(&body);
        }
    }
}
