//! What goes wrong on the wire, and what it does to the bill.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::client::Ending;
use super::*;
use crate::clock::Tick;
use crate::simulator::{KeySettings, Play, Script};

const CHAT: &str = "/api/v1/chat/completions";

/// What a `sim/…` model charges for that request and so many output tokens.
fn price(body: &Value, output: u64) -> Pico {
    Pico(127_037) * (body.to_string().len() as u64 / 4) + Pico(390_001) * output
}

/// So many bytes come, then nothing, and the connection stays open.
async fn stalls_after(client: &mut Client, bytes: usize) {
    while client.buffer.len() < bytes {
        assert!(client.fill().await, "it stalls, it does not end");
    }
    let more = tokio::time::timeout(Duration::from_millis(15), client.fill()).await;
    assert!(more.is_err() && client.buffer.len() == bytes, "{:?}", String::from_utf8_lossy(&client.buffer));
}

#[tokio::test]
async fn what_breaks_before_the_head_is_complete_was_never_run() {
    let (simulator, key) = simulator().await;
    for (fault, ending) in
        [("reset-before-head", Ending::Reset), ("close-before-head", Ending::Cut), ("cut-head", Ending::Cut)]
    {
        for stream in [false, true] {
            let mut client = Client::connect(simulator.addr()).await;
            let body = chat(&format!("sim/play?fault={fault}"), stream);
            let answer = client.post(CHAT, &key.text, &[], &body).await;
            assert_eq!((answer.status, answer.ending), (0, ending), "{fault} {stream}");
            let part = String::from_utf8_lossy(&client.buffer);
            if fault == "cut-head" {
                assert!(part.starts_with("HTTP/1.1 200 OK\r\ndate: ") && !part.contains("\r\n\r\n"), "{part}");
            } else {
                assert_eq!(part, "", "{fault}");
            }
        }
    }
    let bill = simulator.bill();
    assert_eq!((bill.total, bill.generations.len(), bill.running), (Pico::ZERO, 0, 0));
    assert!(simulator.log().iter().all(|entry| entry.status.is_none()));
    assert_eq!(simulator.log().len(), 6);
}

#[tokio::test]
async fn a_stall_before_the_head_runs_the_call_when_it_is_released() {
    let (simulator, key) = simulator().await;
    let body = chat("sim/play?fault=stall-before-head", true);
    let mut patient = Client::connect(simulator.addr()).await;
    patient.send_post(CHAT, &key.text, &[], &body).await;
    stalls_after(&mut patient, 0).await;
    assert!(simulator.bill().generations.is_empty(), "nothing runs yet");
    simulator.release();
    let answer = patient.answer().await;
    assert_eq!((answer.status, answer.ending), (200, Ending::Whole));
    assert_eq!(simulator.bill().generations.len(), 1);

    let mut hasty = Client::connect(simulator.addr()).await;
    hasty.send_post(CHAT, &key.text, &[], &body).await;
    stalls_after(&mut hasty, 0).await;
    drop(hasty);
    assert_eq!(ask(&simulator, &key, "sim/echo").await.0, 200);
    simulator.release();
    assert_eq!(ask(&simulator, &key, "sim/echo").await.0, 200);
    assert_eq!(simulator.bill().generations.len(), 3, "who hung up pays nothing");
}

#[tokio::test]
async fn reads_of_the_account_stall_and_break_as_well() {
    let (simulator, key) = simulator().await;
    let ordered = |fault: &str, path| {
        let play = Play { fault: Some(fault.parse().expect("a fault")), ..Play::default() };
        simulator.script(Script::next(play).on_path(path));
    };
    let bearer = format!("Bearer {}", key.text);
    for path in ["/api/v1/key", "/api/v1/credits"] {
        ordered("stall-before-head", path);
        let mut client = Client::connect(simulator.addr()).await;
        client.send("GET", path, &[("authorization", &bearer)], b"").await;
        stalls_after(&mut client, 0).await;
        simulator.release();
        assert!(client.answer().await.json()["data"].is_object(), "{path}");
        ordered("cut@5", path);
        let answer = get(&simulator, path, &key.text).await;
        assert_eq!((answer.status, answer.body().len(), answer.ending), (200, 5, Ending::Cut), "{path}");
        ordered("reset-before-head", path);
        let answer = get(&simulator, path, &key.text).await;
        assert_eq!((answer.status, answer.ending), (0, Ending::Reset), "{path}");
    }
}

