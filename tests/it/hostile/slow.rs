//! Clients that take their time, and clients that come in numbers.

use std::time::Duration;

use super::{assert_only_listed_calls_went_up, body, statuses, with_lines};
use crate::support::{Ask, House, Wire, chat, chat_stream};

const SHORT: &str = "[proxy]\nhead_timeout_ms = 300\nidle_timeout_ms = 300\nbody_timeout_ms = 300\n\
                     write_timeout_ms = 300\n";
const CHAT: &str = "/api/v1/chat/completions";
/// Well within every limit, so no single pause is ever too long.
const A_WHILE: Duration = Duration::from_millis(50);

/// Write byte by byte until the server has had enough. How many bytes that took.
async fn drip(wire: &mut Wire, bytes: &[u8]) -> usize {
    for (count, byte) in bytes.iter().enumerate() {
        if wire.has_heard() {
            return count;
        }
        wire.write(&[*byte]).await;
        tokio::time::sleep(A_WHILE).await;
    }
    bytes.len()
}

#[tokio::test]
async fn a_head_that_drips_in_is_not_waited_for() {
    let house = House::new(1, SHORT).await;
    let request = with_lines("");
    let mut wire = Wire::connect(house.proxy).await;
    let taken = drip(&mut wire, &request[..60]).await;
    assert!(taken < 30, "{taken} bytes were waited for");
    assert_eq!(statuses(&String::from_utf8(wire.until_closed().await).unwrap()).len(), 0);

    // The same for the second request of a connection.
    let (answer, mut wire) = Wire::connect(house.proxy).await.ask(&Ask::post(CHAT, body())).await.rest_and_wire().await;
    assert_eq!(answer.status, 200);
    let taken = drip(&mut wire, &request[..60]).await;
    assert!(taken < 30, "{taken} bytes were waited for");
    assert_eq!(house.went_up().len(), 1);
}

#[tokio::test]
async fn connections_that_say_nothing_are_closed() {
    let house = House::new(1, SHORT).await;
    let silent = Wire::connect(house.proxy).await;
    let (answer, idle) = Wire::connect(house.proxy).await.ask(&Ask::post(CHAT, body())).await.rest_and_wire().await;
    assert_eq!(answer.status, 200);
    let both = async { (silent.until_closed().await, idle.until_closed().await) };
    let closed = tokio::time::timeout(Duration::from_secs(3), both).await.expect("both are closed");
    assert_eq!(closed, (vec![], vec![]));
}

#[tokio::test]
async fn a_body_that_stops_or_drips_in_is_not_waited_for() {
    let settings = format!("{SHORT}body_min_rate_bytes_per_s = 1024\n");
    let house = House::new(1, &settings).await;
    let request = with_lines("");
    let head = request.len() - body().len();
    for drips in [false, true] {
        let mut wire = Wire::connect(house.proxy).await;
        wire.write(&request[..head + 5]).await;
        if drips {
            let taken = drip(&mut wire, &request[head + 5..]).await;
            assert!(taken < 40, "{taken} bytes were waited for");
        }
        let seen = String::from_utf8(wire.until_closed().await).unwrap();
        assert_eq!(statuses(&seen), [408], "{seen}");
    }
    assert_eq!(house.went_up(), []);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left_and_pays_all_the_same() {
    let settings = format!("{SHORT}[upstream]\nfirst_byte_timeout_ms = 6000\ntotal_timeout_ms = 6000\n");
    let house = House::new(1, &settings).await;
    // More than the sockets on the way can hold.
    let model = "sim/echo?text_bytes=12000000&stops_on_cancel=true";
    let reading = Ask::post(CHAT, chat_stream(model)).open(house.proxy).await;
    assert_eq!(reading.status, 200);
    house.until("it is given up", |o| o.in_flight == 0).await;
    house.assert_books_balance().await;
    assert!(house.sim.bill().total.0 > 0);
    assert_eq!(house.overview().await.successes, 0);
    drop(reading);
    assert_eq!(house.ask(&Ask::post(CHAT, chat("sim/echo"))).await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let house = House::new(1, "[proxy]\nbody_max_bytes = 2048\n").await;
    let large = format!("{{\"model\":\"sim/echo\",\"messages\":[],\"x\":\"{}\"}}", "y".repeat(4096));
    for ask in [Ask::post(CHAT, large.clone()), Ask::post(CHAT, large).chunked(100)] {
        let answer = house.ask(&ask).await;
        assert_eq!(answer.status, 413, "{}", answer.text());
    }
    // Announced, and never sent.
    let mut wire = Wire::connect(house.proxy).await;
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n");
    wire.write(head.as_bytes()).await;
    assert_eq!(wire.head().await.status, 413);
    assert_eq!(house.went_up(), []);
}

#[tokio::test]
async fn connections_beyond_the_limits_are_closed_at_once_and_those_inside_go_on() {
    for limit in ["connections_per_address_max = 3", "connections_max = 3\nconnections_per_address_max = 3"] {
        let house = House::new(1, &format!("[proxy]\n{limit}\n")).await;
        let mut inside = Vec::new();
        for _ in 0..3 {
            // One of House's own first connections may still be leaving.
            let reading = loop {
                let ask = Ask::post(CHAT, chat_stream("sim/fixture-8"));
                let reading = ask.open(house.proxy).await;
                if reading.status != 0 {
                    break reading;
                }
            };
            assert_eq!(reading.status, 200);
            inside.push(reading);
        }
        for _ in 0..20 {
            let mut wire = Wire::connect(house.proxy).await;
            wire.write(&with_lines("")).await;
            assert_eq!(wire.until_closed().await, b"", "{limit}");
        }
        house.sim.release();
        for reading in inside {
            assert!(reading.rest().await.whole, "{limit}");
        }
        house.until("there is room again", |o| o.in_flight == 0).await;
        let metrics = Ask::get("/metrics").send(house.admin).await.text();
        assert!(metrics.lines().any(|l| !l.starts_with('#') && l.contains("connections_refused")), "{metrics}");
        assert_eq!(house.went_up().len(), 3, "{limit}");
        assert_only_listed_calls_went_up(&house);
    }
}
