//! Which calls are let through, and where they go (`openrouter-api.md` 1.1 to 1.4).
//!
//! An exact allow-list: what is not on it is refused before anything is sent. The upstream target is one of the constants
//! below, or built from checked pieces (a model's author and slug, a job's id, allow-listed query values); the client's
//! own spelling of a path never travels on. A pooled key is a door into a donor's account, so each family of calls that
//! would use that door is refused with the reason.

mod job;
mod path;
mod public;
mod refused;
#[cfg(test)]
mod tests;

pub use job::{JobId, JobPart};
pub use public::{PublicList, PublicTarget};
pub use refused::{Blocked, RouteRefusal};

use http::Method;

use crate::money::GenerationId;

use super::{Dialect, Endpoint};

/// What is done with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A billable call, made with a pooled key.
    Inference {
        /// Which one.
        endpoint: Endpoint,
        /// The constant path (and query) at the upstream.
        target: &'static str,
    },
    /// A question about a video job, asked with the key that started it.
    Poll {
        /// The job.
        job: JobId,
        /// Its description or its result.
        part: JobPart,
    },
    /// A public list, fetched without any key and cached. `GET` and `HEAD` alike.
    PublicRead {
        /// Path and query at the upstream.
        target: PublicTarget,
    },
    /// Answered by potluck itself.
    Own(OwnAnswer),
    /// `POST /auth/token`: potluck issues a token for a client's user.
    Token,
    /// A call of potluck's own API, `/api/ai/…`.
    Ai(AiCall),
    /// A browser asks whether it may call (`OPTIONS`): 204 with the CORS headers.
    Preflight,
    /// Not let through.
    Refused {
        /// Why.
        why: RouteRefusal,
        /// The shape of errors the client most likely expects.
        dialect: Dialect,
    },
}

/// The calls that potluck answers itself, because their true answer is about a donor's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnAnswer {
    /// `GET /key`, `GET /auth/key`: the pool's figures in the shape of a key's.
    Key,
    /// `GET /credits`: the pool's figures in the shape of an account's.
    Credits,
    /// `GET /generation?id=`: for generations that went through this pool.
    Generation(GenerationId),
    /// `POST /messages/count_tokens`: 404, as OpenRouter answers.
    CountTokens,
}

impl OwnAnswer {
    /// The shape of errors that whoever asks expects.
    pub(crate) const fn dialect(&self) -> Dialect {
        match self {
            Self::CountTokens => Dialect::Messages,
            Self::Key | Self::Credits | Self::Generation(_) => Dialect::Chat,
        }
    }
}

/// The calls below `/api/ai/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AiCall {
    /// `POST completion`: a chat completion, by a model that the router chooses where none is named.
    Complete,
    /// `POST route`: what the router would decide. Nothing goes upstream.
    Decide,
    /// `GET categories`: what it decides between. Nothing goes upstream.
    Categories,
}

impl AiCall {
    /// The constant path at the upstream of a completion.
    pub const COMPLETION_TARGET: &'static str = "/api/v1/chat/completions";
}

/// Every target that a billable call can have at the upstream.
pub const TARGETS: [&str; 14] = [
    "/api/v1/chat/completions",
    "/api/v1/completions",
    "/api/v1/responses",
    "/api/v1/messages",
    "/api/v1/messages?beta=true",
    "/api/v1/embeddings",
    "/api/v1/rerank",
    "/api/v1/images",
    "/api/v1/audio/transcriptions",
    "/api/v1/audio/speech",
    "/api/v1/videos",
    "/api/alpha/decisions",
    "/api/v1/systemone",
    "/api/v1/cursor/chat/completions",
];

