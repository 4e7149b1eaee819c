//! potluck whole: its real services on real sockets, the simulator behind them, a clock that is moved by hand.

#![allow(clippy::unwrap_used, clippy::large_futures)]

mod admin;
mod ai;
mod blame;
mod books;
mod choosing;
mod clients;
mod failover;
mod fixtures;
mod hostile;
mod http2;
mod jobs;
mod no_key;
mod own_answers;
mod prices;
mod recovery;
mod restarts;
mod secrets;
mod support;
mod told;
