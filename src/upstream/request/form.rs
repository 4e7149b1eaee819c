//! The `model` of an upload: one field of a `multipart/form-data` body (RFC 7578), read with care and never insisted on.
//!
//! The rest of the form is stepped over. What is not plain, ends early, or names the model twice counts as unknown: it is
//! forwarded as it came, and the upstream decides what it means.

use std::borrow::Cow;

use memchr::memmem;

/// Parts looked at; a transcription has half a dozen.
const PARTS_MAX: usize = 64;
/// The longest head of a part, in bytes.
const HEAD_MAX_BYTES: usize = 4 * 1024;
/// RFC 2046 allows no longer boundary.
const BOUNDARY_MAX_BYTES: usize = 70;
/// A longer name is no model's.
const MODEL_MAX_BYTES: usize = 256;

/// The one `model` field of a form, if there is exactly one that can be a model's name.
pub(super) fn model<'a>(body: &'a [u8], content_type: &str) -> Option<&'a str> {
    let boundary = parameter(content_type, "boundary").filter(|b| (1..=BOUNDARY_MAX_BYTES).contains(&b.len()))?;
    let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
    let finder = memmem::Finder::new(&delimiter);
    // The first delimiter may stand at the very beginning, without a line end before it.
    let opening = delimiter.get(2..)?;
    let mut rest = match body.strip_prefix(opening) {
        Some(rest) => rest,
        None => body.get(finder.find(body)? + delimiter.len()..)?,
    };
    let mut model = None;
    for _ in 0..PARTS_MAX {
        // Behind a delimiter: `--` ends the form, anything else but white space makes it something else.
        if rest.starts_with(b"--") {
            return model;
        }
        let padding = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let part = rest.get(padding..)?.strip_prefix(b"\r\n")?;
        let end = finder.find(part)?;
        let (head, content) = split_part(part.get(..end)?)?;
        if is_field(head, "model") {
            let named = std::str::from_utf8(content).ok().filter(|name| is_name(name));
            // A second one, or one that is no name, and it is not known which counts.
            model = Some(named.filter(|_| model.is_none())?);
        }
        rest = part.get(end + delimiter.len()..)?;
    }
    None
}

/// A part's header lines and its content.
fn split_part(part: &[u8]) -> Option<(&str, &[u8])> {
    if let Some(content) = part.strip_prefix(b"\r\n") {
        return Some(("", content));
    }
    let window = part.get(..HEAD_MAX_BYTES).unwrap_or(part);
    let end = memmem::find(window, b"\r\n\r\n")?;
    // Names of files may be in any encoding; a head that is not text is not the model's.
    let head = std::str::from_utf8(part.get(..end)?).unwrap_or_default();
    Some((head, part.get(end + 4..)?))
}

/// Whether a part is the text field of that name. A file is none, whatever it is called.
fn is_field(head: &str, name: &str) -> bool {
    let disposition = head.split("\r\n").find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    disposition.is_some_and(|value| {
        let of_form = value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("form-data"));
        let is_file = parameter(value, "filename").is_some() || parameter(value, "filename*").is_some();
        of_form && !is_file && parameter(value, "name").is_some_and(|found| found == name)
    })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MODEL_MAX_BYTES && !text.chars().any(char::is_control)
}

/// A parameter of a header's value, quoted or not: `form-data; name="model"`.
fn parameter<'a>(value: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (found, behind) = rest.split_once('=')?;
        let (text, after) = match behind.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (token, after) = behind.split_once(';').unwrap_or((behind, ""));
                (Cow::Borrowed(token.trim()), after)
            }
        };
        if found.trim().eq_ignore_ascii_case(name) {
            return Some(text);
        }
        rest = after;
    }
}

/// A quoted text behind its opening quote, and what follows the parameter it belongs to.
fn unquote(quoted: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut escaped = false;
    let end = quoted.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    let text = quoted.get(..end)?;
    let after = quoted.get(end + 1..)?.trim_start();
    let text = if text.contains('\\') { Cow::Owned(unescape(text)) } else { Cow::Borrowed(text) };
    Some((text, after.strip_prefix(';').unwrap_or(after)))
}

