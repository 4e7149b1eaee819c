//! What goes on without a client: evidence about keys, unknown costs, and prices.
//!
//! Services for a Pingora server. Each stops when the server shuts down and can be stopped at any instruction: what it
//! has not written down by then is asked again.

mod audit;
mod auditor;
mod leases;
mod prices;
mod prober;
mod reconciler;
mod rounds;
mod schedule;
mod verifier;

pub use audit::{finding, reckoned};
pub use auditor::{Auditor, hopeless};
pub use leases::Leases;
pub use prices::PriceRefresher;
pub use prober::Prober;
pub use reconciler::Reconciler;
pub use schedule::{Found, Patience, next_try};
pub use verifier::Verifier;
