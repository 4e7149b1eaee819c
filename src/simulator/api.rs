//! The paths that cost money.

use super::errors::Envelope;

/// An inference endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// `/chat/completions`
    Chat,
    /// `/cursor/chat/completions`
    Cursor,
    /// `/completions`
    Completions,
    /// `/responses`
    Responses,
    /// `/messages`
    Messages,
    /// `/embeddings`
    Embeddings,
    /// `/rerank`
    Rerank,
    /// `/images`
    Images,
    /// `/audio/transcriptions`
    Transcriptions,
    /// `/audio/speech`
    Speech,
    /// `/videos`
    Videos,
    /// `/api/alpha/decisions`
    Decisions,
    /// `/systemone`
    SystemOne,
}

const PATHS: [(&str, Api); 13] = [
    ("/api/v1/chat/completions", Api::Chat),
    ("/api/v1/cursor/chat/completions", Api::Cursor),
    ("/api/v1/completions", Api::Completions),
    ("/api/v1/responses", Api::Responses),
    ("/api/v1/messages", Api::Messages),
    ("/api/v1/embeddings", Api::Embeddings),
    ("/api/v1/rerank", Api::Rerank),
    ("/api/v1/images", Api::Images),
    ("/api/v1/audio/transcriptions", Api::Transcriptions),
    ("/api/v1/audio/speech", Api::Speech),
    ("/api/v1/videos", Api::Videos),
    ("/api/alpha/decisions", Api::Decisions),
    ("/api/v1/systemone", Api::SystemOne),
];

impl Api {
    /// The endpoint at that path.
    pub fn at(path: &str) -> Option<Self> {
        PATHS.iter().find(|(known, _)| *known == path).map(|(_, api)| *api)
    }

    /// How it wraps errors.
    pub const fn envelope(self) -> Envelope {
        match self {
            Self::Responses => Envelope::Responses,
            Self::Messages => Envelope::Messages,
            _ => Envelope::Chat,
        }
    }

    /// `api_type` of `/generation`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Chat | Self::Cursor => "chat",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Images => "image",
            Self::Transcriptions => "stt",
            Self::Speech => "tts",
            Self::Videos => "video",
            Self::Decisions | Self::SystemOne => "decisions",
        }
    }

    /// What its generation ids begin with.
    pub const fn id_prefix(self) -> &'static str {
        match self {
            Self::Speech => "gen-tts",
            Self::Transcriptions => "gen-stt",
            Self::Videos => "gen-vid",
            _ => "gen",
        }
    }

    /// Whether it writes text token by token and takes a limit on it.
    pub const fn writes(self) -> bool {
        matches!(self, Self::Chat | Self::Cursor | Self::Completions | Self::Responses | Self::Messages)
    }
}
