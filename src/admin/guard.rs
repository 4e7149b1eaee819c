//! What every admin call must get past, whatever it asks for: is it addressed to us, does a foreign web page send it,
//! does it know the token, is it a proper write?
//!
//! A listener on this machine is reachable from every web page its user opens. Such a page can guess the address, or
//! give its own name that address (DNS rebinding); it cannot choose the `Host`, `Origin` and `Sec-Fetch-Site` that the
//! browser sends, and it cannot set a JSON content type without asking first, which is never granted.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, Method, Uri, header};

use crate::secret::Secret;

use super::refused::Refused;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Paths that answer without a token: a load balancer has none, and they say nothing about keys.
const OPEN_PATHS: [&str; 2] = ["/health", "/ready"];

/// The names this listener may be called by.
#[derive(Clone, Debug)]
pub(super) struct Names(Vec<String>);

impl Names {
    /// The loopback names, the listen address, and the operator's own.
    pub(super) fn new(listen: SocketAddr, own: &[String]) -> Self {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "[::1]".to_owned()];
        if !listen.ip().is_unspecified() {
            names.push(match listen.ip() {
                IpAddr::V4(v4) => v4.to_string(),
                IpAddr::V6(v6) => format!("[{v6}]"),
            });
        }
        names.extend(own.iter().map(|name| name.to_ascii_lowercase()));
        Self(names)
    }

    /// Whether a `Host` value names us, at whatever port: a tunnel or a container may map it.
    fn include(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && port.len() <= 5 => name,
            _ => host,
        };
        self.0.iter().any(|known| known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(host))
    }
}

/// Whether the call is addressed to us, and not by a foreign page; the first two questions, before any token.
pub(super) fn check_sender(names: &Names, headers: &HeaderMap) -> Result<(), Refused> {
    let host = single(headers, &header::HOST).ok().flatten().ok_or(Refused::Host)?;
    if !names.include(host) {
        return Err(Refused::Host);
    }
    if let Some(origin) = single(headers, &header::ORIGIN).map_err(|()| Refused::Origin)? {
        let ours = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if !ours.is_some_and(|ours| ours.eq_ignore_ascii_case(host)) {
            return Err(Refused::Origin);
        }
    }
    match single(headers, &SEC_FETCH_SITE).map_err(|()| Refused::Origin)? {
        None | Some("none" | "same-origin") => Ok(()),
        Some(_) => Err(Refused::Origin),
    }
}

/// Whether a path needs the token.
pub(super) fn is_open(path: &str) -> bool {
    OPEN_PATHS.contains(&path)
}

/// What a call brings for a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// The right one.
    Right,
    /// None at all.
    None,
    /// A wrong one.
    Wrong,
}

/// Compare what the call brings, in time that tells nothing of where it differs.
pub(super) fn check_token(token: &Secret, headers: &HeaderMap) -> Brought {
    let mut brought = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (brought.next(), brought.next()) else {
        return if headers.contains_key(header::AUTHORIZATION) { Brought::Wrong } else { Brought::None };
    };
    let value = value.as_bytes();
    let Some((scheme, rest)) = value.split_at_checked(6) else { return Brought::Wrong };
    let text = rest.trim_ascii();
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && text.len() < rest.len();
    if is_bearer && token.matches(text) { Brought::Right } else { Brought::Wrong }
}

/// Whether a read takes a query: it says which part of the ledger is meant.
fn takes_query(path: &str) -> bool {
    let is_receipt = path.strip_prefix("/keys/openrouter/").is_some_and(|rest| rest.ends_with("/receipt"));
    let is_users = path.starts_with("/clients/") && path.ends_with("/users");
    is_open(path) || matches!(path, "/ledger" | "/ledger/summary") || is_receipt || is_users
}

/// Whether the call is one that a handler may look at: a plain path, without a query where none is taken, and JSON in
/// writes.
pub(super) fn check_form(method: &Method, target: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
    let is_plain = target.scheme().is_none() && target.authority().is_none();
    let is_read = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    if !is_plain || (target.query().is_some() && !(is_read && takes_query(target.path()))) {
        return Err(Refused::Query);
    }
    if !is_read && !says_json(headers) {
        return Err(Refused::ContentType);
    }
    Ok(())
}

fn says_json(headers: &HeaderMap) -> bool {
    let Ok(Some(content_type)) = single(headers, &header::CONTENT_TYPE) else { return false };
    let essence = content_type.split_once(';').map_or(content_type, |(essence, _)| essence);
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// The value of a header that may stand at most once, as text.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(drop),
        (Some(_), Some(_)) => Err(()),
    }
}

#[cfg(test)]
mod tests;
