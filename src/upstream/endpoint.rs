//! The billable endpoints and the dialect each one speaks.

/// A billable endpoint of OpenRouter that clients may use (`openrouter-api.md` 1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// `POST /chat/completions`
    ChatCompletions,
    /// `POST /completions`
    Completions,
    /// `POST /responses`
    Responses,
    /// `POST /messages`
    Messages,
    /// `POST /embeddings`
    Embeddings,
    /// `POST /rerank`
    Rerank,
    /// `POST /images`
    Images,
    /// `POST /audio/transcriptions`
    Transcriptions,
    /// `POST /audio/speech`: raw audio, cost only through `/generation`
    Speech,
    /// `POST /videos`: an asynchronous job
    Videos,
    /// `POST /api/alpha/decisions`, outside `/api/v1`
    Decisions,
    /// `POST /systemone`
    SystemOne,
    /// `POST /cursor/chat/completions`
    CursorChat,
}

/// The shape a client expects errors in, and where usage stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI chat and everything that follows it.
    Chat,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Messages,
}

impl Endpoint {
    /// Every endpoint, for tables, metrics and tests.
    pub const ALL: [Self; 13] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Responses,
        Self::Messages,
        Self::Embeddings,
        Self::Rerank,
        Self::Images,
        Self::Transcriptions,
        Self::Speech,
        Self::Videos,
        Self::Decisions,
        Self::SystemOne,
        Self::CursorChat,
    ];

    /// The stable name used in the ledger, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Images => "images",
            Self::Transcriptions => "transcriptions",
            Self::Speech => "speech",
            Self::Videos => "videos",
            Self::Decisions => "decisions",
            Self::SystemOne => "systemone",
            Self::CursorChat => "cursor_chat",
        }
    }

    /// The endpoint of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.name() == name)
    }

    /// The dialect the endpoint speaks.
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::Responses => Dialect::Responses,
            Self::Messages => Dialect::Messages,
            _ => Dialect::Chat,
        }
    }
}
