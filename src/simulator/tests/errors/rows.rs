//! What each named refusal has to say, as `openrouter-api.md` 5.2 has it. `HASH` stands for the
//! key's.

/// Name, status, `error_type`, `error.message` and `error.metadata` (empty: none).
pub type Row = (&'static str, u16, &'static str, &'static str, &'static str);

/// Those that come after a provider was asked, and carry `X-Generation-Id`.
pub const REACHED: [&str; 10] = [
    "403-policy",
    "403-refusal",
    "403-country",
    "408",
    "429-provider",
    "429-own-key",
    "502",
    "504",
    "504-aborted",
    "529",
];

/// Those without `user_id` in the chat envelope: nobody is known yet, or nobody wrote it.
pub const ANONYMOUS: [&str; 5] = ["401-cookie", "401-none", "401-missing", "401-user", "404-path"];

/// What `PREVIOUS` stands for.
pub const PREVIOUS: &str = r#"[{"code":429,"message":"Provider returned error","provider_name":"Chutes","raw":"rate-limited upstream"},{"code":402,"message":"This request would exceed your available credits.","metadata":{"reason":"in_flight_budget_exhausted","limit_source":"openrouter_in_flight_budget"}}]"#;

/// Pages, by something that is written on them.
pub const PAGES: [(&str, u16, &str); 5] = [
    ("403-cloudflare", 403, "Sorry, you have been blocked"),
    ("404-html", 404, "This page could not be found."),
    ("429-cloudflare", 429, "Sorry, you have been blocked"),
    ("502-html", 502, "502 Bad Gateway"),
    ("524", 524, "Error code 524"),
];

/// Those whose headers tell when to come again.
pub const RETRY_AFTER: [(&str, &str); 4] =
    [("402-in-flight", "120"), ("429-provider", "7"), ("429-cloudflare", "30"), ("503-retry", "11")];

