//! `upstream.base_url`: the one host that pooled keys are ever sent to.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A checked upstream address. Clear text is only possible to this machine itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// `https`; false only for a loopback host.
    pub tls: bool,
    /// Name or address literal, lower case, IPv6 without brackets. It is also the name the certificate must have.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The path below which the API lives, without a slash at its end: `/api/v1`, or empty.
    pub prefix: String,
}

impl BaseUrl {
    /// Parse and check an address.
    ///
    /// # Errors
    /// What is wrong and how to write it right; never repeats the text, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            _ => return Err("must begin with https:// (as in https://openrouter.ai/api/v1)"),
        };
        if rest.contains('@') {
            return Err("must not hold a user name or password");
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_port(authority)?;
        let url = Self {
            tls,
            host: check_host(host)?,
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            prefix: check_prefix(path)?,
        };
        if !tls && !url.is_loopback() {
            return Err(
                "must be https:// (keys travel to it); http:// is only for this machine, as in http://127.0.0.1:8780/api/v1",
            );
        }
        Ok(url)
    }

    /// Whether the host is this machine, by literal address or the name `localhost`.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }

    /// Host and port as in a `Host` header: the port is left out where it is the scheme's own.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let default_port = if self.tls { 443 } else { 80 };
        if self.port == default_port { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.prefix)
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let end_of_host = authority.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = authority.get(end_of_host..).and_then(|tail| tail.rfind(':')) else {
        return Ok((authority, None));
    };
    let (host, port) = authority.split_at(end_of_host + colon);
    match port.trim_start_matches(':').parse() {
        Ok(number @ 1..) if !port.contains('+') => Ok((host, Some(number))),
        _ => Err("the port must be a number from 1 to 65535"),
    }
}

fn check_host(host: &str) -> Result<String, &'static str> {
    if let Some(literal) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return literal.parse::<Ipv6Addr>().map(|ip| ip.to_string()).map_err(|_| "the host is not an IPv6 address");
    }
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if host.len() <= 253 && host.split('.').all(label) {
        return Ok(host.to_ascii_lowercase());
    }
    Err("the host must be a name or an address (as in https://openrouter.ai/api/v1)")
}

fn check_prefix(path: &str) -> Result<String, &'static str> {
    let prefix = path.strip_suffix('/').unwrap_or(path);
    let plain = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'))
    };
    if prefix.is_empty() || prefix.get(1..).is_some_and(|p| p.split('/').all(plain)) {
        return Ok(prefix.to_owned());
    }
    Err("the path may hold only letters, digits, - _ . ~ between single slashes; no query, no fragment")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses() {
        let check = |text: &str, tls, host: &str, port, prefix: &str, shown: &str| {
            let url = BaseUrl::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(
                (url.tls, url.host.as_str(), url.port, url.prefix.as_str()),
                (tls, host, port, prefix),
                "{text}"
            );
            assert_eq!(url.to_string(), shown);
        };
        check("https://openrouter.ai/api/v1", true, "openrouter.ai", 443, "/api/v1", "https://openrouter.ai/api/v1");
        check("https://OpenRouter.AI/api/v1/", true, "openrouter.ai", 443, "/api/v1", "https://openrouter.ai/api/v1");
        check("HTTPS://example.org:8443", true, "example.org", 8443, "", "https://example.org:8443");
        check("https://example.org/", true, "example.org", 443, "", "https://example.org");
        check("http://127.0.0.1:8780/api/v1", false, "127.0.0.1", 8780, "/api/v1", "http://127.0.0.1:8780/api/v1");
        check("http://localhost/x", false, "localhost", 80, "/x", "http://localhost/x");
        check("http://[::1]:99/x", false, "::1", 99, "/x", "http://[::1]:99/x");
        check("http://127.9.9.9", false, "127.9.9.9", 80, "", "http://127.9.9.9");
    }

    #[test]
    fn bad_addresses_are_refused_with_the_reason() {
        let check = |text: &str, part: &str| {
            let error = BaseUrl::parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        };
        check("", "https://");
        check("openrouter.ai/api/v1", "https://");
        check("ftp://openrouter.ai", "https://");
        check("https://user:hunter2@openrouter.ai/api/v1", "user name or password");
        check("https://", "host");
        check("https:///api", "host");
        check("https://open router.ai/", "host");
        check("https://-x.ai/", "host");
        check("https://a..b/", "host");
        check("https://[::1", "host");
        check("https://[zz]/", "IPv6");
        check("https://a:0/", "port");
        check("https://a:65536/", "port");
        check("https://a:/", "port");
        check("https://::1/", "host");
        check("https://a/x?y=1", "no query");
        check("https://a/x#y", "no query");
        check("https://a//x", "single slashes");
        check("https://a/x/../y", "single slashes");
        check("https://a/%2e%2e", "letters, digits");
        check("http://openrouter.ai/api/v1", "must be https://");
        check("http://10.0.0.1/", "must be https://");
        check("http://0.0.0.0/", "must be https://");
        check("http://localhost.evil.example/", "must be https://");
        check("http://127.0.0.1.evil.example/", "must be https://");
    }
}
