//! What an answer shall be like, when it shall not be like the usual one.
//!
//! The same options are taken from a script (`POST /_sim/scripts`), from request headers (`X-Sim-Cost: 7.669e-7`) and
//! from a model's name (`sim/play?cost=7.669e-7&gap_ms=5`), the later ones winning.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::faults::Fault;

/// Options for one answer. Absent is as usual.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Play {
    /// Refuse with the error of that name (`errors` in the module's documentation).
    pub error: Option<String>,
    /// Give that error inside a 200: as this event of the stream (0 is the first), or in the JSON body.
    pub inside: Option<usize>,
    /// In a JSON 200, put the error next to text: into `choices[0]`, or into a failed response of `/responses`.
    pub inside_choice: Option<bool>,
    /// Give the error inside a stream its usage, and bill what was made.
    pub error_usage: Option<bool>,
    /// Keep the metadata of refusals on `/responses` and `/messages`.
    pub full_metadata: Option<bool>,
    /// Shape of the usage: `empty-choices` (in a chunk of its own), `null`, `missing`.
    pub usage: Option<Usage>,
    /// The cost, verbatim: a JSON number, which is then also the bill, `null` (printed, billed as usual) or `missing`.
    #[serde(deserialize_with = "verbatim")]
    pub cost: Option<String>,
    /// Called with the account's own provider key: this is the provider's bill in dollars, the charge is 0 (or `cost`).
    #[serde(deserialize_with = "verbatim")]
    pub own_key_cost: Option<String>,
    /// Output tokens to make.
    pub output_tokens: Option<u64>,
    /// Charge all that the rules allow: a token per byte of the request (a picture counts 40,009), the output asked for
    /// (or the model's most) in each of `n` answers, at the highest price that applies: of any provider, for a long
    /// prompt, for writing it to a cache.
    pub greedy: Option<bool>,
    /// Make the text at least that many bytes long.
    pub text_bytes: Option<usize>,
    /// Put usage figures, errors and `data:` lines into the text.
    pub plant: Option<bool>,
    /// `finish_reason`.
    pub finish: Option<String>,
    /// Comment lines before the first event.
    pub comments: Option<usize>,
    /// A comment line (or ping) between events, too.
    pub comments_between: Option<bool>,
    /// Whitespace before a JSON body: that many times a newline, nine spaces and a newline.
    pub padding: Option<usize>,
    /// Only padding, then the end.
    pub padding_only: Option<bool>,
    /// Cut the body into chunks of that many bytes.
    pub chunk: Option<usize>,
    /// Send the whole body as one chunk (before `chunk` cuts it).
    pub coalesce: Option<bool>,
    /// End a chunk inside the first character of several bytes of each event.
    pub split_utf8: Option<bool>,
    /// Wait that long before each event.
    pub gap_ms: Option<u64>,
    /// Wait that long before the head; the call is running and billed meanwhile.
    pub delay_head_ms: Option<u64>,
    /// Wait before the event with the usage until released (`POST /_sim/release`) or hung up on.
    pub hold_usage: Option<bool>,
    /// `gzip` or `br`.
    pub encoding: Option<Encoding>,
    /// How the body's end is marked.
    pub framing: Option<Framing>,
    /// What goes wrong on the wire.
    pub fault: Option<Fault>,
    /// What becomes of the connection afterwards.
    pub then: Option<Then>,
    /// An interim answer of that status first (102, 103).
    pub informational: Option<u16>,
    /// Answer before reading the body, then close.
    pub early: Option<bool>,
    /// Such an early answer leaves the connection open: what comes next on it is still the rest of the body.
    pub early_keeps: Option<bool>,
    /// Leave `X-Generation-Id` out.
    pub no_generation_id: Option<bool>,
    /// `/generation` knows the call that many milliseconds after its end; negative is never.
    pub generation_ms: Option<i64>,
    /// Whether hanging up ends the bill, whatever the provider does.
    pub stops_on_cancel: Option<bool>,
    /// `polling_url` with scheme and host.
    pub absolute_polling: Option<bool>,
    /// Polls of a video job that say it is still running.
    pub polls: Option<u32>,
    /// Status, to replace the usual one.
    pub status: Option<u16>,
    /// Further response headers.
    pub headers: Option<Map<String, Value>>,
    /// A body, to replace the usual one; nothing is billed.
    pub body: Option<String>,
    /// Bytes to write instead of an HTTP answer; the connection is closed after them.
    pub raw: Option<String>,
    /// A small precomputed answer: `json`, `sse-N` (N events), `sse-N-MS` (MS milliseconds apart) or `body-N` (N bytes).
    pub fast: Option<String>,
}