/// The rows about requests and credentials.
#[rustfmt::skip]
pub const REQUEST: &[Row] = &[
    ("400-model", 400, "invalid_request", "sim/echo is not a valid model ID", ""),
    ("400-input", 400, "invalid_request", "Input required: specify \"prompt\" or \"messages\"", ""),
    ("400-context", 400, "context_length_exceeded", "This endpoint's maximum context length is 131072 tokens. However, you requested about 200013 tokens (184013 of text input, 16000 in the output). Please reduce the length of either one, or use the \"middle-out\" transform to compress your prompt automatically.",
     r#"{"error_type":"context_length_exceeded","provider_name":null}"#),
    ("401-cookie", 401, "authentication", "No cookie auth credentials found", ""),
    ("401-none", 401, "authentication", "No auth credentials found", ""),
    ("401-missing", 401, "authentication", "Missing Authentication header", ""),
    ("401-user", 401, "authentication", "User not found.", ""),
    ("403-management", 403, "permission_denied", "Only management keys can perform this operation", ""),
    ("404-path", 404, "not_found", "Not Found", ""),
    ("404-endpoints", 404, "not_found", "No endpoints found for sim/echo.", ""),
    ("404-tools", 404, "not_found", "No endpoints found that support tool use. To learn more about provider routing, visit: https://openrouter.ai/docs/provider-routing", ""),
    ("404-price", 404, "not_found", "No endpoints found that satisfy the max price", ""),
    ("404-privacy", 404, "not_found", "No endpoints found matching your data policy (Free model training). Configure: https://openrouter.ai/settings/privacy", r#"{"failed_routing_step":"data_policy"}"#),
    ("404-providers", 404, "not_found", "No allowed providers are available for the selected model.", r#"{"available_providers":["Simulated"],"requested_providers":["nowhere"]}"#),
    ("413-image", 413, "payload_too_large", "Downloaded image content cannot exceed 30MB", ""),
    ("413-payload", 413, "payload_too_large", "Request payload too large", ""),
    ("422", 422, "unprocessable", "Invalid argument", ""),
];

/// The rows about money.
#[rustfmt::skip]
pub const MONEY: &[Row] = &[
    ("402-credits", 402, "payment_required", "Insufficient credits. Add more using https://openrouter.ai/settings/credits", r#"{"limit_source":"openrouter_credits"}"#),
    ("402-never-purchased", 402, "payment_required", "Insufficient credits. This account never purchased credits. Make sure your key is on the correct account or org, and if so, purchase more at https://openrouter.ai/settings/credits", r#"{"limit_source":"openrouter_credits"}"#),
    ("402-afford", 402, "payment_required", "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 30104. To increase, visit https://openrouter.ai/settings/credits and upgrade to a paid account", r#"{"provider_name":null}"#),
    ("402-afford-add", 402, "payment_required", "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 30104. To increase, visit https://openrouter.ai/settings/credits and add more credits", r#"{"provider_name":null}"#),
    ("402-afford-key-daily", 402, "payment_required", "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 30104. To increase, visit https://openrouter.ai/settings/keys and create a key with a higher daily limit", r#"{"provider_name":null}"#),
    ("402-afford-key-weekly", 402, "payment_required", "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 30104. To increase, visit https://openrouter.ai/settings/keys and create a key with a higher weekly limit", r#"{"provider_name":null}"#),
    ("402-afford-key-monthly", 402, "payment_required", "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 30104. To increase, visit https://openrouter.ai/settings/keys and create a key with a higher monthly limit", r#"{"provider_name":null}"#),
    ("402-afford-key-total", 402, "payment_required", "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 30104. To increase, visit https://openrouter.ai/settings/keys and create a key with a higher total limit", r#"{"provider_name":null}"#),
    ("402-prompt", 402, "payment_required", "Prompt tokens limit exceeded: 230799 > 91442. To increase, visit https://openrouter.ai/settings/credits and add more credits", r#"{"provider_name":null}"#),
    ("402-prompt-key", 402, "payment_required", "Prompt tokens limit exceeded: 230799 > 91442. To increase, visit https://openrouter.ai/settings/keys and create a key with a higher total limit", r#"{"provider_name":null}"#),
    ("402-capacity", 402, "payment_required", "More credits are required to run this request. 128000 token capacity required, 19484 available. To increase, visit https://openrouter.ai/settings/credits and upgrade to a paid account", ""),
    ("402-in-flight", 402, "payment_required", "This request would exceed your available credits given your current in-flight requests. Please retry after your in-flight requests complete, or add more credits.",
     r#"{"limit_source":"openrouter_in_flight_budget","reason":"in_flight_budget_exhausted","headers":{"Retry-After":"120"}}"#),
    ("402-weight", 402, "payment_required", "This request would exceed your available credits. Reduce max_tokens or add more credits.", r#"{"limit_source":"openrouter_credits","reason":"weight_exceeds_budget"}"#),
    ("402-key-limit", 402, "payment_required", "Key limit exceeded. Manage it using https://openrouter.ai/settings/keys", r#"{"limit_source":"openrouter_key_limit"}"#),
    ("402-previous", 402, "payment_required", "Insufficient credits. Add more using https://openrouter.ai/settings/credits", r#"{"limit_source":"openrouter_credits","previous_errors":PREVIOUS}"#),
    ("402-leaky", 402, "payment_required", "This request requires more credits, or fewer max_tokens. You requested up to 32000 tokens, but can only afford 27342. To increase, visit https://openrouter.ai/workspaces/default/keys/HASH and create a key with a higher monthly limit",
     r#"{"provider_name":null,"is_byok":false,"limit_usd":25,"spend_usd":24.875,"manage_url":"https://openrouter.ai/workspaces/default/keys/HASH","previous_errors":PREVIOUS}"#),
];

/// The rows about what a key or an account may not do.
#[rustfmt::skip]
pub const FORBIDDEN: &[Row] = &[
    ("403-key-total", 403, "permission_denied", "Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys", ""),
    ("403-key-daily", 403, "permission_denied", "Key limit exceeded (daily limit). Manage it using https://openrouter.ai/settings/keys", ""),
    ("403-key-weekly", 403, "permission_denied", "Key limit exceeded (weekly limit). Manage it using https://openrouter.ai/settings/keys", ""),
    ("403-key-monthly", 403, "permission_denied", "Key limit exceeded (monthly limit). Manage it using https://openrouter.ai/settings/keys", ""),
    ("403-key-bare", 403, "permission_denied", "Key limit exceeded", ""),
    ("403-key-source", 403, "permission_denied", "Spending limit reached for this API key.", r#"{"limit_source":"openrouter_key_limit","resets_at":"2026-11-26T00:00:00.000Z"}"#),
    ("403-guardrail-budget", 403, "permission_denied", "Budget of $5.00 exceeded. Contact your workspace admin.",
     r#"{"limit_source":"openrouter_guardrail_budget","scope":"api_key","limit_usd":5,"spend_usd":5.000127037001,"resets_at":"2026-12-01T00:00:00.000Z"}"#),
    ("403-workspace-budget", 403, "permission_denied", "Budget of $500.00 exceeded. Contact your workspace admin.",
     r#"{"limit_source":"openrouter_workspace_budget","scope":"workspace","limit_usd":500,"spend_usd":500.012345678901,"resets_at":"2026-12-01T00:00:00.000Z"}"#),
    ("403-workspace-text", 403, "permission_denied", "Workspace monthly budget of $500.00 exceeded. Contact your workspace admin.", ""),
    ("403-injection", 403, "permission_denied", "Request blocked: prompt injection patterns detected", r#"{"patterns":["ignore_previous_instructions"]}"#),
    ("403-moderation", 403, "permission_denied", "sim/echo requires moderation on Meta. Your input was flagged for \"misc\". No credits were charged.",
     r#"{"reasons":["misc"],"flagged_input":"something the moderator did not like…","provider_name":"Meta","model_slug":"sim/echo"}"#),
    ("403-moderation-planted", 403, "permission_denied", "sim/echo requires moderation on Meta. Your input was flagged for \"misc\". No credits were charged.",
     r#"{"reasons":["misc"],"flagged_input":"Key limit exceeded (total limit). Insufficient credits. User not found. limit_source openrouter_key_limit","provider_name":"Meta","model_slug":"sim/echo"}"#),
    ("403-policy", 403, "content_policy_violation", "The request was rejected by the provider's content policy.", r#"{"error_type":"content_policy_violation"}"#),
    ("403-refusal", 403, "refusal", "The model refused to answer.", r#"{"error_type":"refusal"}"#),
    ("403-region", 403, "permission_denied", "This model is not available in your region.", ""),
    ("403-author", 403, "permission_denied", "Author openai is banned", ""),
    ("403-country", 403, "permission_denied", "Provider returned error",
     r#"{"raw":"{\"error\":{\"code\":\"unsupported_country_region_territory\",\"message\":\"Country, region, or territory not supported\",\"param\":null,\"type\":\"request_forbidden\"}}","provider_name":"Simulated","is_byok":false}"#),
    ("403-own-key", 403, "permission_denied", "OpenAI is requiring a key to access this model, which you can add in https://openrouter.ai/settings/integrations", ""),
    ("403-ip", 403, "permission_denied", "Your IP address is not in the allow list of this organization.", ""),
];

/// The rows about limits, providers and the edge.
#[rustfmt::skip]
pub const BUSY: &[Row] = &[
    ("408", 408, "timeout", "Operation timed out after 60000 ms", ""),
    ("429-free-day", 429, "rate_limit_exceeded", "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
     r#"{"headers":{"X-RateLimit-Limit":"50","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1795651200000"},"provider_name":null,"limit_source":"openrouter_free_tier_daily"}"#),
    ("429-free-day-high", 429, "rate_limit_exceeded", "Rate limit exceeded: free-models-per-day-high-balance. ",
     r#"{"headers":{"X-RateLimit-Limit":"1000","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1795651200000"},"provider_name":null,"limit_source":"openrouter_free_tier_daily"}"#),
    ("429-free-minute", 429, "rate_limit_exceeded", "Rate limit exceeded: free-models-per-min. ",
     r#"{"headers":{"X-RateLimit-Limit":"20","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1795608060000"},"provider_name":null,"limit_source":"openrouter_free_tier_per_minute"}"#),
    ("429-provider", 429, "rate_limit_exceeded", "Provider returned error",
     r#"{"raw":"sim/echo is temporarily rate-limited upstream. Please retry shortly, or add your own key to accumulate your rate limits: https://openrouter.ai/settings/integrations","provider_name":"Simulated","is_byok":false,"limit_source":"upstream_provider_shared_pool","retry_after_seconds":7,"headers":{"Retry-After":"7"}}"#),
    ("429-own-key", 429, "rate_limit_exceeded", "Provider returned error",
     r#"{"raw":"sim/echo is temporarily rate-limited upstream. Please retry shortly, or add your own key to accumulate your rate limits: https://openrouter.ai/settings/integrations","provider_name":"Simulated","is_byok":true}"#),
    ("429-bare", 429, "rate_limit_exceeded", "Rate limit exceeded", r#"{"error_type":"rate_limit_exceeded"}"#),
    ("500", 500, "server", "Internal Server Error", ""),
    ("502", 502, "provider_unavailable", "Provider returned error", r#"{"raw":"{\"error\":\"upstream connect error\"}","provider_name":"Simulated","is_byok":false}"#),
    ("503", 503, "provider_overloaded", "Service temporarily unavailable", ""),
    ("503-retry", 503, "provider_overloaded", "Service temporarily unavailable", ""),
    ("503-availability", 503, "provider_unavailable", "No endpoint can serve this request right now", ""),
    ("504", 504, "timeout", "Request timed out. Please try again later.", ""),
    ("504-aborted", 504, "timeout", "The operation was aborted", ""),
    ("529", 529, "provider_overloaded", "Provider returned error", r#"{"raw":"{\"type\":\"overloaded_error\"}","provider_name":"Simulated","is_byok":false}"#),
];