/// Decide about a call. `path` is the request target up to the first `?`, `query` what follows it, both as received.
///
/// Accepted in front of each path: `/api/v1` (OpenRouter's own base URL), and `/v1` (for clients that are given the bare
/// host, or `/api` as Anthropic's are). `/responses` is accepted bare as well. Paths are compared byte by byte: no
/// escapes, no empty or dot segments, no trailing slash, no other case.
pub fn route(method: &Method, path: &[u8], query: Option<&[u8]>) -> Route {
    let Some(path) = path::clean(path) else { return refused(RouteRefusal::NotFound, Dialect::Chat) };
    let Some(place) = place(path) else { return refused(RouteRefusal::NotFound, Dialect::Chat) };
    if method == Method::OPTIONS {
        return Route::Preflight;
    }
    decide(method, place, query.unwrap_or_default()).unwrap_or_else(|why| refused(why, dialect(place)))
}

fn refused(why: RouteRefusal, dialect: Dialect) -> Route {
    Route::Refused { why, dialect }
}

/// A path with its prefix taken off.
#[derive(Clone, Copy)]
enum Place<'a> {
    V1(&'a str),
    Alpha(&'a str),
    Ai(&'a str),
    Batches,
    Token,
}

fn place(path: &str) -> Option<Place<'_>> {
    let v1 = path.strip_prefix("/api/v1/").or_else(|| path.strip_prefix("/v1/"));
    if let Some(rest) = v1 {
        return Some(if family(rest) == "batches" { Place::Batches } else { Place::V1(rest) });
    }
    if let Some(rest) = path.strip_prefix("/api/alpha/") {
        return Some(Place::Alpha(rest));
    }
    if let Some(rest) = path.strip_prefix("/api/ai/") {
        return Some(Place::Ai(rest));
    }
    if path.strip_prefix("/api/beta/").is_some_and(|rest| family(rest) == "batches") {
        return Some(Place::Batches);
    }
    if path == "/auth/token" {
        return Some(Place::Token);
    }
    // Codex with the bare host as its base URL.
    (path == "/responses").then_some(Place::V1("responses"))
}

fn family(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

fn dialect(place: Place<'_>) -> Dialect {
    match place {
        Place::V1(path) => match family(path) {
            "messages" => Dialect::Messages,
            "responses" => Dialect::Responses,
            _ => Dialect::Chat,
        },
        Place::Alpha(_) | Place::Ai(_) | Place::Batches | Place::Token => Dialect::Chat,
    }
}

fn decide(method: &Method, place: Place<'_>, query: &[u8]) -> Result<Route, RouteRefusal> {
    let path = match place {
        Place::Batches => return Err(RouteRefusal::Batches),
        Place::Alpha("decisions") => return inference(method, Endpoint::Decisions, query),
        Place::Alpha(_) => return Err(RouteRefusal::NotFound),
        Place::Token => return only(method, &[Method::POST], "POST, OPTIONS").map(|()| Route::Token),
        Place::Ai(path) => return ai(method, path).map(Route::Ai),
        Place::V1(path) => path,
    };
    if let Some(endpoint) = billable(path) {
        return inference(method, endpoint, query);
    }
    if let Some(own) = own(method, path, query) {
        return own.map(Route::Own);
    }
    if let Some(target) = public::target(path, query) {
        only(method, &[Method::GET, Method::HEAD], "GET, HEAD, OPTIONS")?;
        return target.map(|target| Route::PublicRead { target });
    }
    if let Some(poll) = path.strip_prefix("videos/").and_then(|rest| job::poll(rest, query)) {
        only(method, &[Method::GET], "GET, OPTIONS")?;
        return poll.map(|(job, part)| Route::Poll { job, part });
    }
    Err(refused::family_of(path).map_or(RouteRefusal::NotFound, RouteRefusal::Blocked))
}

fn ai(method: &Method, path: &str) -> Result<AiCall, RouteRefusal> {
    let (call, allowed, allow) = match path {
        "completion" => (AiCall::Complete, [Method::POST, Method::POST], "POST, OPTIONS"),
        "route" => (AiCall::Decide, [Method::POST, Method::POST], "POST, OPTIONS"),
        "categories" => (AiCall::Categories, [Method::GET, Method::HEAD], "GET, HEAD, OPTIONS"),
        _ => return Err(RouteRefusal::NotFound),
    };
    only(method, &allowed, allow).map(|()| call)
}

fn billable(path: &str) -> Option<Endpoint> {
    Some(match path {
        "chat/completions" => Endpoint::ChatCompletions,
        "completions" => Endpoint::Completions,
        "responses" => Endpoint::Responses,
        "messages" => Endpoint::Messages,
        "embeddings" => Endpoint::Embeddings,
        "rerank" => Endpoint::Rerank,
        "images" => Endpoint::Images,
        "audio/transcriptions" => Endpoint::Transcriptions,
        "audio/speech" => Endpoint::Speech,
        "videos" => Endpoint::Videos,
        "systemone" => Endpoint::SystemOne,
        "cursor/chat/completions" => Endpoint::CursorChat,
        _ => return None,
    })
}

fn inference(method: &Method, endpoint: Endpoint, query: &[u8]) -> Result<Route, RouteRefusal> {
    only(method, &[Method::POST], "POST, OPTIONS")?;
    Ok(Route::Inference { endpoint, target: target(endpoint, query) })
}

/// Of a billable call's query one thing goes up, as a constant: Claude Code's `beta=true`.
fn target(endpoint: Endpoint, query: &[u8]) -> &'static str {
    match endpoint {
        Endpoint::ChatCompletions => "/api/v1/chat/completions",
        Endpoint::Completions => "/api/v1/completions",
        Endpoint::Responses => "/api/v1/responses",
        Endpoint::Messages if query.split(|b| *b == b'&').any(|pair| pair == b"beta=true") => {
            "/api/v1/messages?beta=true"
        }
        Endpoint::Messages => "/api/v1/messages",
        Endpoint::Embeddings => "/api/v1/embeddings",
        Endpoint::Rerank => "/api/v1/rerank",
        Endpoint::Images => "/api/v1/images",
        Endpoint::Transcriptions => "/api/v1/audio/transcriptions",
        Endpoint::Speech => "/api/v1/audio/speech",
        Endpoint::Videos => "/api/v1/videos",
        Endpoint::Decisions => "/api/alpha/decisions",
        Endpoint::SystemOne => "/api/v1/systemone",
        Endpoint::CursorChat => "/api/v1/cursor/chat/completions",
    }
}

fn own(method: &Method, path: &str, query: &[u8]) -> Option<Result<OwnAnswer, RouteRefusal>> {
    let (answer, allowed, allow) = match path {
        "key" | "auth/key" => (Ok(OwnAnswer::Key), [Method::GET, Method::HEAD], "GET, HEAD, OPTIONS"),
        "credits" => (Ok(OwnAnswer::Credits), [Method::GET, Method::HEAD], "GET, HEAD, OPTIONS"),
        "generation" => (generation(query), [Method::GET, Method::GET], "GET, OPTIONS"),
        "messages/count_tokens" => (Ok(OwnAnswer::CountTokens), [Method::POST, Method::POST], "POST, OPTIONS"),
        _ => return None,
    };
    Some(only(method, &allowed, allow).and(answer))
}

fn generation(query: &[u8]) -> Result<OwnAnswer, RouteRefusal> {
    let mut ids = query.split(|b| *b == b'&').filter_map(|pair| pair.strip_prefix(b"id="));
    let id = ids.next().and_then(GenerationId::parse).filter(|_| ids.next().is_none());
    id.map(OwnAnswer::Generation).ok_or(RouteRefusal::Query("id"))
}

fn only(method: &Method, allowed: &[Method], allow: &'static str) -> Result<(), RouteRefusal> {
    if allowed.contains(method) { Ok(()) } else { Err(RouteRefusal::Method { allow }) }
}
