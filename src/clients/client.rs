//! A client: who it is, until when, and what it may ask for.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::money::{ClientId, ModelGlobs, Usd};

use super::Allowance;

/// What an operator has said about a client.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// Its name.
    pub name: String,
    /// A note about it.
    pub note: Option<String>,
    /// Its key and its tokens are no good from then on.
    pub expires_at: Option<Timestamp>,
    /// Which models it may ask for; empty allows all.
    pub models: ModelGlobs,
    /// What it may use in all, whoever its users are.
    pub allowance: Allowance,
    /// What each of its users may use, of those that it names in tokens.
    pub per_user: Allowance,
    /// Its share when there are more requests than the pool can serve.
    pub weight: Weight,
}

/// How much more a client is served than one of weight 1, while both of them wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(NonZeroU16);

impl Default for Weight {
    fn default() -> Self {
        Self(NonZeroU16::MIN)
    }
}

impl Weight {
    /// The largest one.
    pub const MAX: u16 = 1000;

    /// A weight from 1 to [`Weight::MAX`].
    pub fn new(weight: u32) -> Option<Self> {
        let weight = u16::try_from(weight).ok().filter(|weight| *weight <= Self::MAX)?;
        NonZeroU16::new(weight).map(Self)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get() as u32
    }

    /// In how many rounds so much is forgiven: a pico-dollar in each for every unit.
    pub(super) fn rounds(self, cost: Usd) -> u128 {
        u128::try_from(cost.as_pico()).unwrap_or_default().div_ceil(u128::from(self.0.get()))
    }
}

/// A client whose key has not been revoked.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// Its number.
    pub id: ClientId,
    /// What is shown of its key.
    pub mask: String,
    /// Since when there is one.
    pub created_at: Timestamp,
    /// What it may do.
    pub terms: Terms,
}

impl Client {
    /// How its key stands.
    pub fn standing(&self, now: Timestamp) -> Standing {
        match self.terms.expires_at {
            Some(at) if at <= now => Standing::Expired,
            _ => Standing::Active,
        }
    }
}

/// How a client's key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It opens the pool.
    Active,
    /// Its time is over.
    Expired,
    /// An operator has revoked it, for good.
    Revoked,
}

impl Standing {
    /// The name used in the admin API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// Why a request is not let in. Whoever sent it is told the same in every case; the operator's metrics tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It presents no credential of potluck's.
    Missing,
    /// What it presents cannot be a key or a token, or it presents several.
    Malformed,
    /// Nobody has that key, or nobody has it any more; or the token was signed by somebody else.
    Unknown,
    /// The key's or the token's time is over.
    Expired,
    /// The token is of a client that was revoked.
    Revoked,
}

impl Rejection {
    /// Whether it may be one of many tries to find a credential that opens.
    pub const fn is_guess(self) -> bool {
        !matches!(self, Self::Missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_from_one_to_a_thousand() {
        for (number, weight) in [(0, None), (1, Some(1)), (1000, Some(1000)), (1001, None), (u32::MAX, None)] {
            assert_eq!(Weight::new(number).map(Weight::get), weight, "{number}");
        }
        assert_eq!(Weight::default().get(), 1);
        let three = Weight::new(3).expect("a weight");
        assert_eq!([0, 1, 3, 4, -5].map(|pico| three.rounds(Usd::from_pico(pico))), [0, 1, 1, 2, 0]);
    }

    #[test]
    fn a_key_is_good_until_the_moment_it_expires() {
        let at = Timestamp::from_millis(1_000);
        let terms = Terms { expires_at: Some(at), ..Terms::default() };
        let client = Client { id: ClientId(1), mask: "ptl-…0000".to_owned(), created_at: at, terms };
        for (ms, standing) in [(999, Standing::Active), (1_000, Standing::Expired), (1_001, Standing::Expired)] {
            assert_eq!(client.standing(Timestamp::from_millis(ms)), standing, "{ms}");
        }
        let endless = Client { terms: Terms::default(), ..client };
        assert_eq!(endless.standing(Timestamp::from_millis(i64::MAX)), Standing::Active);
    }
}
