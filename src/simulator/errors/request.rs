//! The caller's own faults: bad requests, credentials, paths.

use serde_json::json;

use super::{Facts, Form, Refusal};

pub const NAMES: &[&str] = &[
    "400-model",
    "400-input",
    "400-zod",
    "400-context",
    "401-cookie",
    "401-none",
    "401-missing",
    "401-user",
    "403-management",
    "404-path",
    "404-endpoints",
    "404-tools",
    "404-price",
    "404-html",
    "413-image",
    "413-payload",
    "422",
];

/// A page of the web site, as a wrong base path yields.
const PAGE: &str = "<!DOCTYPE html><html lang=\"en\"><head><title>Not Found | OpenRouter</title></head>\
<body><h1>404</h1><p>This page could not be found.</p></body></html>";

pub fn named(name: &str, facts: &Facts<'_>) -> Option<Refusal> {
    let model = facts.model;
    Some(match name {
        "400-model" => invalid_model(model),
        "400-input" => no_input(),
        "400-zod" => Refusal::new(
            400,
            "invalid_request",
            r#"[{"code":"invalid_type","expected":"array","received":"string","path":["messages"],"message":"Expected array, received string"}]"#,
        )
        .form(Form::Zod),
        "400-context" => Refusal::new(
            400,
            "context_length_exceeded",
            "This endpoint's maximum context length is 131072 tokens. However, you requested about 200013 tokens \
             (184013 of text input, 16000 in the output). Please reduce the length of either one, or use the \
             \"middle-out\" transform to compress your prompt automatically.",
        )
        .with("error_type", "context_length_exceeded")
        .with("provider_name", json!(null)),
        "401-cookie" => no_credential(),
        "401-none" => Refusal::new(401, "authentication", "No auth credentials found").anonymous(),
        "401-missing" => Refusal::new(401, "authentication", "Missing Authentication header").anonymous(),
        "401-user" => unknown_key(),
        "403-management" => management_only(),
        "404-path" => not_found(),
        "404-endpoints" => Refusal::new(404, "not_found", format!("No endpoints found for {model}.")),
        "404-tools" => Refusal::new(
            404,
            "not_found",
            "No endpoints found that support tool use. To learn more about provider routing, visit: \
             https://openrouter.ai/docs/provider-routing",
        ),
        "404-price" => Refusal::new(404, "not_found", "No endpoints found that satisfy the max price"),
        "404-html" => page_not_found(),
        "413-image" => Refusal::new(413, "payload_too_large", "Downloaded image content cannot exceed 30MB"),
        "413-payload" => Refusal::new(413, "payload_too_large", "Request payload too large"),
        "422" => Refusal::new(422, "unprocessable", "Invalid argument"),
        _ => return None,
    })
}

/// 400: no such model.
pub fn invalid_model(model: &str) -> Refusal {
    Refusal::new(400, "invalid_request", format!("{model} is not a valid model ID"))
}

/// 400: neither prompt nor messages.
pub fn no_input() -> Refusal {
    Refusal::new(400, "invalid_request", "Input required: specify \"prompt\" or \"messages\"")
}

/// 400: not JSON.
pub fn unreadable(why: &str) -> Refusal {
    Refusal::new(400, "invalid_request", format!("Invalid JSON body: {why}"))
}

/// 400: `/responses` keeps nothing.
pub fn not_stateless(field: &str) -> Refusal {
    Refusal::new(
        400,
        "invalid_request",
        format!("The Responses API is stateless: `{field}` is not supported. Resend the whole conversation instead."),
    )
}

/// 401: no credential, or none that is one.
pub fn no_credential() -> Refusal {
    Refusal::new(401, "authentication", "No cookie auth credentials found").anonymous()
}

/// 401: a key that is unknown, deleted, disabled or expired.
pub fn unknown_key() -> Refusal {
    Refusal::new(401, "authentication", "User not found.").anonymous()
}

/// 403: a call for management keys.
pub fn management_only() -> Refusal {
    Refusal::new(403, "permission_denied", "Only management keys can perform this operation")
}

/// 404 of the web site.
pub fn page_not_found() -> Refusal {
    Refusal::new(404, "not_found", "").form(Form::Html(PAGE)).anonymous()
}

/// 404 of the API.
pub fn not_found() -> Refusal {
    Refusal::new(404, "not_found", "Not Found").anonymous()
}
