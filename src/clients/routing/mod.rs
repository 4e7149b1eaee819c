//! The router: which model serves a request that names none.
//!
//! Signals of a request (its words, code, length, images, tools, languages) speak for categories; each category is an ordered
//! list of models with ceilings on their prices, and the first one that the upstream lists, that costs no more, and that may be
//! used, is taken. Nothing is learned and nothing is random: the same request gets the same answer, and the answer says why.
//! How often that is the answer a person gives is measured in `docs/routing.md`.

mod category;
mod decision;
mod features;
mod keywords;
mod signals;
#[cfg(test)]
mod tests;

pub use category::{Category, DEFAULT_CATEGORY, Offer, built_in};
pub use decision::{Decision, NoModel, PassedOver, Router};
pub use features::{Features, TEXT_MAX_BYTES, ends};
pub use signals::Signal;
