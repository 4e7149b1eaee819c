//! What the tests stand on.

mod client;
mod dice;
mod house;
mod looks;
mod panics;

pub use client::{Answer, Ask, Reading, Wire};
pub use dice::Dice;
pub use house::{House, MODEL, NOON, chat, chat_stream, free_address};
pub use looks::{Told, at};
pub use panics::{assert_no_panics, watch_panics};
