//! The cleaned error in the envelope of each dialect.

use serde_json::{Map, Value, json};

use crate::upstream::Dialect;
use crate::upstream::refusal::anthropic_type;

/// The cleaned parts of an error, whatever envelope they came in.
pub(super) struct Kept {
    /// The envelope they came in.
    pub form: Form,
    /// Members of `error`, in their order; `message` is always among them.
    pub error: Map<String, Value>,
    /// `metadata` at the root.
    pub metadata: Option<Map<String, Value>>,
    /// `error_type` at the root.
    pub error_type: Option<Value>,
    /// `request_id` at the root, or null.
    pub request_id: Value,
}

/// The envelopes of `openrouter-api.md` 5.1; the nested one is read as what is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Chat,
    Responses,
    Messages,
    /// `success: false` around a validator's complaints: also an answer that chat clients get.
    Validation,
}

impl Form {
    /// The envelope of a body with this `error` in it.
    pub fn of(root: &Map<String, Value>, error: &Map<String, Value>) -> Self {
        let bare_name = || error.get("code").is_some_and(Value::is_string) && !error.contains_key("metadata");
        if root.get("success") == Some(&Value::Bool(false)) {
            Self::Validation
        } else if root.get("type").is_some_and(|kind| kind == "error") {
            Self::Messages
        } else if root.contains_key("metadata") || root.contains_key("error_type") || bare_name() {
            Self::Responses
        } else {
            Self::Chat
        }
    }
}

impl Kept {
    /// A sentence of ours.
    pub fn said(message: &str, status: u16) -> Self {
        let mut error = Map::new();
        error.insert("message".to_owned(), message.into());
        error.insert("code".to_owned(), status.into());
        Self { form: Form::Chat, error, metadata: None, error_type: None, request_id: Value::Null }
    }

    /// The whole body.
    pub fn render(self, dialect: Dialect, status: u16) -> Value {
        match dialect {
            Dialect::Chat => self.chat(status),
            Dialect::Responses => self.responses(status),
            Dialect::Messages => self.messages(status),
        }
    }

    fn chat(mut self, status: u16) -> Value {
        match self.form {
            Form::Validation => return json!({"success": false, "error": self.error}),
            Form::Chat => return json!({"error": self.error}),
            Form::Responses | Form::Messages => {}
        }
        let error_type = self.take_error_type();
        self.error.insert("code".to_owned(), status.into());
        let mut metadata = self.take_metadata().unwrap_or_default();
        if let Some(error_type) = error_type {
            metadata.insert("error_type".to_owned(), error_type);
        }
        if !metadata.is_empty() {
            self.error.insert("metadata".to_owned(), metadata.into());
        }
        json!({"error": self.error})
    }

    fn responses(mut self, status: u16) -> Value {
        let error_type = self.take_error_type();
        let metadata = self.take_metadata();
        if !self.error.get("code").is_some_and(Value::is_string) {
            self.error.insert("code".to_owned(), responses_code(status).into());
        }
        let mut body = json!({"error": self.error, "metadata": metadata});
        if let Some(error_type) = error_type {
            body["error_type"] = error_type;
        }
        body
    }

    fn messages(mut self, status: u16) -> Value {
        if self.form != Form::Messages || !self.error.contains_key("type") {
            let error_type = self.take_error_type();
            let metadata = self.take_metadata();
            self.error.shift_remove("type");
            let mut error = Map::new();
            error.insert("type".to_owned(), anthropic_type(status).into());
            error.append(&mut self.error);
            let extra = [("error_type", error_type), ("metadata", metadata.map(Value::Object))];
            error.extend(extra.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
            self.error = error;
        }
        json!({"type": "error", "error": self.error, "request_id": self.request_id})
    }

    fn take_metadata(&mut self) -> Option<Map<String, Value>> {
        let inside = match self.error.shift_remove("metadata") {
            Some(Value::Object(metadata)) => Some(metadata),
            _ => None,
        };
        inside.or(self.metadata.take()).filter(|metadata| !metadata.is_empty())
    }

    /// OpenRouter's name for the error, wherever the envelope had it; in `metadata` it may stay as well.
    fn take_error_type(&mut self) -> Option<Value> {
        let inside = self.error.shift_remove("error_type").or(self.error_type.take());
        inside.or_else(|| self.error.get("metadata").and_then(|metadata| metadata.get("error_type")).cloned())
    }
}

/// The code that `/responses` has for a status (`openrouter-api.md` 5.1).
const fn responses_code(status: u16) -> &'static str {
    match status {
        429 => "rate_limit_exceeded",
        400..=499 => "invalid_prompt",
        _ => "server_error",
    }
}
