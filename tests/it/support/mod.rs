//! What the tests stand on.

mod client;
mod house;
mod looks;

pub use client::{Answer, Ask, Cut, Reading, Wire};
pub use house::{House, MODEL, NOON, chat, chat_stream};
pub use looks::{Told, at};
