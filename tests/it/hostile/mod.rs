//! Clients that mean harm, or do not know better.

mod fuzz;
mod heads;
mod keepalive;
mod slow;

use crate::support::{House, Wire, assert_no_panics, chat};

/// The body of an ordinary request.
fn body() -> String {
    chat("openai/gpt-4o-mini")
}

/// An ordinary request with these lines more in its head.
fn with_lines(lines: &str) -> Vec<u8> {
    let body = body();
    format!(
        "POST /api/v1/chat/completions HTTP/1.1\r\nHost: potluck.test\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n{lines}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The same without a length; what frames it is in `lines`, and `body` is as it is on the wire.
fn framed(lines: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /api/v1/chat/completions HTTP/1.1\r\nHost: potluck.test\r\nContent-Type: application/json\r\n\
         {lines}\r\n{body}"
    )
    .into_bytes()
}

/// Send these bytes on a connection of their own, and read until it is closed.
async fn exchange(house: &House, bytes: &[u8]) -> String {
    let mut wire = Wire::connect(house.proxy).await;
    wire.write(bytes).await;
    String::from_utf8_lossy(&wire.until_closed().await).into_owned()
}

/// The statuses of the answers in what a connection gave.
fn statuses(seen: &str) -> Vec<u16> {
    let heads = seen.split("HTTP/1.").skip(1);
    heads.filter_map(|head| head.get(2..5)?.parse().ok()).collect()
}

/// Nothing ever goes up but listed calls, built by potluck: its constants, one pooled key, none of the client's framing.
fn assert_only_listed_calls_went_up(house: &House) {
    assert_no_panics();
    const NAMES: [&str; 8] = [
        "host",
        "authorization",
        "accept-encoding",
        "content-type",
        "content-length",
        "accept",
        "user-agent",
        "x-title",
    ];
    let keys: Vec<String> = house.sim.bill().keys.iter().map(|line| format!("Bearer {}", line.name)).collect();
    for entry in house.sim.log() {
        let asked = (entry.method.as_str(), entry.target.split('=').next().unwrap());
        let own = [("GET", "/api/v1/key"), ("GET", "/api/v1/credits"), ("GET", "/api/v1/generation?id")];
        let public =
            [("GET", "/api/v1/models"), ("GET", "/api/v1/models/count"), ("GET", "/api/v1/models?output_modalities")];
        let listed = [("POST", "/api/v1/chat/completions")];
        assert!(own.contains(&asked) || public.contains(&asked) || listed.contains(&asked), "{asked:?} went up");
        let bearers = entry.header("authorization");
        let anonymous = public.contains(&asked) && bearers.is_empty();
        assert!(anonymous || (bearers.len() == 1 && keys.iter().any(|key| key == bearers[0])), "{entry:?}");
        assert_eq!(entry.header("host"), [house.sim.addr().to_string()], "{entry:?}");
        for (name, _) in &entry.headers {
            assert!(NAMES.contains(&name.as_str()), "{name} went up with {asked:?}");
        }
    }
}
