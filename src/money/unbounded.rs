//! Why nobody can say what a request may cost at most.

use crate::upstream::Endpoint;

/// How much of a client's own word is repeated to it, in bytes.
const WORD_MAX_BYTES: usize = 64;

/// Why a request's cost has no bound; its `Display` is half a sentence for the client, to follow "because".
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unbounded {
    /// No model is named.
    #[error("it names no model, and an account's default may be any")]
    NoModel,
    /// The model's price is not known.
    #[error("no price is known for the model {0}")]
    NoPrice(Box<str>),
    /// What the model's providers charge could not be found out.
    #[error("what the providers of the model {0} charge could not be found out just now")]
    NoProviders(Box<str>),
    /// There is no list of prices yet, or it is too old.
    #[error("no current prices could be had from the upstream")]
    OldPrices,
    /// Neither the request nor the model limits the output.
    #[error("neither the request nor the model {0} limits the answer's tokens: set max_tokens")]
    NoLimit(Box<str>),
    /// The model's answers cost something that is not listed.
    #[error("the model {0} may answer in pictures or sound, whose price is not listed")]
    Output(Box<str>),
    /// What the input costs is not limited by a known context length.
    #[error("it refers to media, and the context length of the model {0} is not known")]
    NoContext(Box<str>),
    /// Media in a request that no context length limits.
    #[error("it holds media whose size in tokens cannot be known")]
    Media,
    /// The model or its provider searches as often as it likes.
    #[error(
        "the model {0} may search the web as often as it likes: use the web plugin with the engine exa or parallel"
    )]
    Search(Box<str>),
    /// A file may be scanned for a fee per page.
    #[error(
        "the model {0} does not read files, and scanning them costs a fee per page: use the file-parser plugin with the \
         engine cloudflare-ai"
    )]
    Files(Box<str>),
    /// A tool that runs at the upstream.
    #[error("the tool {0} runs at the upstream, as often as the model likes")]
    Tool(Box<str>),
    /// A plugin, or a setting of one, whose price is not known.
    #[error("what the plugin {0} costs cannot be known as it is set here")]
    Plugin(Box<str>),
    /// Speed at a higher price.
    #[error("it may be served by a faster tier, whose price for the model {0} is not known")]
    Tier(Box<str>),
    /// A field that costs something that cannot be known, or that cannot be read.
    #[error("what the field {0} makes it cost cannot be known")]
    Field(Box<str>),
    /// A body that cannot be read.
    #[error("its body is compressed or an upload, and cannot be read here")]
    Unreadable,
    /// An endpoint whose prices are not in the list.
    #[error("prices for this endpoint ({}) are not listed", .0.name())]
    Endpoint(Endpoint),
    /// More than can be counted.
    #[error("it is more than can be counted")]
    Overflow,
}

impl Unbounded {
    /// Whether the same request may have a bound in a moment: the upstream did not say just now what it charges.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::OldPrices | Self::NoProviders(_))
    }

    /// A client's own word for a message: its beginning, if it is very long.
    pub(crate) fn word(text: &str) -> Box<str> {
        text.get(..text.floor_char_boundary(WORD_MAX_BYTES)).unwrap_or_default().into()
    }
}
