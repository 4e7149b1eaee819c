//! Which headers cross, in both directions: two allow-lists. What is not named here stays on its side.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What of a client's request goes up, besides `x-stainless-*`. Everything else stays here: credentials in whatever
/// header, cookies, addresses (`forwarded`, `x-forwarded-for`), `X-OpenRouter-Cache*` (a response cache belongs to a key,
/// so one client would read another's answer) and `X-OpenRouter-Metadata` (answers would tell a donor's guardrails, region
/// and provider keys). `host`, `authorization`, `accept-encoding` and framing are the proxy's to set.
static UP: [HeaderName; 14] = [
    header::ACCEPT,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::USER_AGENT,
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("http-referer"),
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("x-openrouter-app-visibility"),
    HeaderName::from_static("x-openrouter-categories"),
    HeaderName::from_static("x-openrouter-title"),
    HeaderName::from_static("x-session-id"),
    HeaderName::from_static("x-title"),
];

/// What of an answer comes down. Everything else stays here: `set-cookie`, `cf-*` and `server` of the edge, the account's
/// `x-ratelimit-*`, redirects. Framing and CORS headers are the proxy's to set.
static DOWN: [HeaderName; 14] = [
    header::AGE,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::RETRY_AFTER,
    header::VARY,
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-generation-id"),
    HeaderName::from_static("x-provider-name"),
];

/// The CORS headers of every answer, errors included, as OpenRouter sends them: any origin, no credentials. `Retry-After`
/// is exposed on top, as answers of potluck's own rely on it, and so is what they tell of their request.
#[allow(clippy::declare_interior_mutable_const)] // Each use is a copy of its own, which is what a header map takes.
pub const CORS: [(HeaderName, HeaderValue); 2] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "X-Generation-Id,X-Provider-Name,request-id,cf-ray,X-Request-Id,X-Potluck-Attempts,X-Potluck-Cost,Retry-After",
        ),
    ),
];

/// What a preflight is answered on top: browsers look for it there alone. No caching of the permission.
#[allow(clippy::declare_interior_mutable_const)]
pub const PREFLIGHT: [(HeaderName, HeaderValue); 2] = [
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,OPTIONS,PATCH,DELETE,POST,PUT")),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "Authorization,Content-Type,Accept,User-Agent,X-Api-Key,HTTP-Referer,X-Title,X-OpenRouter-Title,\
             X-OpenRouter-Categories,X-OpenRouter-App-Visibility,X-Session-Id,Idempotency-Key,Anthropic-Version,\
             Anthropic-Beta,Anthropic-Dangerous-Direct-Browser-Access,OpenAI-Beta,Traceparent,\
             X-Stainless-Lang,X-Stainless-Package-Version,X-Stainless-OS,X-Stainless-Arch,X-Stainless-Runtime,\
             X-Stainless-Runtime-Version,X-Stainless-Retry-Count,X-Stainless-Timeout,X-Stainless-Helper-Method,\
             X-Stainless-Async,X-Stainless-Poll-Helper,X-Stainless-Custom-Poll-Interval",
        ),
    ),
];

/// The headers of a client's request that go up, in its order. What its `Connection` header claims for this connection
/// alone is left out.
pub fn upstream_request_headers(client: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    client.iter().filter(|(name, _)| goes_up(name) && !nominated(client, name))
}

/// Whether a header of an upstream answer is passed on to the client.
pub fn client_response_header(name: &HeaderName) -> bool {
    DOWN.contains(name)
}

fn goes_up(name: &HeaderName) -> bool {
    UP.contains(name) || name.as_str().starts_with("x-stainless-")
}

