//! Every refusal OpenRouter gives, word for word, in the envelope of the endpoint that was called.

mod credit;
mod forbidden;
mod limits;
mod provider;
mod request;

use serde_json::{Map, Value, json};

use super::json::bytes;

pub use credit::{Payer, Shortfall};

/// The envelope an endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// `{"error":{"message","code","metadata"?},"user_id"?}`
    Chat,
    /// `{"error":{"code","message"},"metadata":null}`
    Responses,
    /// `{"type":"error","error":{"type","message","error_type"},"request_id":null}`
    Messages,
}

/// The shape of the body.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// The endpoint's envelope.
    Envelope,
    /// `{"success":false,"error":{"name":"ZodError",…}}`, as some routes answer a request that fails validation.
    Zod,
    /// `{"error":{"error":{…},"code"}}`, seen in 2025.
    Nested,
    /// A page of Cloudflare's or of the web site's.
    Html(&'static str),
}

/// One refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The HTTP status, and `error.code`.
    pub status: u16,
    /// `error.message`.
    pub message: String,
    /// OpenRouter's vocabulary of causes.
    pub error_type: &'static str,
    /// `error.metadata`; left out when empty.
    pub metadata: Map<String, Value>,
    /// Response headers that belong to it.
    pub headers: Vec<(&'static str, String)>,
    /// Whether a provider was asked, so that the answer carries `X-Generation-Id`.
    pub reached: bool,
    /// Whether the asking account is known and its `user_id` shown.
    pub names_user: bool,
    /// `error.availability`.
    pub availability: Option<Value>,
    /// The body's shape.
    pub form: Form,
}

/// What the texts mention.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Now, in milliseconds since the epoch.
    pub now_ms: i64,
    /// The model asked for.
    pub model: &'a str,
    /// Its provider.
    pub provider: &'a str,
    /// SHA-256 of the key, as key settings pages name it.
    pub key_hash: &'a str,
}

impl Refusal {
    /// A refusal with that status, cause and text, and nothing else.
    pub fn new(status: u16, error_type: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            error_type,
            metadata: Map::new(),
            headers: Vec::new(),
            reached: false,
            names_user: true,
            availability: None,
            form: Form::Envelope,
        }
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.to_owned(), value.into());
        self
    }

    fn source(self, limit_source: &str) -> Self {
        self.with("limit_source", limit_source)
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn anonymous(mut self) -> Self {
        self.names_user = false;
        self
    }

    fn reached(mut self) -> Self {
        self.reached = true;
        self
    }

    fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// `Content-Type` and body. `full` keeps the metadata on `/responses` and `/messages`, which usually lose it.
    pub fn render(&self, envelope: Envelope, user_id: Option<&str>, full: bool) -> (&'static str, Vec<u8>) {
        const JSON: &str = "application/json";
        let user_id = user_id.filter(|_| self.names_user);
        match self.form {
            Form::Html(page) => ("text/html; charset=utf-8", page.as_bytes().to_vec()),
            Form::Zod => {
                (JSON, bytes(&json!({"success": false, "error": {"name": "ZodError", "message": self.message}})))
            }
            Form::Nested => {
                let inner = json!({"message": self.message, "code": self.status});
                (JSON, bytes(&json!({"error": {"error": inner, "code": self.status}})))
            }
            Form::Envelope => (JSON, bytes(&self.envelope(envelope, user_id, full))),
        }
    }

    /// The `error` object of a chat body or chunk.
    pub fn chat_object(&self) -> Value {
        let mut error = json!({"message": self.message, "code": self.status});
        if !self.metadata.is_empty() {
            error["metadata"] = Value::Object(self.metadata.clone());
        }
        if let Some(availability) = &self.availability {
            error["availability"] = availability.clone();
        }
        error
    }

    /// The `error` object of a messages body or event.
    pub fn messages_object(&self) -> Value {
        json!({"type": anthropic_type(self.status), "message": self.message, "error_type": self.error_type})
    }

    /// The code `/responses` reduces the cause to.
    pub fn responses_code(&self) -> &'static str {
        match self.status {
            429 => "rate_limit_exceeded",
            400..=499 => "invalid_prompt",
            _ => "server_error",
        }
    }

    fn envelope(&self, envelope: Envelope, user_id: Option<&str>, full: bool) -> Value {
        match envelope {
            Envelope::Chat => {
                let mut body = json!({"error": self.chat_object()});
                if let Some(user_id) = user_id {
                    body["user_id"] = user_id.into();
                }
                body
            }
            Envelope::Responses if full => json!({
                "error": {"code": self.responses_code(), "message": self.message},
                "metadata": self.metadata, "error_type": self.error_type, "user_id": user_id,
            }),
            Envelope::Responses => {
                json!({"error": {"code": self.responses_code(), "message": self.message}, "metadata": null})
            }
            Envelope::Messages => {
                let mut error = self.messages_object();
                if full {
                    error["metadata"] = Value::Object(self.metadata.clone());
                }
                json!({"type": "error", "error": error, "request_id": null})
            }
        }
    }
}

fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        400..=428 | 430..=499 => "invalid_request_error",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 | 524 => "timeout_error",
        _ => "api_error",
    }
}

/// The refusal of that name; the names are those of [`names`].
pub fn named(name: &str, facts: &Facts<'_>) -> Option<Refusal> {
    request::named(name, facts)
        .or_else(|| credit::named(name, facts))
        .or_else(|| forbidden::named(name, facts))
        .or_else(|| limits::named(name, facts))
        .or_else(|| provider::named(name, facts))
}

/// Every name that [`named`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    [request::NAMES, credit::NAMES, forbidden::NAMES, limits::NAMES, provider::NAMES].into_iter().flatten().copied()
}

/// Refusals that the simulator comes to by its own bookkeeping.
pub use forbidden::{author_banned, budget, data_policy, injection, ip_blocked, key_limit, own_key_needed, region};
pub use limits::{Daily, free_per_day, free_per_minute};
pub use request::{
    invalid_model, management_only, no_credential, no_input, not_found, not_stateless, page_not_found, unknown_key,
    unreadable,
};