#[tokio::test]
async fn what_breaks_at_a_byte_breaks_there_and_is_billed_like_a_call_hung_up_on() {
    let (simulator, key) = simulator().await;
    for (fault, ending) in [("cut", Ending::Cut), ("reset", Ending::Reset)] {
        for (at, stream, stops) in [
            (0, true, true),
            (1, true, true),
            (950, true, true),
            (950, true, false),
            (0, false, true),
            (100, false, true),
            (100, false, false),
        ] {
            let before = simulator.bill().total;
            let body = chat(&format!("sim/play?output_tokens=40&fault={fault}%40{at}&stops_on_cancel={stops}"), stream);
            let answer = post(&simulator, CHAT, &key.text, &body).await;
            let what = format!("{fault} at {at}, stream: {stream}, stops: {stops}");
            assert_eq!((answer.status, answer.body().len(), answer.ending), (200, at, ending), "{what}");
            let call = last_call(&simulator).await;
            let sent = answer.body().windows(2).filter(|pair| pair == b"\n\n").count() as u64;
            let made = if stream && stops { sent } else { 40 };
            assert_eq!(call.output_tokens, made, "{what}");
            assert_eq!(call.status, if stream { Status::Cancelled } else { Status::Complete }, "{what}");
            assert_eq!(simulator.bill().total - before, price(&body, made), "{what}");
        }
    }
}

#[tokio::test]
async fn what_breaks_beyond_the_last_byte_leaves_out_the_end_of_the_stream() {
    let (simulator, key) = simulator().await;
    for (fault, ending) in [("cut%4099999", Ending::Cut), ("reset%4099999", Ending::Reset)] {
        let body = chat(&format!("sim/play?output_tokens=3&fault={fault}"), true);
        let answer = post(&simulator, CHAT, &key.text, &body).await;
        assert_eq!(answer.ending, ending);
        assert!(answer.text().ends_with("data: [DONE]\n\n"));
        let call = last_call(&simulator).await;
        assert_eq!((call.status, call.cost), (Status::Complete, price(&body, 3)));
    }
}

#[tokio::test]
async fn a_stall_goes_on_when_it_is_released() {
    let (simulator, key) = simulator().await;
    for (at, stream) in [(950, true), (0, true), (0, false), (100, false)] {
        let body = chat(&format!("sim/play?output_tokens=40&framing=length&fault=stall%40{at}"), stream);
        let mut client = Client::connect(simulator.addr()).await;
        client.send_post(CHAT, &key.text, &[], &body).await;
        let (_, headers) = client.head().await.expect("a head");
        let length = headers.iter().find(|(name, _)| name == "content-length").map(|(_, length)| length.parse());
        let length: usize = length.expect("a length").expect("a number");
        stalls_after(&mut client, at).await;
        assert_eq!(simulator.bill().running, usize::from(stream), "a JSON answer is billed before its first byte");
        simulator.release();
        while client.buffer.len() < length {
            assert!(client.fill().await, "stream: {stream}, at {at}");
        }
        let call = last_call(&simulator).await;
        assert_eq!((call.status, call.cost), (Status::Complete, price(&body, 40)));
    }
    // Beyond the last byte it is the end of the stream that does not come.
    let mut client = Client::connect(simulator.addr()).await;
    client.send_post(CHAT, &key.text, &[], &chat("sim/play?fault=stall%4099999", true)).await;
    client.head().await.expect("a head");
    while !client.buffer.ends_with(b"data: [DONE]\n\n\r\n") {
        assert!(client.fill().await);
    }
    let sent = client.buffer.len();
    stalls_after(&mut client, sent).await;
    simulator.release();
    client.last_chunk().await;
}

