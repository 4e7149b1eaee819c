//! potluck: community-funded AI access.
//!
//! People donate OpenRouter keys that hold credit; potluck pools them behind one `base_url`.

pub mod admin;
pub mod background;
pub mod cli;
pub mod clock;
pub mod config;
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
