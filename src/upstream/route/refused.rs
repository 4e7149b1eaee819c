//! The calls that are not let through, and why.

/// Why a call is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteRefusal {
    /// Not a path that is known here.
    NotFound,
    /// A path of OpenRouter's that reaches into a donor's account.
    Blocked(Blocked),
    /// The path is known, the method is not one of these.
    Method {
        /// The value of the `Allow` header.
        allow: &'static str,
    },
    /// This query parameter is missing, doubled or malformed.
    Query(&'static str),
    /// Batches: their cost is known hours later and only for a whole batch, so it could not be booked to who caused it.
    Batches,
}

/// What a blocked family of calls would reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blocked {
    /// Creates, lists, changes or deletes keys, or exchanges a code for one.
    Keys,
    /// Stored prompts and answers.
    StoredContent,
    /// The donor's presets, which also look like inference.
    Presets,
    /// The donor's file store and sandboxes.
    Files,
    /// The list of models after the donor's privacy settings.
    AccountModels,
    /// Management of the donor's account: members, workspaces, guardrails, activity, billing.
    Management,
    /// Data reads that count against the donor's daily allowance.
    DataApi,
}

impl Blocked {
    /// Every family, for tests and documentation.
    pub const ALL: [Self; 7] = [
        Self::Keys,
        Self::StoredContent,
        Self::Presets,
        Self::Files,
        Self::AccountModels,
        Self::Management,
        Self::DataApi,
    ];

    /// A sentence for the client.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Keys => "this call manages API keys, and the pool's keys belong to their donors",
            Self::StoredContent => "this call reads prompts and answers stored in a donor's account",
            Self::Presets => "presets belong to a donor's account: send the whole request to /chat/completions instead",
            Self::Files => "files and containers belong to a donor's account: send content inside the request instead",
            Self::AccountModels => "this list shows a donor's privacy settings: use GET /models instead",
            Self::Management => "this call manages a donor's account",
            Self::DataApi => "this call uses up a donor's daily allowance of data requests",
        }
    }
}

/// The family of blocked calls that a path (without its prefix) belongs to.
pub(super) fn family_of(path: &str) -> Option<Blocked> {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    Some(match (first, rest) {
        ("generation", "feedback") => Blocked::Management,
        ("generation", _) => Blocked::StoredContent,
        ("models", "user") => Blocked::AccountModels,
        ("keys" | "auth", _) => Blocked::Keys,
        ("presets", _) => Blocked::Presets,
        ("files" | "containers", _) => Blocked::Files,
        ("benchmarks" | "classifications" | "datasets", _) => Blocked::DataApi,
        (
            "activity" | "analytics" | "byok" | "credits" | "guardrails" | "key" | "observability" | "organization"
            | "scim" | "workspaces",
            _,
        ) => Blocked::Management,
        _ => return None,
    })
}
