//! Why a request's body is not forwarded.

/// A body that must not go upstream, or cannot mean anything there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct BadRequest {
    /// Where: a field's path, or `body`. At most [`FIELD_MAX_BYTES`]; may hold the client's own text.
    pub field: Box<str>,
    /// What is wrong with it.
    pub what: BodyFault,
}

/// How much of a client's own field name is repeated to it, in bytes.
pub const FIELD_MAX_BYTES: usize = 64;

/// What is wrong with a request's body; its `Display` is a sentence for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// Not JSON.
    #[error("not valid JSON (line {line}, column {column})")]
    NotJson {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault, from 1; 0 at a line's beginning.
        column: usize,
    },
    /// JSON, but not an object.
    #[error("must be a JSON object")]
    NotAnObject,
    /// The same top-level field twice: readers differ in which one counts.
    #[error("given more than once")]
    Twice,
    /// Longer than any real value.
    #[error("too long")]
    TooLong,
    /// Something else than it must be.
    #[error("must be {0}")]
    Expected(&'static str),
    /// Not given, nor is what may stand in its place.
    #[error("missing: give {0}")]
    Missing(&'static str),
    /// Given beside another field that says the same.
    #[error("given beside {0}: give one of the two")]
    Beside(&'static str),
    /// A category that there is not.
    #[error("no such category: GET /api/ai/categories lists them")]
    NoCategory,
    /// `store`: answers would be kept in a donor's account.
    #[error("must be false or absent: answers cannot be stored in a donor's account")]
    Stored,
    /// `previous_response_id`: stored answers belong to a donor's account.
    #[error("not available here: send the whole conversation instead")]
    PreviousResponse,
    /// `background`: the answer, and its cost, would come later and elsewhere.
    #[error("must be false or absent: answers are only given while you wait")]
    Background,
    /// A preset: it belongs to a donor's account.
    #[error("presets belong to a donor's account and are not available here")]
    Preset,
    /// `callback_url`: the upstream would call somebody in a donor's name.
    #[error("not available here: poll the job instead")]
    Callback,
    /// A reference to a stored file: the store is a donor's.
    #[error("stored files belong to a donor's account: send the file's content instead")]
    FileReference,
    /// A container: its files are a donor's.
    #[error("containers belong to a donor's account and are not available here")]
    Container,
    /// A tool that works on a donor's files, containers or stores.
    #[error("this tool works inside a donor's account and is not available here")]
    Tool,
}

impl BadRequest {
    pub(crate) fn new(field: &str, what: BodyFault) -> Self {
        let end = field.floor_char_boundary(FIELD_MAX_BYTES);
        Self { field: field.get(..end).unwrap_or_default().into(), what }
    }

    pub(super) fn body(what: BodyFault) -> Self {
        Self::new("body", what)
    }
}
