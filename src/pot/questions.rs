//! The three free questions, asked and understood.

use std::fmt;

use crate::clock::Timestamp;
use crate::money::{GenerationId, Usd};
use crate::origin::{AskError, Origin};
use crate::secret::Credential;
use crate::upstream::account::{GenerationAnswer, KeyAnswer, read_credits, read_generation, read_key};

/// Why an answer says nothing, for the log.
#[derive(Debug)]
pub(crate) enum Silence {
    /// There was none.
    Error(AskError),
    /// There was one with this status, and nothing in it that is a statement.
    Status(u16),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Status(status) => write!(f, "the upstream answered {status} without a statement"),
        }
    }
}

/// `GET /key`: what is known about the key, or that the upstream does not know it.
pub(crate) async fn ask_key(origin: &Origin, key: &Credential, now: Timestamp) -> Result<KeyAnswer, Silence> {
    let asked = origin.ask(&origin.target("/api/v1/key"), Some(key)).await.map_err(Silence::Error)?;
    match read_key(asked.status, &asked.body, now) {
        KeyAnswer::Silent => Err(Silence::Status(asked.status)),
        answer => Ok(answer),
    }
}

/// `GET /credits`: what the key's account has left.
pub(crate) async fn ask_credits(origin: &Origin, key: &Credential) -> Result<Usd, Silence> {
    let asked = origin.ask(&origin.target("/api/v1/credits"), Some(key)).await.map_err(Silence::Error)?;
    read_credits(asked.status, &asked.body).ok_or(Silence::Status(asked.status))
}

/// `GET /generation`: what a past generation cost, asked with the key that made it.
pub(crate) async fn ask_generation(
    origin: &Origin,
    key: &Credential,
    id: &GenerationId,
) -> Result<GenerationAnswer, Silence> {
    let target = format!("/api/v1/generation?id={}", id.as_str());
    let asked = origin.ask(&origin.target(&target), Some(key)).await.map_err(Silence::Error)?;
    match read_generation(asked.status, &asked.body, id) {
        GenerationAnswer::Silent => Err(Silence::Status(asked.status)),
        answer => Ok(answer),
    }
}
