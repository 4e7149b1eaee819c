//! 401, 403 and 404: who may do what with which model.

use crate::pool::Effect;
use crate::upstream::account::NO_CREDENTIAL;

use super::{Case, Next, Reason, Verdict, by_status, caps, elsewhere, provider_error};

/// A provider's own word for "not in your country".
const COUNTRY: &str = "unsupported_country_region_territory";
/// What names an address at the beginning of a message...
const ADDRESS: [&str; 5] = ["Your IP address ", "Your IP ", "Request IP address ", "This IP address ", "IP address "];
/// ...what denies it...
const NOT_ON: [&str; 4] = ["is not in the ", "is not on the ", "not in the ", "not on the "];
/// ...and what list that is about.
const ALLOW_LIST: [&str; 7] =
    ["allow list", "allow-list", "allowlist", "IP allow list", "IP allow-list", "IP allowlist", "list of allowed"];
/// Longest name of a provider or author before `is requiring a key` or `is banned`, in bytes.
const NAME_MAX_BYTES: usize = 64;

/// Judge a 401.
pub(super) fn unauthorized(case: &Case<'_>) -> Verdict {
    if NO_CREDENTIAL.iter().any(|text| case.message_begins(text)) {
        // Ours was sent and not seen: no key is to blame on first sight. Should it have been a single garbled request,
        // the next attempt saves it; if all are, the attempts run out, and the client is told so rather than that its
        // own credentials are missing.
        return Verdict::new(Reason::NoCredential, Effect::None, Next::AnotherKey);
    }
    if case.message_begins("User not found") {
        return Verdict::new(Reason::KeyUnknown, Effect::KeyDoubted, Next::AnotherKey);
    }
    if case.is_provider_error() {
        return provider_error(case);
    }
    if case.reached {
        // OpenRouter knew the key when it asked a provider, so these are the provider's words.
        return Verdict::pass(Reason::Unauthorized);
    }
    // Doubt costs little: a free question settles it at once.
    Verdict::new(Reason::Unauthorized, Effect::KeyDoubted, elsewhere(case.reached))
}

/// Judge a 403.
pub(super) fn forbidden(case: &Case<'_>) -> Verdict {
    // First of all what must never be tried elsewhere: flagged prompts would be spread over all donors.
    if case.error.moderated || matches!(case.error_type(), "content_policy_violation" | "refusal") {
        return Verdict::pass(Reason::Moderated);
    }
    if let Some(verdict) = caps::cap(case) {
        return verdict;
    }
    if case.message_begins("Only management keys can perform this operation") {
        return Verdict::pass(Reason::ManagementOnly);
    }
    if case.message_begins("Request blocked: prompt injection") {
        // The donor's guardrail or the request: other donors have other guardrails, but this is no key's fault.
        return Verdict::new(Reason::PromptInjection, Effect::None, Next::AnotherAccountOnce);
    }
    if let Some(verdict) = out_of_reach(case) {
        return verdict;
    }
    // Behind a provider the text is the provider's, or the model's: OpenRouter bars an address at the door.
    if !case.reached && is_address_barred(&case.error.message) {
        return Verdict::new(Reason::AddressBarred, Effect::KeyBarred, Next::AnotherKey);
    }
    if case.is_provider_error() {
        return Verdict::pass(Reason::ProviderError);
    }
    // An unknown 403 may be a moderator's: it is neither spread over donors nor held against a key.
    by_status(403)
}

/// The account cannot use this model, whoever asks.
fn out_of_reach(case: &Case<'_>) -> Option<Verdict> {
    let message = &*case.error.message;
    let by_provider = case.is_provider_error() && case.error.provider_code.as_deref() == Some(COUNTRY);
    if by_provider || message.starts_with("This model is not available in your region") || availability(case, "region")
    {
        return Some(cannot(Reason::Region, case.model()));
    }
    if let Some(author) = banned_author(message) {
        return Some(cannot(Reason::AuthorBanned, banned(case, author)));
    }
    if message.split_once(" is requiring a key to access this model").is_some_and(|(name, _)| is_name(name)) {
        return Some(cannot(Reason::ProviderKeyNeeded, case.model()));
    }
    None
}

/// The author as the request names it, never as the answer does; when they differ (a fallback was meant), the model.
fn banned<'a>(case: &'a Case<'_>, author: &str) -> Option<&'a str> {
    let asked = case.author().filter(|asked| asked.trim_end_matches('/').eq_ignore_ascii_case(author));
    asked.or_else(|| case.model())
}

/// `Author openai is banned`
fn banned_author(message: &str) -> Option<&str> {
    let (name, rest) = message.strip_prefix("Author ")?.split_once(" is banned")?;
    (is_name(name) && !rest.starts_with(char::is_alphanumeric)).then_some(name)
}

/// What the name of a provider or author can look like: no sentence of somebody else's.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b" -._~".contains(&b);
    !text.is_empty() && text.len() <= NAME_MAX_BYTES && text.bytes().all(plain)
}

fn availability(case: &Case<'_>, what: &str) -> bool {
    let code = case.error.availability.as_deref().unwrap_or_default();
    code.strip_suffix("_restricted").is_some_and(|code| code == what)
}

fn cannot(reason: Reason, what: Option<&str>) -> Verdict {
    let effect = what.map_or(Effect::None, |what| Effect::AccountCannot { what: what.into() });
    Verdict::new(reason, effect, Next::AnotherAccountOnce)
}

/// An IP allow-list. Its exact text is not known, and the effect lasts until somebody acts, so the message must say
/// from its beginning that an address is missing on a list of allowed ones. A mere "your IP is blocked" is about the proxy.
fn is_address_barred(message: &str) -> bool {
    let after = |text: &'_ str, beginnings: &[&str]| -> Option<usize> {
        beginnings.iter().find(|start| text.starts_with(**start)).map(|start| start.len())
    };
    let Some(rest) = after(message, &ADDRESS).and_then(|at| message.get(at..)) else { return false };
    let Some(list) = after(rest, &NOT_ON).and_then(|at| rest.get(at..)) else { return false };
    after(list, &ALLOW_LIST).is_some()
}

/// Judge a 404.
pub(super) fn not_found(case: &Case<'_>) -> Verdict {
    let data_policy = availability(case, "privacy")
        || ["No endpoints found matching your data policy", "No allowed providers are available"]
            .iter()
            .any(|text| case.message_begins(text));
    // With restrictions of its own the request may have left no provider itself.
    match data_policy {
        true if case.restricted => Verdict::pass(Reason::DataPolicy),
        true => cannot(Reason::DataPolicy, case.model()),
        false => by_status(404),
    }
}
