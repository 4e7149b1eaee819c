//! What the upstream says about a key, its account and a past generation (`openrouter-api.md` 6.1–6.3).
//!
//! Figures are read from their decimal text, exactly. A figure that is missing, null, negative or no number is no
//! statement: it never counts as zero, and never as unlimited.

mod figures;
mod generation;
mod key;

pub use generation::{GenerationAnswer, Settled, public_generation, read_generation};
pub(super) use key::NO_CREDENTIAL;
pub use key::{KeyAnswer, read_credits, read_key};
