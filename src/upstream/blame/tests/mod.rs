//! Every row of `openrouter-api.md` 5.2 in every envelope; bodies that try to move what is not theirs; and properties.

mod hostile;
mod inside;
mod rows;
mod times;

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::*;

/// A Wednesday afternoon: midnight, Monday and the first of the month all differ.
const NOW: &str = "2026-11-25T15:30:00Z";
const MODEL: &str = "openai/gpt-5.2";

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

fn now() -> Timestamp {
    at(NOW)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A refusal before it is put into an envelope.
#[derive(Clone, Debug)]
struct Said {
    status: u16,
    message: String,
    metadata: Map<String, Value>,
    error_type: Option<&'static str>,
    retry_after: Option<&'static str>,
    rate_limit_reset: Option<&'static str>,
    generation: bool,
    restricted: bool,
}

fn said(status: u16, message: &str) -> Said {
    Said {
        status,
        message: message.to_owned(),
        metadata: Map::new(),
        error_type: None,
        retry_after: None,
        rate_limit_reset: None,
        generation: false,
        restricted: false,
    }
}

impl Said {
    fn meta(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    fn kind(self, error_type: &'static str) -> Self {
        Self { error_type: Some(error_type), ..self }
    }

    fn after(self, retry_after: &'static str) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    fn reset(self, rate_limit_reset: &'static str) -> Self {
        Self { rate_limit_reset: Some(rate_limit_reset), ..self }
    }

    fn reached(self) -> Self {
        Self { generation: true, ..self }
    }

    fn restricted(self) -> Self {
        Self { restricted: true, ..self }
    }

    fn body(&self, form: Form) -> Vec<u8> {
        let Self { status, message, metadata, error_type, .. } = self;
        let mut meta = metadata.clone();
        let body = match form {
            Form::Chat | Form::Padded | Form::Extra => {
                if let Some(kind) = error_type {
                    meta.insert("error_type".into(), (*kind).into());
                }
                json!({"error": {"message": message, "code": status, "metadata": meta}, "user_id": "user_2abc"})
            }
            Form::Nested => {
                let inner = json!({"message": message, "code": status, "metadata": meta});
                json!({"error": {"error": inner, "code": status}, "code": status})
            }
            Form::Responses => json!({
                "error": {"code": if *status == 429 { "rate_limit_exceeded" } else { "invalid_prompt" }, "message": message},
                "metadata": meta, "error_type": error_type,
            }),
            Form::Messages => json!({
                "type": "error",
                "error": {"type": "api_error", "message": message, "error_type": error_type, "metadata": meta},
                "request_id": null,
            }),
            Form::Bare => {
                json!({"type": "error", "error": {"type": "api_error", "message": message}, "request_id": null})
            }
        };
        let mut body = body;
        if matches!(form, Form::Extra) {
            body["new"] = json!({"error": {"message": "Insufficient credits", "code": 402}});
            body["error"]["newer"] = json!(["Key limit exceeded", {"limit_source": "openrouter_key_limit"}]);
            body["error"]["metadata"]["newest"] = json!({"reason": "in_flight_budget_exhausted"});
            body["error"]["metadata"]["previous_errors"] = json!([
                {"code": 402, "message": "Insufficient credits", "metadata": {"reason": "in_flight_budget_exhausted"}},
                {"code": 401, "message": "User not found."},
            ]);
        }
        let mut bytes = Vec::new();
        if matches!(form, Form::Padded) {
            bytes.extend_from_slice(&b"\n         \n".repeat(200));
        }
        bytes.extend_from_slice(body.to_string().as_bytes());
        bytes
    }

    fn judged(&self, form: Form) -> Verdict {
        let body = self.body(form);
        let dialect = match form {
            Form::Responses => Dialect::Responses,
            Form::Messages | Form::Bare => Dialect::Messages,
            _ => Dialect::Chat,
        };
        let answer = Answer {
            retry_after: self.retry_after,
            rate_limit_reset: self.rate_limit_reset,
            generation: self.generation,
            restricted: self.restricted,
            body: &body,
            dialect,
            ..plain(self.status)
        };
        judge(&answer, now())
    }
}

/// An answer with nothing but a status.
fn plain(status: u16) -> Answer<'static> {
    Answer {
        status,
        retry_after: None,
        rate_limit_reset: None,
        content_type: Some("application/json"),
        generation: false,
        body: b"",
        dialect: Dialect::Chat,
        restricted: false,
        lane: Lane::Paid,
        model: Some(MODEL),
    }
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Chat,
    /// 200 times LF, nine spaces, LF in front.
    Padded,
    /// With members nobody knows, and earlier attempts' errors.
    Extra,
    Nested,
    Responses,
    Messages,
    /// `/messages` with no metadata and no `error_type`.
    Bare,
}

impl Form {
    const FULL: [Self; 6] = [Self::Chat, Self::Padded, Self::Extra, Self::Nested, Self::Responses, Self::Messages];
}

fn judge_body(status: u16, body: &[u8], content_type: Option<&str>) -> Verdict {
    judge(&Answer { body, content_type, ..plain(status) }, now())
}
