//! What the tests stand on.

mod client;
mod house;

pub use client::{Answer, Ask, Cut, Reading, Wire};
pub use house::{House, MODEL, NOON, chat, chat_stream};
