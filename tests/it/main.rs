//! potluck whole: its real services on real sockets, the simulator behind them, a clock that is moved by hand.

#![allow(clippy::unwrap_used, clippy::large_futures)]

mod fixtures;
mod support;
