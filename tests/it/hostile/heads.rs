//! Request heads and bodies that two readers could understand in two ways, and requests for what is not on offer.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{assert_only_listed_calls_went_up, body, exchange, framed, statuses, with_lines};
use crate::support::{House, Wire};

/// What a front proxy that reads the framing the other way would take for a second request.
const SMUGGLED: &str = "GET /api/v1/models/count HTTP/1.1\r\nHost: potluck.test\r\n\r\n";

/// Send all of them at the same time, each on a connection of its own: one answer each, of a status in `allowed`, then
/// the connection is closed.
async fn all_get(house: &House, shapes: Vec<(String, Vec<u8>)>, allowed: &[u16]) {
    let mut all = JoinSet::new();
    for (name, bytes) in shapes {
        let proxy = house.proxy;
        all.spawn(async move {
            let mut wire = Wire::connect(proxy).await;
            wire.write(&bytes).await;
            (name, String::from_utf8_lossy(&wire.until_closed().await).into_owned())
        });
    }
    for (name, seen) in all.join_all().await {
        let statuses = statuses(&seen);
        assert!(statuses.len() == 1 && allowed.contains(&statuses[0]), "{name}: {statuses:?} {seen}");
        assert!(!seen.contains("panic"), "{name}: {seen}");
    }
}

