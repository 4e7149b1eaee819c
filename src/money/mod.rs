//! Money: exact amounts, what a ledger entry holds, what a donor allows, and what a request may cost at most. Pure: no
//! clock, no I/O, no lock.

mod bound;
#[cfg(test)]
mod bound_properties;
mod entry;
mod limits;
mod price;
mod price_list;
mod purse;
mod reckoning;
mod sums;
mod unbounded;
mod usd;
#[cfg(test)]
mod usd_properties;

pub use bound::{affordable_tokens, worst_cost};
pub use entry::{
    Basis, Charged, ClientId, Cost, Entry, GenerationId, Intent, Outcome, RequestId, Spender, Tokens, UserId,
};
pub use limits::{Caps, Limits, ModelGlobs, Window};
pub use price::{InputKinds, Model, Override, OwnSearch, Price, Rates};
pub use price_list::PriceList;
pub(crate) use price_list::{has_suffix, is_free};
pub use purse::{Ended, Hold, Purse, PurseFigures};
pub use reckoning::{Books, OpenCost, Reckoned, Unaccounted, UsageCheck, reckon};
pub use unbounded::Unbounded;
pub use usd::{Usd, UsdError};
