//! What the router looks at of a request.

/// How much of a text's beginning, and of its end, is looked at.
pub const TEXT_MAX_BYTES: usize = 8 * 1024;

/// Bytes of a token, roughly; only used to tell long from short.
const BYTES_PER_TOKEN: u64 = 4;

/// The features of a request that signals are read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The last message of the user, its middle left out where it is long.
    pub text: String,
    /// The system message, likewise.
    pub system: String,
    /// Bytes of the texts of all messages together.
    pub bytes: u64,
    /// An earlier message holds a code fence.
    pub earlier_code: bool,
    /// Pictures in all messages.
    pub images: u32,
    /// Names of the tools on offer.
    pub tools: Vec<String>,
    /// One certain tool must be called.
    pub forced_tool: bool,
    /// The answer must be JSON.
    pub structured: bool,
}

impl Features {
    /// The features of one message without anything around it.
    pub fn of_text(text: &str) -> Self {
        Self { text: ends(text), bytes: text.len() as u64, ..Self::default() }
    }

    /// Tokens of all messages, roughly.
    pub const fn tokens(&self) -> u64 {
        self.bytes / BYTES_PER_TOKEN
    }
}

/// The beginning and the end of a text: what is asked stands in front of what is pasted, or behind it.
pub fn ends(text: &str) -> String {
    if text.len() <= 2 * TEXT_MAX_BYTES {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(TEXT_MAX_BYTES);
    let tail = text.ceil_char_boundary(text.len() - TEXT_MAX_BYTES);
    format!("{}\n{}", text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default())
}
