//! Requests with mistakes in them, at random from a seed.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{assert_only_listed_calls_went_up, framed, with_lines};
use crate::support::{Ask, Dice, House, Wire, chat};

const SEED: u64 = 99;
const REQUESTS: usize = 500;
const AT_A_TIME: usize = 20;
/// Enough for an answer; what is still incomplete then never gets one.
const PATIENCE: Duration = Duration::from_millis(60);

/// Things that parsers stumble over.
const SPICE: [&[u8]; 20] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b":",
    b" ",
    b"\t",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: evil.test\r\n",
    b"Authorization: Bearer sk-client\r\n",
    b"HTTP/1.1",
    b"GET /api/v1/keys HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"%2e%2e/",
    b"\xff\xfe",
    b"{\"a\":{\"a\":[[[[",
    b"999999999999999999999",
];

fn mutated(dice: &mut Dice) -> Vec<u8> {
    let body = chat("openai/gpt-4o-mini");
    let mut bytes = match dice.below(3) {
        0 => framed("Transfer-Encoding: chunked\r\n", &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())),
        1 => b"GET /api/v1/models/count HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        _ => with_lines("X-Title: fuzz\r\n"),
    };
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(6) {
            0 => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            1 => bytes[at] ^= 1 << dice.below(8),
            2 => drop(bytes.remove(at)),
            3 => bytes.truncate(at.max(1)),
            4 => drop(bytes.splice(at..at, dice.pick(&SPICE).iter().copied())),
            _ => bytes.extend_from_within(at..),
        }
    }
    bytes
}

#[tokio::test]
async fn five_hundred_mutilated_requests_do_no_harm() {
    let house = House::new(2, "[ledger]\nreconcile_schedule_ms = [1, 500, 1000, 2000, 4000, 8000]\n").await;
    let mut dice = Dice::new(SEED);
    let (mut answered, mut ok) = (0, 0);
    for _ in 0..REQUESTS / AT_A_TIME {
        let mut all = JoinSet::new();
        for _ in 0..AT_A_TIME {
            let (bytes, proxy) = (mutated(&mut dice), house.proxy);
            all.spawn(async move {
                let mut wire = Wire::connect(proxy).await;
                wire.write(&bytes).await;
                tokio::time::timeout(PATIENCE, wire.head()).await.map_or(0, |reading| reading.status)
            });
        }
        for status in all.join_all().await {
            assert!(status == 0 || (200..500).contains(&status), "{status}");
            answered += usize::from(status != 0);
            ok += usize::from(status == 200);
        }
    }
    assert!(answered > REQUESTS / 2 && ok > 20 && ok < answered, "{answered} answers, {ok} of them good");
    house.until("all are over", |o| o.in_flight == 0).await;
    assert_only_listed_calls_went_up(&house);
    house.assert_books_balance().await;
    assert_eq!(house.ask(&Ask::post("/v1/chat/completions", chat("sim/echo"))).await.status, 200);
    assert!(house.overview().await.keys.iter().all(|key| key.state.health == potluck::pool::Health::Healthy));
}