fn unescape(text: &str) -> String {
    let mut escaped = false;
    text.chars()
        .filter(|c| {
            escaped = *c == '\\' && !escaped;
            !escaped
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIND: &str = "multipart/form-data; boundary=b";

    fn part(lines: &str, content: &str) -> String {
        format!("--b\r\n{lines}\r\n\r\n{content}\r\n")
    }

    fn field(name: &str, content: &str) -> String {
        part(&format!("Content-Disposition: form-data; name=\"{name}\""), content)
    }

    fn file() -> String {
        let lines = "Content-Disposition: form-data; name=\"file\"; filename=\"model.wav\"\r\nContent-Type: audio/wav";
        part(lines, "RIFF\0\u{1}--b\r\n--bx\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nno\r\n- -b")
            .replacen("--b\r\n--bx", "--c\r\n--c", 1)
    }

    #[track_caller]
    fn check(body: &str, expected: Option<&str>) {
        assert_eq!(model(body.as_bytes(), KIND), expected, "{body:?}");
    }

    #[test]
    fn the_model_is_found_wherever_it_stands() {
        let (whisper, end) = (field("model", "openai/whisper-1"), "--b--\r\n");
        check(&format!("{whisper}{}{end}", file()), Some("openai/whisper-1"));
        check(&format!("{}{}{whisper}{end}", file(), field("language", "de")), Some("openai/whisper-1"));
        check(&format!("a preamble\r\n{whisper}{end}an epilogue"), Some("openai/whisper-1"));
        check(
            &format!(
                "{}{end}",
                part("content-type: text/plain\r\nCONTENT-DISPOSITION:form-data;name=model", "a/b:free")
            ),
            Some("a/b:free"),
        );
        check(
            &format!("{}{end}", part("Content-Disposition: form-data; x=\"; name=no\"; name=\"mo\\del\"", "a/b")),
            Some("a/b"),
        );
        check(&format!("--b \t\r\n{}{end}", &whisper[5..]), Some("openai/whisper-1"));
        for kind in [
            "multipart/form-data;charset=utf-8; Boundary=\"b\"",
            "multipart/form-data; x=\"boundary=c\"; boundary=b ; y=z",
        ] {
            assert_eq!(model(format!("{whisper}{end}").as_bytes(), kind), Some("openai/whisper-1"), "{kind}");
        }
    }

    #[test]
    fn what_is_not_plain_is_unknown() {
        let (whisper, end) = (field("model", "openai/whisper-1"), "--b--\r\n");
        check(&format!("{whisper}{whisper}{end}"), None);
        check(&format!("{}{whisper}{end}", field("model", "")), None);
        check(&format!("{}{end}", field("model", "a\r\nb")), None);
        check(&format!("{}{end}", field("model", &"x".repeat(257))), None);
        check(&format!("{}{end}", field("Model", "a/b")), None);
        check(&format!("{}{end}", file()), None);
        check(&format!("{}{end}", part("Content-Disposition: form-data; name=\"model\"; filename=\"x\"", "a/b")), None);
        check(&format!("{}{end}", part("Content-Disposition: attachment; name=\"model\"", "a/b")), None);
        check(
            &format!(
                "{}{end}",
                part(&format!("X: {}\r\nContent-Disposition: form-data; name=\"model\"", "y".repeat(5_000)), "a/b")
            ),
            None,
        );
        check(&whisper, None);
        check("--b\r\n\r\nno head\r\n--b--", None);
        check("--b--", None);
        check("", None);
        check(&format!("{}{whisper}{end}", field("x", "y").repeat(PARTS_MAX)), None);
        for kind in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"b",
            "multipart/form-data; boundary=c",
        ] {
            assert_eq!(model(format!("{whisper}{end}").as_bytes(), kind), None, "{kind}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(
            body in prop::collection::vec(prop::sample::select(vec!["--b", "\r\n", "\"", ";", "name=", "model", "\\", "é", "form-data", "Content-Disposition:"]), 0..40),
            kind in "multipart/form-data; [a-z=\";\\\\ ]{0,20}",
        ) {
            let body = body.concat();
            model(body.as_bytes(), KIND);
            model(body.as_bytes(), &kind);
        }
    }
}
