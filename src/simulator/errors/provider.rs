//! 408 and 5xx: providers and the edge.

use serde_json::json;

use super::{Facts, Form, Refusal};

pub const NAMES: &[&str] =
    &["408", "500", "502", "502-html", "503", "503-retry", "503-availability", "504", "504-aborted", "524", "529"];

const GATEWAY_PAGE: &str = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1>\
</center><hr><center>cloudflare</center></body></html>";
const TIMEOUT_PAGE: &str = "<!DOCTYPE html><html><head><title>openrouter.ai | 524: A timeout occurred</title></head>\
<body><h1>A timeout occurred</h1><p>Error code 524</p></body></html>";

fn provider_error(status: u16, error_type: &'static str, raw: &str, facts: &Facts<'_>) -> Refusal {
    Refusal::new(status, error_type, "Provider returned error")
        .with("raw", raw)
        .with("provider_name", facts.provider)
        .with("is_byok", false)
        .reached()
}

pub fn named(name: &str, facts: &Facts<'_>) -> Option<Refusal> {
    Some(match name {
        "408" => Refusal::new(408, "timeout", "Operation timed out after 60000 ms").reached(),
        "500" => Refusal::new(500, "server", "Internal Server Error"),
        "502" => provider_error(502, "provider_unavailable", r#"{"error":"upstream connect error"}"#, facts),
        "502-html" => Refusal::new(502, "provider_unavailable", "").form(Form::Html(GATEWAY_PAGE)).anonymous(),
        "503" => Refusal::new(503, "provider_overloaded", "Service temporarily unavailable"),
        "503-retry" => {
            Refusal::new(503, "provider_overloaded", "Service temporarily unavailable").header("Retry-After", "11")
        }
        "503-availability" => {
            let mut refusal = Refusal::new(503, "provider_unavailable", "No endpoint can serve this request right now");
            refusal.availability = Some(json!({"code": "capacity_exhausted", "retryable": true, "retry_after": 9}));
            refusal
        }
        "504" => Refusal::new(504, "timeout", "Request timed out. Please try again later.").reached(),
        "504-aborted" => Refusal::new(504, "timeout", "The operation was aborted").reached(),
        "524" => Refusal::new(524, "timeout", "").form(Form::Html(TIMEOUT_PAGE)).anonymous(),
        "529" => provider_error(529, "provider_overloaded", r#"{"type":"overloaded_error"}"#, facts),
        _ => return None,
    })
}