fn named<const N: usize>(shapes: [(&str, Vec<u8>); N]) -> Vec<(String, Vec<u8>)> {
    shapes.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

/// Framing that is not plain, each with a request hidden behind it.
fn framings() -> Vec<(String, Vec<u8>)> {
    let length = body().len();
    let whole = format!("{}{SMUGGLED}", body());
    let chunked = format!("{length:x}\r\n{}\r\n0\r\n\r\n{SMUGGLED}", body());
    let lengths = |value: String| framed(&format!("Content-Length: {value}\r\n"), &whole);
    let coded = |value: &str| framed(&format!("Transfer-Encoding: {value}\r\n"), &chunked);
    let both = |first: &str, second: &str| framed(&format!("{first}\r\n{second}\r\n"), &chunked);
    let (te, cl) = ("Transfer-Encoding: chunked", format!("Content-Length: {length}"));
    named([
        ("length and chunked", both(&cl, te)),
        ("chunked and length", both(te, &cl)),
        ("length 0 and chunked", both("Content-Length: 0", te)),
        ("two lengths", framed(&format!("{cl}\r\nContent-Length: 1\r\n"), &whole)),
        ("two equal lengths", framed(&format!("{cl}\r\n{cl}\r\n"), &whole)),
        ("a list of lengths", lengths(format!("{length}, {length}"))),
        ("a signed length", lengths(format!("+{length}"))),
        ("a negative length", lengths(format!("-{length}"))),
        ("a hexadecimal length", lengths(format!("{length:#x}"))),
        ("an empty length", lengths(String::new())),
        ("a length of twenty digits", lengths("9".repeat(20))),
        ("a length with a space in it", lengths("1 0".to_owned())),
        ("two encodings in one line", coded("identity, chunked")),
        ("chunked twice in one line", coded("chunked, chunked")),
        ("two encodings in two lines", both(te, "Transfer-Encoding: identity")),
        ("chunked not last", coded("chunked, gzip")),
        ("another encoding", coded("gzip")),
        ("nearly chunked", coded("xchunked")),
        ("quoted chunked", coded("\"chunked\"")),
        ("chunked behind a vertical tab", coded("\x0bchunked")),
        ("an empty encoding", coded("")),
    ])
}

/// Lines that are not plain, in a request that is otherwise in order.
fn lines() -> Vec<(String, Vec<u8>)> {
    let many = |n: usize| (0..n).map(|n| format!("X-Field-{n}: 1\r\n")).collect::<String>();
    let bare = |from: &str, to: &str| String::from_utf8(with_lines("")).unwrap().replacen(from, to, 1).into_bytes();
    named([
        ("a folded line", with_lines("X-Title: a\r\n b\r\n")),
        ("a folded length", with_lines("X-Title: a\r\n\tContent-Length: 5\r\n")),
        ("a space before the colon", with_lines("Transfer-Encoding : chunked\r\n")),
        ("a space in a name", with_lines("X Title: a\r\n")),
        ("a line without a colon", with_lines("X-Title\r\n")),
        ("an empty name", with_lines(": a\r\n")),
        ("a null byte in a value", with_lines("X-Title: a\0b\r\n")),
        ("a null byte in a name", with_lines("X-\0Title: a\r\n")),
        ("a bare CR in a value", with_lines("X-Title: a\rContent-Length: 0\r\n")),
        ("a line that ends in LF", with_lines("X-Title: a\n")),
        ("a request line that ends in LF", bare("HTTP/1.1\r\n", "HTTP/1.1\n")),
        ("a head that ends in LF LF", bare("\r\n\r\n", "\n\n")),
        ("no host", bare("Host: potluck.test\r\n", "")),
        ("an empty host", bare("Host: potluck.test\r\n", "Host:\r\n")),
        ("two hosts", with_lines("Host: openrouter.ai\r\n")),
        ("too many fields", with_lines(&many(101))),
        ("a huge field", with_lines(&format!("X-Title: {}\r\n", "a".repeat(40_000)))),
        ("a huge target", bare("completions", &format!("completions?{}", "a".repeat(40_000)))),
        ("no version", bare(" HTTP/1.1", "")),
        ("version 2.0", bare("HTTP/1.1", "HTTP/2.0")),
        ("version 1.2", bare("HTTP/1.1", "HTTP/1.2")),
        ("version 0.9", bare("HTTP/1.1", "HTTP/0.9")),
        ("chunked in version 1.0", framed("Transfer-Encoding: chunked\r\n", "0\r\n\r\n").replaced("/1.1", "/1.0")),
        ("an end of line in the target", bare("completions", "completions\r\nX: y")),
    ])
}

trait Replaced {
    fn replaced(self, from: &str, to: &str) -> Self;
}

impl Replaced for Vec<u8> {
    fn replaced(self, from: &str, to: &str) -> Self {
        String::from_utf8(self).unwrap().replacen(from, to, 1).into_bytes()
    }
}

#[tokio::test]
async fn heads_that_can_be_read_in_two_ways_are_refused_once_and_the_connection_ends() {
    let house = House::new(1, "").await;
    let shapes = [framings(), lines()].concat();
    all_get(&house, shapes, &[400, 413, 431, 505]).await;
    assert_eq!(house.went_up(), []);
    assert_only_listed_calls_went_up(&house);
    let seen = exchange(&house, &with_lines("Connection: close\r\n")).await;
    assert_eq!(statuses(&seen), [200], "the same request in order: {seen}");
}

/// A chunked body as it is on the wire, in an ordinary request.
fn chunked(body: &str) -> Vec<u8> {
    framed("Transfer-Encoding: chunked\r\nConnection: close\r\n", body)
}

/// Chunks that are not plain.
fn broken_chunks() -> Vec<(String, Vec<u8>)> {
    let (length, whole) = (body().len(), body());
    // Behind a line feed there are, to some readers, a chunk's data and then a request.
    let hidden = format!("4a;a\nhello\r\n0\r\n\r\n{SMUGGLED}{}\r\n0\r\n\r\n", "x".repeat(0x4a));
    named([
        ("no size", chunked(&format!("\r\n{whole}\r\n0\r\n\r\n"))),
        ("not a size", chunked(&format!("xyz\r\n{whole}\r\n0\r\n\r\n"))),
        ("a signed size", chunked(&format!("+{length:x}\r\n{whole}\r\n0\r\n\r\n"))),
        ("a negative size", chunked(&format!("-1\r\n{whole}\r\n0\r\n\r\n"))),
        ("0x in a size", chunked(&format!("0x{length:x}\r\n{whole}\r\n0\r\n\r\n"))),
        ("a size beyond 64 bits", chunked(&format!("1{length:016x}\r\n{whole}\r\n0\r\n\r\n"))),
        ("a size too small", chunked(&format!("{:x}\r\n{whole}\r\n0\r\n\r\n", length - 1))),
        ("a size line that ends in LF", chunked(&format!("{length:x}\n{whole}\r\n0\r\n\r\n"))),
        ("a size with a space behind it", chunked(&format!("{length:x} \r\n{whole}\r\n0\r\n\r\n"))),
        ("a size with a tab behind it", chunked(&format!("{length:x}\t\r\n{whole}\r\n0\r\n\r\n"))),
        ("a space before an extension", chunked(&format!("{length:x} ;a\r\n{whole}\r\n0\r\n\r\n"))),
        ("an LF in an extension", chunked(&format!("{length:x};a\nb\r\n{whole}\r\n0\r\n\r\n"))),
        ("a CR in an extension", chunked(&format!("{length:x};a\rb\r\n{whole}\r\n0\r\n\r\n"))),
        ("a null byte in an extension", chunked(&format!("{length:x};a\0\r\n{whole}\r\n0\r\n\r\n"))),
        ("an endless extension", chunked(&format!("{length:x};{}\r\n{whole}\r\n0\r\n\r\n", "a".repeat(100_000)))),
        ("a request behind an LF", chunked(&hidden)),
        ("an LF in the last extension", chunked(&format!("{length:x}\r\n{whole}\r\n0;a\nb\r\n\r\n"))),
        ("a trailer that ends in LF", chunked(&format!("{length:x}\r\n{whole}\r\n0\r\nX: y\n\r\n\r\n"))),
        ("a folded trailer", chunked(&format!("{length:x}\r\n{whole}\r\n0\r\nX: y\r\n z\r\n\r\n"))),
        ("no CR behind the data", chunked(&format!("{length:x}\r\n{whole}\n0\r\n\r\n"))),
    ])
}

#[tokio::test]
async fn bodies_with_broken_chunks_are_refused_at_once_and_the_connection_ends() {
    let house = House::new(1, "").await;
    all_get(&house, broken_chunks(), &[400]).await;
    // The same when they come behind the head, as longer bodies do; a second request is not heard of.
    let mut all = JoinSet::new();
    for (name, bytes) in broken_chunks() {
        let proxy = house.proxy;
        all.spawn(async move {
            let head = memchr::memmem::find(&bytes, b"\r\n\r\n").unwrap() + 4;
            let mut wire = Wire::connect(proxy).await;
            wire.write(&bytes[..head]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            wire.write(&bytes[head..]).await;
            wire.write(SMUGGLED.as_bytes()).await;
            let answered = tokio::time::Instant::now();
            let status = wire.interim().await;
            assert!(answered.elapsed() < Duration::from_secs(5), "{name}: nothing is waited for");
            let rest = String::from_utf8_lossy(&wire.until_closed().await).into_owned();
            assert!(status.contains(" 400 ") && statuses(&rest).is_empty(), "{name}: {status} {rest}");
        });
    }
    all.join_all().await;
    assert_eq!(house.went_up(), []);
    assert_only_listed_calls_went_up(&house);
}

#[tokio::test]
async fn plain_chunk_extensions_and_trailers_go_nowhere() {
    let house = House::new(1, "").await;
    let (length, whole) = (body().len(), body());
    let shapes = [
        chunked(&format!("{length:x};name=value\r\n{whole}\r\n0\r\n\r\n")),
        chunked(&format!("{length:x};name=\"a b\"\r\n{whole}\r\n0;last\r\n\r\n")),
        chunked(&format!("{length:x}\r\n{whole}\r\n0\r\nAuthorization: Bearer sk-client\r\nX-Title: t\r\n\r\n")),
    ];
    for bytes in &shapes {
        let seen = exchange(&house, bytes).await;
        assert_eq!(statuses(&seen), [200], "{seen}");
    }
    let up = house.went_up();
    assert_eq!(up.len(), shapes.len());
    for entry in &up {
        assert_eq!((entry.body_len, entry.header("content-length").len()), (length as u64, 1));
        assert!(entry.header("transfer-encoding").is_empty() && entry.header("x-title").is_empty());
    }
    assert_only_listed_calls_went_up(&house);
}

#[tokio::test]
async fn spellings_of_paths_and_methods_that_are_not_listed_are_not_sent() {
    let house = House::new(1, "").await;
    let targets = [
        "/api/v1/../v1/chat/completions",
        "/api/v1/./chat/completions",
        "/api/v1/%2e%2e/keys",
        "/api/v1/chat/%2e%2e/completions",
        "/api/v1/chat/completions/..",
        "/api/v1/chat/completions/",
        "//api/v1/chat/completions",
        "/api/v1//chat/completions",
        "/api//v1/chat/completions",
        "/api/v1/chat%2fcompletions",
        "/api/v1/chat/completions%00",
        "/api/v1/chat/completions\0",
        "/api/v1/chat/completions;x=y",
        "/api/v1/chat/completions%20",
        "/api/v1/chat\\completions",
        "/API/v1/chat/completions",
        "/api/v2/chat/completions",
        "http://openrouter.ai/api/v1/chat/completions",
        "https://evil.test/api/v1/chat/completions",
        "evil.test:443",
        "*",
        "/",
        "/api/v1/keys",
        "/api/v1/auth/keys",
        "/api/v1/files",
        "/api/v1/presets/x/chat/completions",
        "/api/v1/credits/coinbase",
    ];
    let call = |method: &str, target: &str| {
        let head = "Host: potluck.test\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length:";
        format!("{method} {target} HTTP/1.1\r\n{head} {}\r\n\r\n{}", body().len(), body()).into_bytes()
    };
    let paths = targets.iter().map(|target| ((*target).to_owned(), call("POST", target)));
    let methods = ["TRACE", "CONNECT", "PUT", "PATCH", "DELETE", "GET", "HEAD", "PROPFIND", "post", "PRI"];
    let methods = methods.map(|method| (method.to_owned(), call(method, "/api/v1/chat/completions")));
    all_get(&house, paths.chain(methods).collect(), &[400, 403, 404, 405, 501]).await;
    assert_eq!(house.went_up(), []);
    assert_only_listed_calls_went_up(&house);
}

#[tokio::test]
async fn what_asks_for_more_than_an_answer_gets_the_answer() {
    let house = House::new(1, "").await;
    let upgrade = with_lines("Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    let nominated = with_lines("Connection: close, authorization, content-length, host\r\nX-Title: t\r\n");
    let credentials = with_lines("Connection: close\r\nAuthorization: Bearer sk-client\r\nX-Api-Key: sk-client\r\n");
    let framing = with_lines("Connection: close\r\nTransfer_Encoding: chunked\r\nX-Forwarded-Host: evil.test\r\n");
    let old = with_lines("").replaced("HTTP/1.1", "HTTP/1.0");
    for bytes in [upgrade, nominated, credentials, framing, old] {
        let seen = exchange(&house, &bytes).await;
        assert_eq!(statuses(&seen), [200], "{seen}");
        assert!(seen.contains("\"usage\""), "{seen}");
    }
    let up = house.went_up();
    assert_eq!(up.len(), 5);
    for entry in &up {
        assert_eq!((entry.body_len, entry.target.as_str()), (body().len() as u64, "/api/v1/chat/completions"));
    }
    assert_only_listed_calls_went_up(&house);
    house.assert_books_balance().await;
}