/// Where usage stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Usage {
    /// As usual: in the last chunk, which repeats the finish reason.
    Normal,
    /// In a chunk whose `choices` are empty.
    EmptyChoices,
    /// `"usage":null`.
    Null,
    /// Nowhere.
    Missing,
}

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Br,
}

/// How a body's end is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The connection's end.
    Close,
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// Closed at once, unannounced.
    Close,
    /// Announced with `Connection: close`.
    AnnounceClose,
    /// Closed when the next request's first bytes have arrived.
    CloseOnNext,
    /// Reset when the next request's first bytes have arrived.
    ResetOnNext,
}

/// Options that hold text even where it looks like a number.
const TEXTS: [&str; 9] = ["error", "usage", "cost", "own_key_cost", "finish", "fault", "body", "raw", "fast"];

fn verbatim<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    })
}

/// One option as written in a header or a query.
fn read(name: &str, text: &str) -> Value {
    if TEXTS.contains(&name) {
        return text.into();
    }
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

impl Play {
    /// The options set, by name.
    pub fn options(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(all)) => all.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            _ => Map::new(),
        }
    }

    /// From options by name. The error names the one that does not fit.
    pub fn from_options(options: Map<String, Value>) -> Result<Self, String> {
        if options.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_value(Value::Object(options)).map_err(|error| error.to_string())
    }

    /// Refuse with the error of that name.
    pub fn refuse(error: &str) -> Self {
        Self { error: Some(error.to_owned()), ..Self::default() }
    }

    /// Whether the option is on.
    pub fn on(option: Option<bool>) -> bool {
        option == Some(true)
    }
}

/// The options in `X-Sim-…` headers.
pub fn of_headers<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Map<String, Value> {
    headers
        .filter_map(|(name, value)| Some((name.strip_prefix("x-sim-")?.replace('-', "_"), value)))
        .map(|(name, value)| (name.clone(), read(&name, value)))
        .collect()
}

/// The options in the part of a model's name after `?`: `a=1&b=2`, with `%XX` for what cannot stand there.
pub fn of_query(query: &str) -> Map<String, Value> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.replace('-', "_"), unescape(value)))
        .map(|(name, value)| (name.clone(), read(&name, &value)))
        .collect()
}

/// `%XX` to bytes; bytes that make no UTF-8 are replaced.
pub fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_read_the_same_from_header_query_and_script() {
        let headers = [("x-sim-cost", "3E-7"), ("x-sim-gap-ms", "5"), ("x-sim-fault", "cut@120"), ("accept", "*/*")];
        let from_headers = Play::from_options(of_headers(headers.into_iter())).unwrap();
        let from_query = Play::from_options(of_query("cost=3E-7&gap_ms=5&fault=cut%40120")).unwrap();
        let script = r#"{"cost":"3E-7","gap_ms":5,"fault":"cut@120"}"#;
        let from_script: Play = serde_json::from_str(script).unwrap();
        assert_eq!(from_headers, from_query);
        assert_eq!(from_headers, from_script);
        assert_eq!(from_headers.fault, Some(Fault::Cut { at: 120 }));
        assert_eq!(Play::from_options(from_script.options()).unwrap(), from_script);
    }

    #[test]
    fn what_is_not_an_option_is_refused() {
        for query in ["color=red", "gap_ms=soon", "fault=fire", "usage=none"] {
            assert!(Play::from_options(of_query(query)).is_err(), "{query}");
        }
    }
}
