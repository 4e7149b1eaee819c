//! What goes on without a client: evidence about keys, and unknown costs.
//!
//! Services for a Pingora server. Each stops when the server shuts down and can be stopped at any instruction: what it
//! has not written down by then is asked again.

mod prober;
mod reconciler;
mod rounds;
mod schedule;

pub use prober::Prober;
pub use reconciler::Reconciler;