#[tokio::test]
async fn hanging_up_before_the_first_byte_stops_streams_only() {
    let (simulator, key) = simulator().await;
    for (options, stream, reads, made) in [
        ("delay_head_ms=60000", true, "", 0),
        ("delay_head_ms=60000&stops_on_cancel=false", true, "", 40),
        ("delay_head_ms=60000", false, "", 40),
        // A JSON answer that has begun to flow is one all the same.
        ("padding=3&hold_usage=true", false, "\n         \n", 40),
        ("padding=3&hold_usage=true&stops_on_cancel=true", false, "\n         \n", 40),
    ] {
        let body = chat(&format!("sim/play?output_tokens=40&{options}"), stream);
        let before = simulator.bill().total;
        let calls = simulator.bill().generations.len();
        let mut client = Client::connect(simulator.addr()).await;
        client.send_post(CHAT, &key.text, &[], &body).await;
        if !reads.is_empty() {
            assert_eq!(client.head().await.expect("a head").0, 200);
            while memchr::memmem::find(&client.buffer, reads.as_bytes()).is_none() {
                assert!(client.fill().await);
            }
        }
        while simulator.bill().generations.len() == calls {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(client);
        let call = last_call(&simulator).await;
        assert_eq!((call.status, call.output_tokens), (Status::Cancelled, made), "{options} {stream}");
        assert_eq!(simulator.bill().total - before, price(&body, made), "{options} {stream}");
    }
}

#[tokio::test]
async fn slow_is_slow_and_whole() {
    let (simulator, key) = simulator().await;
    for stream in [false, true] {
        let began = Tick::now();
        let body = chat("sim/play?output_tokens=3&fault=slow%40100/2", stream);
        let answer = post(&simulator, CHAT, &key.text, &body).await;
        let parts = answer.body().len() as u64 / 100;
        assert!(began.elapsed() >= Duration::from_millis(2 * parts) && parts > 4, "{parts} in {:?}", began.elapsed());
        assert_eq!(answer.ending, Ending::Whole);
        let last = if stream { answer.events().pop().expect("an event") } else { answer.json() };
        assert_eq!(last["usage"]["cost"], price(&body, 3).to_json());
    }
    let began = Tick::now();
    let answer = post(&simulator, CHAT, &key.text, &chat("sim/play?output_tokens=3&gap_ms=3", true)).await;
    assert_eq!(answer.chunks.len(), 6);
    assert!(began.elapsed() >= Duration::from_millis(18), "a gap before each event");
}

#[tokio::test]
async fn refusals_break_as_well_and_cost_nothing() {
    let (simulator, key) = simulator().await;
    for (fault, status, length, ending) in [
        ("cut%4010", 402, 10, Ending::Cut),
        ("reset%400", 402, 0, Ending::Reset),
        ("reset-after-head", 402, 0, Ending::Reset),
        ("cut-head", 0, 0, Ending::Cut),
    ] {
        let body = chat(&format!("sim/play?error=402-credits&fault={fault}"), false);
        let answer = post(&simulator, CHAT, &key.text, &body).await;
        assert_eq!((answer.status, answer.body().len(), answer.ending), (status, length, ending), "{fault}");
    }
    assert!(simulator.bill().generations.is_empty());
}

#[tokio::test]
async fn a_connection_ends_after_the_answer_as_ordered() {
    let (simulator, key) = simulator().await;
    let sibling = simulator.make_key(key.account, KeySettings::default());
    for (then, announced, stays, ending) in [
        ("close", None, false, Ending::Cut),
        ("announce-close", Some("close"), false, Ending::Cut),
        ("close-on-next", None, true, Ending::Cut),
        ("reset-on-next", None, true, Ending::Reset),
    ] {
        let mut client = Client::connect(simulator.addr()).await;
        let answer = client.post(CHAT, &key.text, &[], &chat(&format!("sim/play?then={then}"), true)).await;
        assert_eq!((answer.status, answer.ending, answer.header("connection")), (200, Ending::Whole, announced));
        if stays {
            stalls_after(&mut client, 0).await;
        }
        let next = client.post(CHAT, &sibling.text, &[], &chat("sim/echo", false)).await;
        assert_eq!((next.status, next.ending), (0, ending), "{then}");
    }
    assert_eq!(simulator.bill().keys[sibling.index].generations, 0, "what came too late was not run");
    assert_eq!(simulator.received(), 4);
}

#[tokio::test]
async fn an_answer_may_come_before_the_body_was_read() {
    let (simulator, key) = simulator().await;
    let head = |options: &str| {
        format!(
            "POST {CHAT} HTTP/1.1\r\nhost: sim\r\nauthorization: Bearer {}\r\ncontent-length: 10\r\n{options}\r\n",
            key.text
        )
    };
    for (options, status) in
        [("x-sim-early: true\r\n", 413), ("x-sim-early: true\r\nx-sim-error: 403-key-total\r\n", 403)]
    {
        let mut client = Client::connect(simulator.addr()).await;
        client.stream.write_all(head(options).as_bytes()).await.expect("written");
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")));
        assert!(!client.fill().await, "it ends there");
    }
    let mut client = Client::connect(simulator.addr()).await;
    let options = "x-sim-early: true\r\nx-sim-early-keeps: true\r\n";
    client.stream.write_all(head(options).as_bytes()).await.expect("written");
    assert_eq!(client.answer().await.status, 413);
    client.stream.write_all(b"0123456789").await.expect("written");
    let next = client.post(CHAT, &key.text, &[("x-sim-informational", "103")], &chat("sim/echo", false)).await;
    assert_eq!((next.status, next.header("x-sim-interim")), (103, Some("1")));
    assert_eq!(client.answer().await.status, 200, "the final answer follows");
}
