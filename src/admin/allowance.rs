//! What a client, or each of its users, may use, as it stands in bodies.

use utoipa::ToSchema;

use crate::clients::Allowance;

use super::fields::{Fields, Said};
use super::limits::{CONCURRENCY, CapNames, CapsWord};
use super::refused::Refused;

/// What may be used. A member that is absent stays as it is, and `null` lifts it.
#[derive(Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct AllowanceWord {
    /// The most that may be spent in each window, in dollars; all of them hold at once. `null` lifts all.
    #[schema(value_type = Option<CapsWord>)]
    pub(super) budgets: Said<CapsWord>,
    /// The most requests in a minute; as many may come at once.
    #[schema(value_type = Option<u32>, minimum = 1, example = 60)]
    pub(super) requests_per_minute: Said<u32>,
    /// The most tokens in a minute, of prompts and answers together; as many may come at once.
    #[schema(value_type = Option<u32>, minimum = 1, example = 100_000)]
    pub(super) tokens_per_minute: Said<u32>,
    /// The most requests at a time.
    #[schema(value_type = Option<u32>, minimum = 1, example = 4)]
    pub(super) concurrency: Said<u32>,
}

/// The whole names of its members.
struct Names {
    budgets: CapNames,
    requests: &'static str,
    tokens: &'static str,
    concurrency: &'static str,
}

const OF_CLIENT: Names = Names {
    budgets: ["budgets", "budgets.day", "budgets.week", "budgets.month", "budgets.total"],
    requests: "requestsPerMinute",
    tokens: "tokensPerMinute",
    concurrency: "concurrency",
};

const OF_USER: Names = Names {
    budgets: [
        "perUser.budgets",
        "perUser.budgets.day",
        "perUser.budgets.week",
        "perUser.budgets.month",
        "perUser.budgets.total",
    ],
    requests: "perUser.requestsPerMinute",
    tokens: "perUser.tokensPerMinute",
    concurrency: "perUser.concurrency",
};

impl AllowanceWord {
    /// Take what a client as a whole may use out of a body.
    pub(super) fn of_client(body: &mut Fields) -> Result<Self, Refused> {
        Self::take(body, &OF_CLIENT)
    }

    /// Take `perUser` out of a body.
    pub(super) fn of_user(body: &mut Fields) -> Result<Said<Self>, Refused> {
        let mut fields = match body.object("perUser")? {
            Said::Nothing => return Ok(Said::Nothing),
            Said::Lift => return Ok(Said::Lift),
            Said::Set(fields) => fields,
        };
        let word = Self::take(&mut fields, &OF_USER)?;
        fields.finish()?;
        Ok(Said::Set(word))
    }

    fn take(fields: &mut Fields, names: &Names) -> Result<Self, Refused> {
        let whole = |text: &str| text.parse().ok().filter(|n| *n > 0);
        Ok(Self {
            budgets: CapsWord::take(fields, &names.budgets)?,
            requests_per_minute: fields.said(names.requests, CONCURRENCY, whole)?,
            tokens_per_minute: fields.said(names.tokens, CONCURRENCY, whole)?,
            concurrency: fields.said(names.concurrency, CONCURRENCY, whole)?,
        })
    }

    /// Do so.
    pub(super) fn apply(self, allowance: &mut Allowance) {
        let Self { budgets, requests_per_minute, tokens_per_minute, concurrency } = self;
        match budgets {
            Said::Nothing => {}
            Said::Lift => allowance.budgets = Default::default(),
            Said::Set(caps) => caps.apply(&mut allowance.budgets),
        }
        requests_per_minute.apply(&mut allowance.requests_per_minute);
        tokens_per_minute.apply(&mut allowance.tokens_per_minute);
        concurrency.apply(&mut allowance.concurrency);
    }
}
