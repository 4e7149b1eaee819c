//! The guards, as tables.

use http::{HeaderValue, Request};

use super::*;

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| {
            let name: HeaderName = name.parse().expect("a header name");
            (name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"))
        })
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
}

fn names() -> Names {
    let listen = "192.0.2.7:8769".parse().expect("an address");
    Names::new(listen, &["Potluck.example.org".to_owned(), "10.1.2.3:80".to_owned()])
}

#[test]
fn only_calls_addressed_to_us_get_in() {
    let check = |host: &str, ours: bool| {
        let expected = if ours { Ok(()) } else { Err(Refused::Host) };
        assert_eq!(check_sender(&names(), &headers(&[("host", host)])), expected, "{host:?}");
    };
    for host in ["localhost", "LOCALHOST:8769", "127.0.0.1", "127.0.0.1:8769", "[::1]", "[::1]:8769", "localhost:1"] {
        check(host, true);
    }
    for host in ["192.0.2.7", "192.0.2.7:8769", "potluck.example.org", "potluck.example.org:443", "10.1.2.3:80"] {
        check(host, true);
    }
    for host in ["", ":8769", "evil.example", "evil.example:8769", "127.0.0.1.evil.example", "localhost.evil.example"] {
        check(host, false);
    }
    for host in ["127.0.0.2", "127.1", "2130706433", "0.0.0.0", "::1", "[::]", "localhost.", "evil@localhost"] {
        check(host, false);
    }
    for host in ["localhost:", "localhost:x", "localhost:8769:1", "localhost/", "10.1.2.3", "192.0.2.8", "a:123456"] {
        check(host, host == "localhost:");
    }
    assert_eq!(check_sender(&names(), &headers(&[])), Err(Refused::Host));
    let twice = headers(&[("host", "localhost"), ("host", "localhost")]);
    assert_eq!(check_sender(&names(), &twice), Err(Refused::Host));
}

#[test]
fn everywhere_is_not_an_address_to_be_called_by() {
    let everywhere = Names::new("0.0.0.0:8769".parse().expect("an address"), &[]);
    assert_eq!(check_sender(&everywhere, &headers(&[("host", "0.0.0.0:8769")])), Err(Refused::Host));
    assert_eq!(check_sender(&everywhere, &headers(&[("host", "127.0.0.1:8769")])), Ok(()));
}

#[test]
fn pages_of_other_origins_stay_out() {
    let check = |list: &[(&str, &str)], ours: bool| {
        let mut all = headers(list);
        all.append(header::HOST, HeaderValue::from_static("localhost:8769"));
        let expected = if ours { Ok(()) } else { Err(Refused::Origin) };
        assert_eq!(check_sender(&names(), &all), expected, "{list:?}");
    };
    check(&[], true);
    check(&[("origin", "http://localhost:8769")], true);
    check(&[("origin", "https://LOCALHOST:8769"), ("sec-fetch-site", "same-origin")], true);
    check(&[("sec-fetch-site", "none")], true);
    for origin in
        ["null", "", "http://evil.example", "http://localhost:3000", "http://localhost", "http://127.0.0.1:8769"]
    {
        check(&[("origin", origin)], false);
    }
    for origin in ["file://", "chrome-extension://abc", "localhost:8769", "http://localhost:8769.evil.example", "é"] {
        check(&[("origin", origin)], false);
    }
    for site in ["cross-site", "same-site", "", "Same-Origin", "none,none"] {
        check(&[("sec-fetch-site", site)], false);
    }
    check(&[("origin", "http://localhost:8769"), ("origin", "http://evil.example")], false);
    check(&[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")], false);
}

#[test]
fn only_the_token_opens() {
    let token = Secret::new("0123456789abcdef");
    let check = |values: &[&str], brought: Brought| {
        let list: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
        assert_eq!(check_token(&token, &headers(&list)), brought, "{values:?}");
    };
    check(&["Bearer 0123456789abcdef"], Brought::Right);
    check(&["bearer   0123456789abcdef "], Brought::Right);
    check(&[], Brought::None);
    check(&["Bearer 0123456789abcdeF"], Brought::Wrong);
    check(&["Bearer 0123456789abcde"], Brought::Wrong);
    check(&["Bearer 0123456789abcdef0"], Brought::Wrong);
    check(&["Bearer "], Brought::Wrong);
    check(&["Bearer"], Brought::Wrong);
    check(&[""], Brought::Wrong);
    check(&["Bearer0123456789abcdef"], Brought::Wrong);
    check(&["Basic 0123456789abcdef"], Brought::Wrong);
    check(&["0123456789abcdef"], Brought::Wrong);
    check(&["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"], Brought::Wrong);
    check(&["Béarer 0123456789abcdef"], Brought::Wrong);
}

#[test]
fn writes_are_json_and_targets_plain() {
    let check = |method: &str, target: &str, content_type: Option<&str>, expected: Result<(), Refused>| {
        let request = Request::builder().method(method).uri(target).body(()).expect("a request");
        let list: Vec<_> = content_type.into_iter().map(|value| ("content-type", value)).collect();
        let judged = check_form(request.method(), request.uri(), &headers(&list));
        assert_eq!(judged, expected, "{method} {target} {content_type:?}");
    };
    check("GET", "/status", None, Ok(()));
    check("HEAD", "/status", None, Ok(()));
    check("OPTIONS", "/keys", None, Ok(()));
    check("GET", "/health?probe=7", None, Ok(()));
    check("GET", "/status?x", None, Err(Refused::Query));
    check("GET", "/status?", None, Err(Refused::Query));
    check("DELETE", "/keys/openrouter?key=sk-or-v1-0", Some("application/json"), Err(Refused::Query));
    check("GET", "http://localhost/status", None, Err(Refused::Query));
    for target in ["/ledger?key=k1", "/ledger/summary?key=k1", "/keys/openrouter/k1/receipt?from=2026-11-24"] {
        check("GET", target, None, Ok(()));
        check("POST", target, Some("application/json"), Err(Refused::Query));
        check("GET", &format!("http://localhost{target}"), None, Err(Refused::Query));
    }
    for target in ["/ledger/suspense?x", "/ledger/settle?x", "/keys/openrouter/k1?x", "/keys/openrouter?x", "/keys?x"] {
        check("GET", target, None, Err(Refused::Query));
    }
    for method in ["POST", "DELETE", "PUT", "PATCH", "PROPFIND", "TRACE"] {
        check(method, "/keys/openrouter", Some("application/json"), Ok(()));
        check(method, "/keys/openrouter", Some("Application/JSON ; charset=utf-8"), Ok(()));
        for wrong in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json5", ""]
        {
            check(method, "/keys/openrouter", Some(wrong), Err(Refused::ContentType));
        }
        check(method, "/keys/openrouter", Some("text/plain;application/json"), Err(Refused::ContentType));
        check(method, "/keys/openrouter", None, Err(Refused::ContentType));
    }
}