fn nominated(client: &HeaderMap, name: &HeaderName) -> bool {
    let mut options = client.get_all(header::CONNECTION).iter().flat_map(|v| v.as_bytes().split(|b| *b == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = list.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
        pairs.collect()
    }

    fn up(list: &[(&'static str, &'static str)]) -> Vec<String> {
        upstream_request_headers(&headers(list)).map(|(name, _)| name.as_str().to_owned()).collect()
    }

    #[test]
    fn what_openrouter_reads_goes_up() {
        let list = [
            ("content-type", "application/json"),
            ("content-encoding", "zstd"),
            ("http-referer", "https://app.example"),
            ("x-title", "app"),
            ("x-openrouter-title", "app"),
            ("x-openrouter-categories", "cli-agent"),
            ("x-openrouter-app-visibility", "hidden"),
            ("x-session-id", "s"),
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", "a"),
            ("x-stainless-lang", "python"),
            ("traceparent", "00-1-2-01"),
        ];
        assert_eq!(up(&list).len(), list.len());
    }

    #[test]
    fn nothing_that_looks_like_a_credential_goes_up() {
        // S11: sixty ways to carry a credential, and what else could name the client or bend the request.
        let names = "authorization proxy-authorization www-authenticate authentication authentication-info x-api-key \
            api-key apikey x-apikey x-api-token api-token x-auth x-auth-token x-auth-key auth-token auth token \
            x-token access-token x-access-token refresh-token x-refresh-token id-token x-id-token bearer \
            x-authorization x-forwarded-authorization x-original-authorization x-goog-api-key x-goog-iam-authorization-token \
            x-amz-security-token x-amz-date x-amz-content-sha256 x-azure-api-key ocp-apim-subscription-key \
            x-functions-key x-openai-api-key openai-api-key openai-organization openai-project x-anthropic-api-key \
            anthropic-api-key x-openrouter-api-key openrouter-api-key x-openrouter-key x-session x-session-token \
            session sid cookie cookie2 set-cookie x-csrf-token x-xsrf-token x-user x-user-id x-remote-user \
            remote-user x-client-cert x-ssl-client-cert x-forwarded-client-cert cf-access-client-id \
            cf-access-client-secret cf-access-jwt-assertion x-vault-token private-token x-gitlab-token \
            x-github-token x-hub-signature digest signature x-signature x-openrouter-cache x-openrouter-cache-ttl \
            x-openrouter-cache-clear x-openrouter-metadata x-openrouter-experimental-metadata forwarded \
            x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip true-client-ip cf-connecting-ip via host \
            origin referer connection te trailer transfer-encoding upgrade keep-alive content-length expect range \
            accept-encoding x-http-method-override x-method-override x-original-url x-rewrite-url http2-settings \
            idempotency-key";
        let mut map = HeaderMap::new();
        for name in names.split_whitespace() {
            map.insert(HeaderName::from_static(name), HeaderValue::from_static("canary"));
        }
        assert!(map.len() > 100);
        let leaked: Vec<_> = upstream_request_headers(&map).collect();
        assert!(leaked.is_empty(), "{leaked:?}");
    }

    #[test]
    fn what_the_connection_header_claims_stays() {
        let list = [("connection", "keep-alive, X-Title"), ("x-title", "app"), ("user-agent", "u")];
        assert_eq!(up(&list), ["user-agent"]);
    }

    #[test]
    fn only_the_answer_comes_down() {
        for name in ["content-type", "retry-after", "x-generation-id", "cache-control", "content-disposition"] {
            assert!(client_response_header(&HeaderName::from_static(name)), "{name}");
        }
        let held = "set-cookie cf-ray cf-cache-status server location x-ratelimit-limit x-ratelimit-remaining \
            x-ratelimit-reset x-openrouter-cache-source-id openai-organization anthropic-organization-id via alt-svc \
            nel report-to x-request-id authorization content-length transfer-encoding connection \
            access-control-allow-origin strict-transport-security x-clerk-auth-status link trailer upgrade";
        for name in held.split_whitespace() {
            assert!(!client_response_header(&HeaderName::from_static(name)), "{name}");
        }
    }

    #[test]
    fn browsers_may_call_from_anywhere_without_credentials() {
        let cors: HeaderMap = CORS.into_iter().chain(PREFLIGHT).collect();
        assert_eq!(cors["access-control-allow-origin"], "*");
        assert_eq!(cors["access-control-allow-methods"], "GET,OPTIONS,PATCH,DELETE,POST,PUT");
        assert!(!cors.contains_key("access-control-allow-credentials"));
        assert!(!cors.contains_key("access-control-max-age"));
        let allowed = cors["access-control-allow-headers"].to_str().expect("text").to_ascii_lowercase();
        assert!(!allowed.contains("x-openrouter-metadata"));
        for name in UP.iter().filter(|name| !name.as_str().starts_with("content-") && *name != header::ACCEPT_LANGUAGE)
        {
            assert!(allowed.split(',').any(|a| a == name.as_str()), "a browser could not send {name}");
        }
    }
}
