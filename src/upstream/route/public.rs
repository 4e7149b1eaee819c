//! The public lists: fetched without any key, so their targets are cache keys and nothing else.

use std::fmt::Write;
use std::ops::Deref;

use super::path;
use super::refused::RouteRefusal;

/// Longest value of one query parameter, in bytes.
const VALUE_MAX_BYTES: usize = 128;
/// Longest author or slug in a path, in bytes.
const SEGMENT_MAX_BYTES: usize = 128;

/// Path and query of a public list at the upstream. One meaning has one spelling: parameters stand in the order of the
/// allow-list, each once, escaped the same way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicTarget {
    target: Box<str>,
    /// What it is a list of.
    pub list: PublicList,
}

/// What a public list is of, as far as it matters who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PublicList {
    /// Models, or endpoints of them: of those that may be used.
    Models,
    /// How many models there are.
    Count,
    /// One model that somebody names, or something else that is the same for everybody.
    Other,
}

impl Deref for PublicTarget {
    type Target = str;

    fn deref(&self) -> &str {
        &self.target
    }
}

impl PublicTarget {
    /// The whole list of what this one counts.
    pub fn counted(&self) -> Option<Self> {
        let query = self.target.strip_prefix("/api/v1/models/count")?.trim_start_matches('?');
        let is_page = |pair: &&str| pair.starts_with("limit=") || pair.starts_with("offset=");
        let pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !is_page(pair)).collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        let target = format!("/api/v1/models{mark}{}", pairs.join("&"));
        Some(Self { target: target.into(), list: PublicList::Models })
    }
}

/// What a list of models can be narrowed, sorted and paged by.
const MODEL_FILTERS: [&str; 21] = [
    "q",
    "category",
    "supported_parameters",
    "input_modalities",
    "output_modalities",
    "model_authors",
    "providers",
    "arch",
    "context",
    "min_price",
    "max_price",
    "distillable",
    "zdr",
    "region",
    "client",
    "sort",
    "order",
    "limit",
    "offset",
    "use_rss",
    "use_rss_chat_links",
];

/// The public list at `path` (without its prefix), or `None` when there is none. Parameters that are not on the
/// allow-list are left out; one that is, but doubled or with an odd value, is refused.
pub(super) fn target(path: &str, query: &[u8]) -> Option<Result<PublicTarget, RouteRefusal>> {
    let (list, parameters): (PublicList, &[&str]) = match path {
        "models" | "embeddings/models" | "images/models" | "videos/models" => (PublicList::Models, &MODEL_FILTERS),
        "models/count" => (PublicList::Count, &MODEL_FILTERS),
        "endpoints/zdr" => (PublicList::Models, &["limit", "offset"]),
        "providers" => (PublicList::Other, &["limit", "offset"]),
        _ if names_model(path) => (PublicList::Other, &[]),
        _ => return None,
    };
    let target = |query| PublicTarget { target: format!("/api/v1/{path}{query}").into(), list };
    Some(parameters_of(query, parameters).map(target))
}

/// `model/{author}/{slug}`, `models/{author}/{slug}/endpoints`, `images/models/{author}/{slug}/endpoints`.
fn names_model(path: &str) -> bool {
    let name = path.strip_prefix("model/").or_else(|| {
        let listed = path.strip_prefix("models/").or_else(|| path.strip_prefix("images/models/"))?;
        listed.strip_suffix("/endpoints")
    });
    let piece = |text: &str| text.len() <= SEGMENT_MAX_BYTES && path::segment(text.as_bytes());
    name.and_then(|name| name.split_once('/')).is_some_and(|(author, slug)| piece(author) && piece(slug))
}

fn parameters_of(query: &[u8], allowed: &[&'static str]) -> Result<String, RouteRefusal> {
    let mut canonical = String::new();
    for name in allowed {
        let values = query.split(|b| *b == b'&').filter_map(|pair| value_of(pair, name));
        let mut values = values.filter(|value| !value.is_empty());
        let Some(first) = values.next() else { continue };
        if values.next().is_some() {
            return Err(RouteRefusal::Query(name));
        }
        let value = decode(first).ok_or(RouteRefusal::Query(name))?;
        canonical.push(if canonical.is_empty() { '?' } else { '&' });
        canonical.push_str(name);
        canonical.push('=');
        encode(&value, &mut canonical);
    }
    Ok(canonical)
}

fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// A value without its escapes, when it is a plain one.
fn decode(value: &[u8]) -> Option<Vec<u8>> {
    if value.len() > 3 * VALUE_MAX_BYTES {
        return None;
    }
    let mut plain = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, tail)) = rest.split_first() {
        let (byte, tail) = match first {
            b'%' => {
                let (digits, tail) = tail.split_at_checked(2)?;
                (hex(digits)?, tail)
            }
            b'+' => (b' ', tail),
            other => (*other, tail),
        };
        plain.push(byte);
        rest = tail;
    }
    let known = |b: &u8| b.is_ascii_alphanumeric() || b" -._~:,/".contains(b);
    (plain.len() <= VALUE_MAX_BYTES && plain.iter().all(known)).then_some(plain)
}

fn hex(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(text, 16).ok()
}

fn encode(value: &[u8], out: &mut String) {
    for byte in value {
        match byte {
            b'-' | b'.' | b'_' | b'~' | b',' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => out.push(char::from(*byte)),
            // Writing to a String cannot fail.
            _ => write!(out, "%{byte:02X}").unwrap_or_default(),
        }
    }
}
