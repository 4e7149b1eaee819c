//! What the tests stand on.

mod address;
mod client;
mod dice;
mod house;
mod looks;
mod panics;

pub use address::free_address;
pub use client::{Answer, Ask, Reading, Wire};
pub use dice::Dice;
pub use house::{House, MODEL, NOON, chat, chat_stream};
pub use looks::{Told, at};
pub use panics::{assert_no_panics, watch_panics};
