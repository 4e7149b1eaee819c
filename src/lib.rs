//! potluck: community-funded AI access.
//!
//! People donate OpenRouter keys that hold credit; potluck pools them behind one `base_url`.
//!
//! A client's request comes in through [`proxy`]; [`clients`] says who that is, what it may ask for, and which model serves
//! one that names none; [`upstream`] knows what OpenRouter's paths, headers, refusals and bills mean; [`pool`] says which
//! key serves it and what a refusal does to that key; [`money`] says what it may cost at most and whether a donor's limits
//! leave that. Those four decide and do nothing. [`pot`] is what everybody shares: it asks them, and makes durable in the
//! [`store`] what they decided. [`origin`] is the way to openrouter.ai, the only one a key travels. [`background`] finds out
//! later what could not be known at once. Operators and donors come in through [`admin`] and [`cli`], [`telemetry`] tells
//! them what happened, [`config`] is theirs to set. [`server`] puts it all on Pingora, as the binary does; [`secret`] keeps
//! keys out of sight, [`clock`] alone knows what time it is. The [`simulator`] plays OpenRouter.
//!
//! To put a pool into a Pingora server of your own, begin with [`server::Potluck`].

pub mod admin;
pub mod background;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod config;
mod guesses;
pub mod money;
pub mod origin;
pub mod pool;
pub mod pot;
pub mod proxy;
pub mod secret;
pub mod server;
pub mod simulator;
pub mod store;
mod tapped;
pub mod telemetry;
pub mod upstream;
