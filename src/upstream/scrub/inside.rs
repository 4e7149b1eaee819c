//! Cleaning an error that came inside a 200, in its own shape: what goes out is what is the donor's, and nothing else changes.

use serde_json::{Map, Value};

use super::redact::{self, redact};
use super::{clean_error, clean_metadata, message};

/// What a JSON document inside a 200 is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inside {
    /// No error, or nothing that can be read as one.
    Other,
    /// An error with nothing of the donor's in it.
    Clean,
    /// An error, written down again without what is the donor's.
    Cleaned(Vec<u8>),
}

/// Members that hold an answer's content or its figures: they are the client's.
const ANSWER: [&str; 5] = ["choices", "output", "usage", "response", "data"];
/// Members that are about the donor alone.
const DONORS: [&str; 2] = ["user_id", "openrouter_metadata"];
/// Events that say that they are errors.
const ERROR_EVENTS: [&str; 3] = ["error", "response.error", "response.failed"];

/// Clean a document that came inside a 200, if it is an error: `{"error":…}` with whatever else, in the events of all dialects.
pub fn scrub_inside(document: &[u8]) -> Inside {
    let Ok(Value::Object(root)) = serde_json::from_slice(document) else { return Inside::Other };
    if !tells_error(&root) {
        return Inside::Other;
    }
    let mut cleaned = root.clone();
    clean(&mut cleaned);
    if let Some(metadata) = cleaned.get_mut("metadata").and_then(Value::as_object_mut) {
        *metadata = clean_metadata(metadata);
    }
    if let Some(response) = cleaned.get_mut("response").and_then(Value::as_object_mut) {
        clean(response);
    }
    if cleaned == root { Inside::Clean } else { Inside::Cleaned(Value::Object(cleaned).to_string().into_bytes()) }
}

fn tells_error(root: &Map<String, Value>) -> bool {
    let said = |object: &Map<String, Value>| object.get("error").is_some_and(is_said);
    let response = root.get("response").and_then(Value::as_object);
    let kind = root.get("type").and_then(Value::as_str).unwrap_or_default();
    said(root) || response.is_some_and(said) || choices(root).any(said) || ERROR_EVENTS.contains(&kind)
}

/// Whether there is an error at all where one could stand.
pub(super) fn is_said(error: &Value) -> bool {
    !(error.is_null() || *error == false || *error == "")
}

fn choices(root: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    root.get("choices").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

fn clean(object: &mut Map<String, Value>) {
    object.retain(|key, _| !DONORS.contains(&&**key));
    for (key, value) in object.iter_mut() {
        match &**key {
            "error" => clean_in_place(value),
            "message" if value.is_string() => *value = message(value.as_str().unwrap_or_default()).into_owned().into(),
            "choices" => {
                let choices = value.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut);
                choices.filter_map(|choice| choice.get_mut("error")).for_each(clean_in_place);
            }
            // The root's is cleaned by its own rules, and a response's is the client's own.
            "metadata" => {}
            key if ANSWER.contains(&key) => {}
            _ => *value = redact::value(value.take()),
        }
    }
}

fn clean_in_place(error: &mut Value) {
    match error {
        Value::Object(members) => {
            // The nested envelope: the outer object has nothing to say but the code.
            let nested = members.get("error").filter(|inner| inner.is_object()).cloned();
            let silent = !members.contains_key("message");
            *members = clean_error(members, 200);
            if silent {
                members.shift_remove("message");
            }
            if let Some(mut inner) = nested.filter(|_| silent) {
                clean_in_place(&mut inner);
                members.shift_insert(0, "error".to_owned(), inner);
            }
        }
        Value::String(text) => *text = redact(&message(text)).into_owned(),
        _ => {}
    }
}
