//! Takes out of a text what belongs to a donor: keys, account ids, pages of settings, hashes.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// What stands where something was taken out.
const GONE: &str = "[redacted]";
/// How a key begins, whole or shortened (`sk-or-v1-au7...890`).
const KEY: &str = "sk-or-";
/// OpenRouter's host, whose pages may name a key or a workspace.
const HOST: &str = "openrouter.ai";
/// The beginnings of account ids...
const IDS: [&str; 2] = ["user_", "org_"];
/// ...which go on for at least so many letters and digits; `user_input` is no id.
const ID_MIN_CHARS: usize = 12;
/// A SHA-256 in hexadecimal digits: what a key is called on its settings page.
const HASH_DIGITS: usize = 64;
/// Pages that anybody may be sent to; below `settings/` only the section itself.
const PUBLIC_PAGES: [&str; 4] = ["docs", "models", "api", "rankings"];
/// Longer addresses are nobody's page, and are not looked through again and again.
const PAGE_MAX_BYTES: usize = 256;
/// Members of objects inside of texts that tell about an account, besides amounts (`…_usd`).
const PRIVATE: [&str; 12] = [
    "user_id",
    "creator_user_id",
    "organization_id",
    "workspace_id",
    "workspace",
    "guardrail_id",
    "budget_id",
    "is_byok",
    "openrouter_metadata",
    "limit_source",
    "previous_errors",
    "scope",
];

/// The text without what belongs to a donor.
pub(super) fn redact(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        // Things are recognised where a word begins, or anywhere for those that are unmistakable. What follows a redaction
        // begins anew.
        let word = at == copied || text.get(..at).is_none_or(|before| !before.ends_with(is_word));
        let Some(length) = secret(rest, word) else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        out.push_str(text.get(copied..at).unwrap_or_default());
        out.push_str(GONE);
        at += length;
        copied = at;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// The same for a JSON value, without the members that tell about an account.
pub(super) fn value(value: Value) -> Value {
    match value {
        Value::String(text) => redact(&text).into(),
        Value::Array(items) => items.into_iter().map(self::value).collect(),
        Value::Object(members) => Value::Object(
            members.into_iter().filter(|(key, _)| !is_private(key)).map(member).collect::<Map<String, Value>>(),
        ),
        other => other,
    }
}

fn member((key, value): (String, Value)) -> (String, Value) {
    (redact(&key).into_owned(), self::value(value))
}

fn is_private(key: &str) -> bool {
    key.ends_with("_usd") || PRIVATE.contains(&key)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// How many bytes at the beginning of `rest` belong to a donor, if any do.
fn secret(rest: &str, word: bool) -> Option<usize> {
    match rest.as_bytes().first()?.to_ascii_lowercase() {
        b's' if begins(rest, KEY) => {
            Some(KEY.len() + run(rest, KEY.len(), |c| is_word(c) || "-.*\u{2026}".contains(c)))
        }
        b'o' if begins(rest, HOST) => page(rest),
        b'u' | b'o' if word => IDS.iter().find(|id| begins(rest, id)).and_then(|id| {
            let length = run(rest, id.len(), is_word);
            (length >= ID_MIN_CHARS).then_some(id.len() + length)
        }),
        b'0'..=b'9' | b'a'..=b'f' if word => {
            let length = run(rest, 0, |c| c.is_ascii_hexdigit());
            (length >= HASH_DIGITS).then_some(length)
        }
        _ => None,
    }
}

fn begins(text: &str, with: &str) -> bool {
    text.as_bytes().get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
}

/// How many bytes from `from` on are such characters.
fn run(text: &str, from: usize, of: impl Fn(char) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    rest.find(|c| !of(c)).unwrap_or(rest.len())
}

/// A page of OpenRouter's, unless it is one for everybody. Slashes may be escaped in any way: what is not spelled
/// plainly is not a page for everybody.
fn page(rest: &str) -> Option<usize> {
    let length =
        run(rest, HOST.len(), |c| !c.is_whitespace() && !matches!(c, '"' | '\'' | '<' | '>' | ')' | ']' | '}'));
    let path = rest.get(HOST.len()..HOST.len() + length)?;
    (!is_public(path)).then_some(HOST.len() + length)
}

fn is_public(path: &str) -> bool {
    let path = path.trim_end_matches(['.', ',', ';', ':', '!', '?']);
    let Some(path) = path.strip_prefix('/') else { return path.is_empty() };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:".contains(&b);
    if path.len() > PAGE_MAX_BYTES || path.contains("..") || !path.bytes().all(plain) {
        return false;
    }
    let (first, below) = path.split_once('/').unwrap_or((path, ""));
    match first {
        "settings" => below.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
        _ => path.is_empty() || PUBLIC_PAGES.contains(&first),
    }
}
