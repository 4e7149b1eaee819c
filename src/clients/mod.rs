//! Who may use the pool, and for what. Pure: no clock, no I/O, no lock.
//!
//! A client holds a [`ClientKey`], or a token that was issued for it ([`Keyring`]). [`presented`] finds either in a
//! request's head, [`Book`] finds the client of a key, and [`Client`] says what it may do. [`routing`] chooses the model
//! where a request names none. [`mod@line`] says whose turn it is when there are more requests than the pool can serve.

mod allowance;
mod book;
mod bucket;
mod client;
mod key;
pub mod line;
mod presented;
pub mod routing;
mod tab;
mod token;

pub use allowance::Allowance;
pub use book::Book;
pub use bucket::{Bucket, Drought};
pub use client::{Client, Rejection, Standing, Terms, Weight};
pub use key::{ClientKey, KeyHash, KeyHasher, LastKey};
pub use presented::{Presented, presented};
pub use tab::{Shortage, Tab};
pub use token::{Claims, ClientUser, Keyring, SigningKey, SigningKeyId, USER_MAX_CHARS, is_user_id};

pub use crate::money::ClientId;
