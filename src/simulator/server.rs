//! The port: connections, requests, and which answer each one gets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::api::Api;
use super::errors;
use super::faults::Fault;
use super::inference::{self, refused};
use super::journal::{Entry, UNLISTED};
use super::play::{self, Play};
use super::reply::{Next, Reply};
use super::script::{self, Occasion};
use super::seed::sha256_hex;
use super::shared::{Port, Shared};
use super::wire::{Gone, Head, Wire};
use super::{account_reads, control, donor_paths, fast, public_reads, videos};

/// Accept connections until `stop`; closes and opens the port as it is told.
pub async fn run(shared: Arc<Shared>, listener: TcpListener, address: SocketAddr, mut stop: watch::Receiver<bool>) {
    let mut port = shared.port.subscribe();
    let mut connections = JoinSet::new();
    let numbers = AtomicU64::new(0);
    let mut listener = Some(listener);
    loop {
        let wanted = *port.borrow_and_update();
        if wanted != Port::Open {
            listener = None;
        } else if listener.is_none() {
            // Someone else may have taken the port meanwhile; then it stays closed until told again.
            listener = TcpListener::bind(address).await.ok();
        }
        if wanted == Port::ClosedAndDropped {
            connections.abort_all();
        }
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = accept => if let Ok((stream, _)) = accepted {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                connections.spawn(connection(Arc::clone(&shared), stream, number));
            },
            changed = port.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, number: u64) {
    let mut wire = Wire::new(stream);
    let mut next = Next::Keep;
    while wire.readable().await.is_ok() {
        if let Next::EndBeforeAnother { reset } = next {
            if reset {
                wire.reset();
            }
            return;
        }
        let Ok(head) = wire.head().await else { return };
        match request(&shared, &mut wire, &head, number).await {
            Ok(Next::Close) | Err(Gone) => return,
            Ok(other) => next = other,
        }
    }
}

async fn request(shared: &Arc<Shared>, wire: &mut Wire, head: &Head, connection: u64) -> Result<Next, Gone> {
    if head.path().starts_with("/_sim") {
        let body = wire.body(head).await?;
        return control::serve(shared, head, &body).send(shared, wire, UNLISTED).await;
    }
    let api = Api::at(head.path()).filter(|_| head.method == "POST");
    if api.is_some() && (shared.fast || head.header("x-sim-fast").is_some()) {
        let body = wire.body(head).await?;
        fast::serve(shared, wire, head.credential(), fast::Shape::wanted(head, &body)).await?;
        return Ok(Next::Keep);
    }
    if let Some(play) = early(shared, head) {
        let number = note(shared, head, connection, &[]);
        let keeps = Play::on(play.early_keeps);
        early_reply(shared, head, play).send(shared, wire, number).await?;
        if keeps {
            wire.body(head).await?;
            return Ok(Next::Keep);
        }
        wire.finish().await;
        return Ok(Next::Close);
    }
    let body = wire.body(head).await?;
    // Who sees it in the log may release it at once.
    let released = shared.until_released();
    let number = note(shared, head, connection, &body);
    let Some(api) = api else { return dispatch(shared, head).send(shared, wire, number).await };
    let mut prepared = match inference::prepare(shared, head, api, &body) {
        Ok(prepared) => prepared,
        Err(reply) => return reply.send(shared, wire, number).await,
    };
    drop(body);
    if prepared.play.fault == Some(Fault::StallBeforeHead) {
        wire.wait(released).await?;
        prepared.play.fault = None;
    }
    if let Some(shape) = prepared.play.fast.as_deref().and_then(fast::Shape::parse) {
        fast::serve(shared, wire, head.credential(), shape).await?;
        return Ok(Next::Keep);
    }
    inference::perform(shared, head, prepared).send(shared, wire, number).await
}

fn note(shared: &Shared, head: &Head, connection: u64, body: &[u8]) -> u64 {
    let (at_ms, body_sha256) = (shared.now_ms(), sha256_hex(body));
    let mut world = shared.world();
    let key = world.recognise(head.credential());
    world.journal.add(Entry {
        number: 0,
        connection,
        at_ms,
        method: head.method.clone(),
        target: head.target.clone(),
        headers: head.headers.clone(),
        body_len: body.len() as u64,
        body_sha256,
        key,
        status: None,
    })
}

/// What was ordered to be answered before the body is read: by header, or by a script that names no model.
fn early(shared: &Shared, head: &Head) -> Option<Play> {
    let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let ordered = Play::from_options(play::of_headers(headers)).unwrap_or_default();
    if Play::on(ordered.early) {
        return Some(ordered);
    }
    let mut world = shared.world();
    if !world.scripts.iter().any(|script| Play::on(script.play.early)) {
        return None;
    }
    let key = world.recognise(head.credential());
    let account = key.and_then(|key| world.pair(key)).map(|(key, _)| key.account);
    let occasion = Occasion { key, account, model: None, path: head.path() };
    script::take_early(&mut world.scripts, &occasion, Api::at(head.path()).is_some())
}

fn early_reply(shared: &Shared, head: &Head, play: Play) -> Reply {
    let facts = errors::Facts { now_ms: shared.now_ms(), model: "", provider: "", key_hash: "" };
    let api = Api::at(head.path()).unwrap_or(Api::Chat);
    let refusal = play.error.as_deref().and_then(|name| errors::named(name, &facts));
    let refusal = refusal.or_else(|| errors::named("413-payload", &facts)).unwrap_or_else(errors::not_found);
    refused(&refusal, api, None, &play).header("connection", "close")
}

/// Everything that is not inference.
fn dispatch(shared: &Shared, head: &Head) -> Reply {
    if head.method == "OPTIONS" {
        return preflight();
    }
    let read = (head.method == "GET").then(|| account_reads::read(shared, head).or_else(|| public_reads::read(head)));
    if let Some(reply) = read.flatten() {
        return reply;
    }
    if let Some(rest) = head.path().strip_prefix("/api/v1/videos/").filter(|_| head.method == "GET") {
        return videos::read(shared, head, rest);
    }
    if let Some(reply) = donor_paths::serve(shared, head) {
        return reply;
    }
    let refusal = if head.path().starts_with("/api/v1/") { errors::not_found() } else { errors::page_not_found() };
    refused(&refusal, Api::Chat, None, &Play::default())
}

fn preflight() -> Reply {
    Reply { status: 204, ..Reply::default() }
        .header("access-control-allow-methods", "GET,OPTIONS,PATCH,DELETE,POST,PUT")
        .header(
            "access-control-allow-headers",
            "Authorization,Content-Type,HTTP-Referer,X-Title,X-OpenRouter-Title,X-OpenRouter-Categories,x-api-key,\
             anthropic-version,anthropic-beta,Idempotency-Key,x-session-id",
        )
}
